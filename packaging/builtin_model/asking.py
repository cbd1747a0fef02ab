"""Asks about a sentence as people ask: by the kind of thing that is wanted, seldom in the sentence's words.

`question_rules` turns statements into questions that keep their words. Real questions drop most of them, use
others of like meaning and another order. That is imitated here by rule: a piece of the sentence becomes the
thing that is asked for, of the rest some words stay, some are replaced by their neighbours, some go.
"""

from __future__ import annotations

import random
import re

_FUNCTION_LIST = (
    "a an the this that these those and or but nor so if of in on at by for with from to into onto "
    "upon as is are was were be been being am has have had having do does did done will would can "
    "could shall should may might must not no it its he him his she her hers they them their we us "
    "our you your i me my who whom which what when where how why there here than then also very more "
    "most such any some all each both few many much other another same own only just about over under "
    "between through during before after above below up down out off again further once too s t re ve "
    "ll d m"
)
FUNCTION_WORDS = frozenset(_FUNCTION_LIST.split())
_TOKEN = re.compile(r"[^\W_][\w'’.,%$€£:/+-]*[^\W_]%?|[^\W_]|[$€£#]\d[\d,.]*")
_NUMBER = re.compile(r"[$€£#]?\d[\d,.:]*%?$")
_YEAR = re.compile(r"(?:1[4-9]|20)\d\d$")
_MONTH_LIST = "January February March April May June July August September October November December"
_MONTHS = frozenset(_MONTH_LIST.split())

_WH_LISTS = {
    "year": "When|When|In what year|In which year|What year|Since when|By when",
    "number": "How many|How many|How much|What number of|What is the number of|How large|How long|How big|"
    "How old|How often|Up to which|What amount of|At what|From what|About how many",
    "share": "What share of|What percentage of|How much of|What part of|What proportion of",
    "money": "How much|What is the price of|How expensive|What amount|How much money",
    "name": "Who|Which|What|Whose|By whom|Where|Which person|What name|Which place",
    "thing": "What|What|What|Which|Which|How|Where|Why|What kind of|In what way|For what|By what|"
    "What happens|Of what|With what",
}
_WH = {kind: words.split("|") for kind, words in _WH_LISTS.items()}
_FRAME_LIST = (
    "{wh} {rest}?|{wh} {rest}?|{wh} {rest}?|{wh} is {rest}?|{wh} are {rest}?|{wh} does {rest}?|"
    "{wh} did {rest}?|{wh} was {rest}?|{wh} can {rest}?|{wh} {rest}|What is said about {rest}?|"
    "{rest}?|{rest}|Tell me about {rest}.|What does the text say on {rest}?|Find {rest}"
)
_FRAMES = _FRAME_LIST.split("|")


def other_form(word: str, rng: random.Random) -> str:
    """Another inflection of a lower-case word, as a guess: plural or singular, -ed and -ing on or off."""
    if len(word) < 4:
        return word
    if word.endswith("ies"):
        return word[:-3] + "y"
    if word.endswith("ing") and len(word) > 6:
        return word[:-3] + rng.choice(("", "e", "ed", "s"))
    if word.endswith("ed") and len(word) > 5:
        return word[:-2] + rng.choice(("", "e", "ing", "es"))
    if word.endswith("ly") and len(word) > 5:
        return word[:-2]
    if word.endswith("s") and not word.endswith("ss"):
        return word[:-1]
    return word + rng.choice(("s", "s", "ing", "ed"))


class Asker:
    """Draws questions; `neighbours` are words of like meaning by word (may be empty)."""

    def __init__(self, neighbours: dict[str, list[str]]) -> None:
        self.neighbours = neighbours

    def reword(self, word: str, rng: random.Random, likely: float) -> str:
        """A neighbour or another form of `word` with probability `likely`, else the word itself."""
        if rng.random() >= likely:
            return word
        lower = word.lower()
        others = self.neighbours.get(lower) or self.neighbours.get(lower.removesuffix("s"))
        if others and rng.random() < 0.75:
            return rng.choice(others)
        return other_form(lower, rng) if lower.isalpha() and word == lower else word

    def ask(self, sentence: str, rng: random.Random, *, faint: bool = False) -> str | None:
        """A question whose answer is in `sentence`; None where the sentence has too little to ask about.

        A `faint` one shares few words with the sentence: enough where there is little else to choose from.
        """
        words = _TOKEN.findall(sentence)
        telling = [i for i, w in enumerate(words) if w.lower() not in FUNCTION_WORDS and len(w) > 2]
        if len(telling) < 3:
            return None
        kind, begin, end = self._wanted(words, telling, rng)
        left = [i for i in telling if not begin <= i < end]
        if len(left) < 2:
            return None
        # Few words of the sentence return in the question: those nearest to what is asked for are likeliest.
        shares = (0.12, 0.25, 0.27, 0.2, 0.1, 0.06) if faint else (0.0, 0.12, 0.26, 0.28, 0.2, 0.14)
        most = min(len(left), rng.choices((1, 2, 3, 4, 6, 9), shares)[0])
        middle = (begin + end) / 2
        left.sort(key=lambda i: abs(i - middle) * rng.uniform(0.3, 1.7))
        kept = set(left[:most])
        likely = rng.choice((0.2, 0.5, 0.8) if faint else (0.0, 0.15, 0.3, 0.5))
        parts: list[str] = []
        for i, word in enumerate(words):
            if i in kept:
                keep_case = word[0].isupper() and i > 0
                word = word if keep_case or not word.isalpha() or word.isupper() else word.lower()
                parts.append(self.reword(word, rng, likely))
            elif begin <= i < end:
                continue
            elif word.lower() in FUNCTION_WORDS and parts and (i + 1 in kept) and rng.random() < 0.6:
                parts.append(word.lower())
        if rng.random() < 0.25:
            at = rng.randrange(len(parts))
            parts = parts[at:] + parts[:at]
        question = rng.choice(_FRAMES).format(wh=rng.choice(_WH[kind]), rest=" ".join(parts))
        question = question[0].upper() + question[1:]
        return question if rng.random() < 0.92 else question.lower()

    @staticmethod
    def _wanted(words: list[str], telling: list[int], rng: random.Random) -> tuple[str, int, int]:
        """What is asked for: its kind and its place among the words; numbers and names are preferred."""
        found: list[tuple[str, int, int]] = []
        for i, word in enumerate(words):
            if _YEAR.match(word) or word in _MONTHS:
                found.append(("year", i, i + 1))
            elif _NUMBER.match(word):
                money = word[0] in "$€£" or words[i + 1 : i + 2] in (["dollars"], ["euros"], ["pounds"])
                share = word.endswith("%") or words[i + 1 : i + 2] == ["percent"]
                found.append(("money" if money else "share" if share else "number", i, i + 1))
            elif i and word[0].isupper() and not word.isupper() and len(word) > 2:
                end = i + 1
                while end < len(words) and words[end][0].isupper():
                    end += 1
                found.append(("name", i, end))
        if found and rng.random() < 0.6:
            return rng.choice(found)
        at = rng.choice(telling)
        return "thing", at, min(len(words), at + rng.randint(1, 4))
