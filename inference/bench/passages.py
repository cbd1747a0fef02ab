"""Text to measure on: a context and a target of given numbers of tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from inference.attribution.passage import Passage

_SENTENCE = "In {year} the {thing} of {place} was {done} by {who}, and {many} people came to see it. "
_WORDS = {
    "thing": ("bridge", "library", "harbour", "railway", "tower", "theatre", "lighthouse", "market hall"),
    "place": ("Lisbon", "Turku", "Osaka", "Quito", "Bergen", "Dakar", "Hobart", "Ghent", "Tallinn"),
    "done": ("opened", "rebuilt", "painted", "closed", "measured", "moved", "sold"),
    "who": ("the mayor", "two sisters", "a company from abroad", "the old guild", "an engineer"),
    "many": ("thousands of", "very few", "some forty", "no", "a great many", "curious"),
}


def passage_of(tokenizer: Any, text: str, length: int, target_length: int) -> Passage:
    """The first ``length`` tokens of a text as the context and the next ``target_length`` as the target.

    Args:
        tokenizer: A fast one.
        text: Is repeated until it is long enough.
        length: Tokens of the context.
        target_length: Tokens of the target.
    """
    from inference.attribution.passage import Passage, Region

    wanted = length + target_length
    text = text * (1 + 8 * wanted // max(1, len(text)))
    encoded = tokenizer(
        text,
        add_special_tokens=False,
        return_offsets_mapping=True,
        truncation=True,
        max_length=wanted,
    )
    ids, offsets = encoded["input_ids"], encoded["offset_mapping"]
    end, last = offsets[length - 1][1], offsets[wanted - 1][1]
    return Passage(
        text=text[:end],
        ids=tuple(ids[:length]),
        spans=tuple(map(tuple, offsets[:length])),
        special=(False,) * length,
        target_text=text[end:last],
        target_ids=tuple(ids[length:wanted]),
        target_spans=tuple((start - end, stop - end) for start, stop in offsets[length:wanted]),
        regions=(Region(start=0, end=end),),
    )


def made_up_text() -> str:
    """Sentences that are all different, so that a token's weight is its own."""
    sentences = []
    for number in range(400):
        words = {
            name: choices[(number * 7 + len(name) * number // 3) % len(choices)]
            for name, choices in _WORDS.items()
        }
        sentences.append(_SENTENCE.format(year=1700 + (number * 37) % 320, **words))
    return "".join(sentences)
