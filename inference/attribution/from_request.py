"""A request -> the passage that it wants explained, and its segments."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from inference.attribution.passage import Passage, Region
from inference.errors import InvalidRequest
from inference.events import AttentionControl, ExplainRequest, ScoreRequest, TextSpan
from inference.passes.steered_forward import prompt_factors
from inference.prompts import Prompt, build_prompt
from inference.steering import TokenSpan, is_neutral

if TYPE_CHECKING:
    from inference.engine import Engine


@dataclass(frozen=True, slots=True)
class Asked:
    """What a request wants explained.

    Attributes:
        passage: The context and the target.
        given: The characters of the segments that were given.
        controlled: One factor a context token that the passage is read under; empty if it is read plainly.
    """

    passage: Passage
    given: tuple[TokenSpan, ...]
    controlled: tuple[float, ...]


def asked(engine: Engine, request: ExplainRequest) -> Asked:
    """Read a request.

    Raises:
        InvalidRequest: The target is empty, lies outside of the reply, or a given span does.
        EmptyPrompt, ContextFull, TemplateError: As for generating.
    """
    prompt = build_prompt(engine.loaded, engine.table, _score_request(request))
    reply_at = _reply_at(prompt, request)
    if request.target is not None:
        ids, spans = _typed(engine, request, prompt, request.target)
        passage = _passage(engine, request, prompt, len(prompt.ids), reply_at)
        passage = replace(passage, target_text=request.target, target_ids=ids, target_spans=spans)
    else:
        passage = _selected(engine, request, prompt, reply_at)
    passage.check(engine.loaded.context_length)
    given = tuple(_absolute(prompt, reply_at, span) for span in request.given)
    return Asked(passage, given, _controlled(engine, request, prompt, passage))


def _controlled(
    engine: Engine, request: ExplainRequest, prompt: Prompt, passage: Passage
) -> tuple[float, ...]:
    """The factors of the controls that the text was read under."""
    model: Any = engine.loaded.model
    factors = prompt_factors(
        prompt.absolute(request.attention),
        request.steering,
        spans=[(0, 0) if each else span for span, each in zip(passage.spans, passage.special, strict=True)],
        ids=passage.ids,
        text=passage.text,
        embeddings=model.get_input_embeddings().weight,
    )
    return () if is_neutral(factors) else factors


def _score_request(request: ExplainRequest, reply_text: str | None = None) -> ScoreRequest:
    return ScoreRequest(
        run_id=request.run_id,
        messages=request.messages,
        prompt=request.prompt,
        reply_ids=request.reply_ids,
        reply_text=request.reply_text if reply_text is None else reply_text,
    )


def _reply_at(prompt: Prompt, request: ExplainRequest) -> int:
    """Where the reply begins in the text."""
    if request.reply_ids:
        return len(prompt.text) - sum(map(len, prompt.spans[prompt.reply_start :]))
    return len(prompt.text) - len(request.reply_text)


def _selected(engine: Engine, request: ExplainRequest, prompt: Prompt, reply_at: int) -> Passage:
    """The target is a part of the reply, widened to whole tokens."""
    start = reply_at + max(0, request.target_start)
    end = len(prompt.text) if request.target_end is None else reply_at + request.target_end
    offsets = _whole_characters(prompt.offsets)
    chosen = [
        index
        for index in range(prompt.reply_start, len(prompt.ids))
        if max(offsets[index][0], start) < min(offsets[index][1], end)
    ]
    if not chosen:
        raise InvalidRequest("The target is empty.", hint="Select a part of the reply, or type a target.")
    first, last = chosen[0], chosen[-1] + 1
    text_at = offsets[first][0]
    return replace(
        _passage(engine, request, prompt, first, reply_at),
        target_text=prompt.text[text_at : offsets[last - 1][1]],
        target_ids=prompt.ids[first:last],
        target_spans=tuple((a - text_at, b - text_at) for a, b in offsets[first:last]),
    )


def _typed(
    engine: Engine, request: ExplainRequest, prompt: Prompt, target: str
) -> tuple[tuple[int, ...], tuple[TokenSpan, ...]]:
    """Tokens of a text that is put after the context, which stays as it was read.

    They are those that the text has behind the context, if the tokenizer cuts there; where it would merge
    the two, the target is tokenized by itself.
    """
    if not target:
        raise InvalidRequest("The target is empty.", hint="Select a part of the reply, or type a target.")
    if not request.reply_ids:
        joint = build_prompt(
            engine.loaded, engine.table, _score_request(request, request.reply_text + target)
        )
        if joint.ids[: len(prompt.ids)] == prompt.ids and len(joint.ids) > len(prompt.ids):
            at = len(prompt.text)
            spans = _whole_characters(joint.offsets[len(prompt.ids) :])
            return joint.ids[len(prompt.ids) :], tuple((max(0, a - at), b - at) for a, b in spans)
    tokenizer: Any = engine.loaded.tokenizer
    ids = tuple(int(token) for token in tokenizer.encode(target, add_special_tokens=False))
    alone = build_prompt(
        engine.loaded, engine.table, ScoreRequest(run_id=request.run_id, prompt="", reply_ids=ids)
    )
    return ids, _within(_whole_characters(alone.offsets), len(alone.text), len(target))


def _within(spans: Sequence[TokenSpan], decoded: int, length: int) -> tuple[TokenSpan, ...]:
    """Offsets into the target's text from those into its decoded tokens, which may begin with one space
    more.
    """
    extra = max(0, decoded - length)
    return tuple((max(0, start - extra), max(0, end - extra)) for start, end in spans)


def _passage(engine: Engine, request: ExplainRequest, prompt: Prompt, count: int, reply_at: int) -> Passage:
    """The first ``count`` tokens as context; the target is filled in by the caller."""
    offsets = _whole_characters(prompt.offsets)[:count]
    end = max((stop for _, stop in offsets), default=0)
    return Passage(
        text=prompt.text[:end],
        ids=prompt.ids[:count],
        spans=offsets,
        special=tuple(engine.table.is_special(token) for token in prompt.ids[:count]),
        target_text="",
        target_ids=(),
        target_spans=(),
        regions=_regions(request, prompt, reply_at, end),
    )


def _regions(request: ExplainRequest, prompt: Prompt, reply_at: int, end: int) -> tuple[Region, ...]:
    """The messages' contents and the reply so far; a raw prompt, or one whose template hides them, is one
    region.
    """
    regions = [
        Region(start=content.start, end=min(content.end, end), label=message.role)
        for message, content in zip(request.messages, prompt.contents, strict=False)
        if content is not None and content.start < end
    ]
    if not regions and min(reply_at, end) > 0:
        regions = [Region(start=0, end=min(reply_at, end), label="prompt")]
    if end > reply_at:
        regions.append(Region(start=reply_at, end=end, label="reply"))
    return tuple(regions)


def _whole_characters(offsets: Sequence[TokenSpan]) -> tuple[TokenSpan, ...]:
    """Give the tokens of a multi-byte character that do not complete it the characters of the one that does.

    Other tokens with an empty span are those that are not in the text, such as the begin-of-text token;
    they stand at its very beginning or end and keep it.
    """
    whole = list(offsets)
    for index in range(len(whole) - 2, -1, -1):
        start, end = whole[index]
        if start == end and index > 0 and whole[index + 1][0] == start:
            whole[index] = whole[index + 1]
    return tuple(whole)


def _absolute(prompt: Prompt, reply_at: int, span: TextSpan) -> TokenSpan:
    """A given span as characters of the context's text."""
    if not 0 <= span.start < span.end:
        raise InvalidRequest(f"The segment {span.start}:{span.end} is not a span of the text.")
    if span.message == -1:
        return reply_at + span.start, reply_at + span.end
    control = AttentionControl(start=span.start, end=span.end, factor=1.0, message=span.message)
    found = prompt.absolute([control])
    if not found:
        raise InvalidRequest(f"The segment {span.start}:{span.end} is not in what the model reads.")
    return found[0].start, found[0].end
