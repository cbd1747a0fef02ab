"""Replaces words of a task by made-up names: a page of any trade has words that training never saw.

The names of real reports and manuals ("CFE_ES", "rv64i", "W-4") can only be matched and copied letter by
letter. So some words of a sentence become such names throughout the page, the question and the quote.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable

from asking import FUNCTION_WORDS
from toy_facts import code, made_up_name

_WORD = re.compile(r"[A-Za-z][a-z]{3,}")


def technical_name(rng: random.Random) -> str:
    """An acronym, a product, an identifier or a code."""
    kind = rng.randrange(6)
    letters = "".join(rng.choice("ABCDEFGHIKLMNOPRSTUVWX") for _ in range(rng.randint(2, 5)))
    if kind == 0:
        return letters
    if kind == 1:
        return f"{letters}{rng.choice(('-', '', ' ', '.'))}{rng.randint(1, 999)}"
    if kind == 2:
        return made_up_name(rng) + made_up_name(rng)
    if kind == 3:
        return "_".join(made_up_name(rng).lower() for _ in range(rng.randint(2, 3)))
    if kind == 4:
        return f"{letters}_{made_up_name(rng).upper()}"
    return rng.choice((code(rng), made_up_name(rng), made_up_name(rng).lower()))


def rename(sentence: str, question: str, rng: random.Random) -> Callable[[str], str]:
    """A function that replaces one to three words of `sentence`, those of `question` first, in any text."""
    words = list(
        dict.fromkeys(word for word in _WORD.findall(sentence) if word.lower() not in FUNCTION_WORDS)
    )
    asked = {word.lower() for word in _WORD.findall(question)}
    words.sort(key=lambda word: (word.lower() not in asked) + 0.8 * rng.random())
    chosen = words[: rng.randint(1, 3)]
    if not chosen:
        return lambda text: text
    names = {word.lower(): technical_name(rng) for word in chosen}
    pattern = re.compile(r"\b(?:" + "|".join(map(re.escape, names)) + r")\b", re.IGNORECASE)
    return lambda text: pattern.sub(lambda match: names[match.group().lower()], text)
