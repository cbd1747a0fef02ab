"""Made-up rows of tables, constants, glossaries, contact lists and timetables, each with a question on it."""

from __future__ import annotations

import random
from collections.abc import Sequence

from asking import Asker
from corpus import Document
from page_text import sentences_of
from toy_facts import code, made_up_name, number, person

_LISTS = {
    "units": "ms|kg|USD|%|mm|hours|days|MB|km|units|°C|Hz|points|pages|people|V|years|GB|m/s|litres",
    "values": "What is the {}?|What is the {}?|Which {} is given?|What value does {} have?|{}?|"
    "How much is the {}?|What does the table give for {}?|How large is the {}?|"
    "What is written under {}?|Which value belongs to {}?",
    "constants": "What is the value of {}?|What is {} set to?|How is {} defined?|Which number does {} have?",
    "terms": "What is {}?|What does {} mean?|How is {} described?|Define {}.|"
    "What does the glossary say of {}?",
    "persons": "What is the number of {}?|Which code belongs to {}?|How can {} be reached?",
    "times": "When is {}?|At what time is {}?|What time is the {}?",
    "codes": "What belongs to {}?|What is listed for {}?|What is {}?|Which value has {}?",
}
_CHOICES = {name: line.split("|") for name, line in _LISTS.items()}

KINDS = 7


class EntryMaker:
    """Draws entries whose words come from `prose`."""

    def __init__(self, prose: Sequence[Document], asker: Asker) -> None:
        self._prose, self._asker = prose, asker

    def _phrase(self, rng: random.Random) -> list[str]:
        """One to four words in a row, as the name of a quantity."""
        words = rng.choice(self._prose).text[:4000].split()
        at = rng.randrange(max(1, len(words) - 4))
        picked = ["".join(c for c in w if c.isalpha()).lower() for w in words[at : at + rng.randint(1, 4)]]
        return [w for w in picked if len(w) > 2] or [made_up_name(rng).lower()]

    def draw(self, kind: int, rng: random.Random) -> tuple[str, str]:
        """(text, question) of one entry; entries of one `kind` from 0 to KINDS - 1 look alike."""
        phrase = self._phrase(rng)
        key = " ".join(phrase)
        likely = rng.choice((0.0, 0.3, 0.5))
        asked = " ".join(self._asker.reword(word, rng, likely) for word in phrase)
        figure = f"{number(rng)} {rng.choice(_CHOICES['units'])}"
        value = rng.choice((number(rng), code(rng), figure, person(rng), made_up_name(rng)))
        name = "_".join(word.upper() for word in [*phrase[:2], made_up_name(rng)][: rng.randint(1, 3)])
        if kind == 0:
            return f"{key.capitalize()}: {value}", rng.choice(_CHOICES["values"]).format(asked)
        if kind == 1:
            figures = " ".join(number(rng) for _ in range(rng.randint(1, 7)))
            return f"{key.capitalize()} {figures}", rng.choice(_CHOICES["values"]).format(asked)
        if kind == 2:
            constant = rng.choice((number(rng), code(rng), str(rng.randint(0, 255))))
            return f"#define {name} {constant}", rng.choice(_CHOICES["constants"]).format(name)
        if kind == 3:
            sentence = rng.choice(sentences_of(rng.choice(self._prose).text, rng, 60))
            term = rng.choice((key.title(), name, made_up_name(rng)))
            return f"{term} {' '.join(sentence.split()[:30])}", rng.choice(_CHOICES["terms"]).format(term)
        if kind == 4:
            who = person(rng)
            contact = rng.choice((code(rng), number(rng), f"1-800-{rng.randint(100, 999)}-1234"))
            text = f"{who}, {key}, {contact}"
            if rng.random() < 0.25:
                return text, f"Who is responsible for {asked}?"
            return text, rng.choice(_CHOICES["persons"]).format(who)
        if kind == 5:
            clock, date = (
                f"{rng.randint(0, 23)}:{rng.randint(0, 59):02}",
                f"{rng.randint(1, 28)}/{rng.randint(1, 12)}",
            )
            text = f"{rng.choice((clock, date))} {key.capitalize()} ({value})"
            return text, rng.choice(_CHOICES["times"]).format(asked)
        identifier = code(rng)
        return f"{identifier} {key} {value}", rng.choice(_CHOICES["codes"]).format(identifier)
