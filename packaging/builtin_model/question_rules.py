"""Makes questions from single sentences by rule: who, what, when, where, how many, why, gaps, key phrases.

No parser is involved. A rule applies only where the form of the sentence makes it safe; wrong guesses cost
little, since the answer is always a literal piece of the sentence.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from dataclasses import dataclass

from verbs import AUXILIARIES, base_form, is_past_verb

_OPENERS_TO_SKIP = (
    "he she it they i we you this that these those there his her its their my our your who which what when "
    "where if as but and or so then in on at for with from by to after before while although because since "
    "once one some many all most both each such here now not no however thus also"
)
_PRONOUNS = frozenset(_OPENERS_TO_SKIP.split())
_NAME = r"(?:[A-Z][\w’'.-]+)(?: (?:of|the|de|and|von|van)? ?(?:[A-Z][\w’'.-]+))*"
_DATE = (
    r"(?:(?:the )?(?:\d{1,2} )?(?:January|February|March|April|May|June|July|August|September|October"
    r"|November|December)(?: \d{1,2})?(?:,? \d{4})?|(?:early |late |mid-)?(?:1[0-9]|20)\d\d(?:s)?)"
)
_TIME_PHRASE = re.compile(rf"\b(?P<prep>in|on|by|since|until|during) (?P<answer>{_DATE})(?![\w–-])")
_PLACE_PHRASE = re.compile(
    rf"\b(?P<prep>in|at|near) (?P<answer>(?:the )?{_NAME})(?=[.,;]|$| (?:and|where|which))"
)
_AMOUNT = re.compile(
    r"\b(?P<answer>(?:(?:about|over|nearly|more than|at least|up to|almost) )?"
    r"(?:\d[\d,.]*\d|\d|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|twenty|thirty|fifty|hundreds)"
    r"(?: (?:hundred|thousand|million|billion))?) (?P<noun>(?:[a-z-]+ )?[a-z]{3,}s)\b"
)
_CLAUSE_END = re.compile(r"[,;:—(]| (?:which|who|because|although|while|but|where) ")
_KEY_PHRASE = re.compile(rf"(?<=[a-z,] )(?:{_NAME})|\b[a-z]{{4,}}[ -][a-z]{{5,}}\b|\b[a-z]{{8,}}\b")


@dataclass(frozen=True, slots=True)
class Asked:
    """A question whose `answer` stands literally in `evidence`; `whole` when the answer is that sentence."""

    question: str
    answer: str
    evidence: str
    whole: bool = False


@dataclass(frozen=True, slots=True)
class _Parts:
    """A sentence as subject, verb and what follows, up to the first clause's end."""

    subject: str
    verb: str
    rest: str


def _parts(sentence: str) -> _Parts | None:
    words = sentence.rstrip(".!?").split(" ")
    if len(words) < 4 or words[0].lower().strip(",") in _PRONOUNS:
        return None
    for at in range(1, min(9, len(words) - 1)):
        if words[at].endswith((",", ";", ":")):
            return None
        if words[at] in AUXILIARIES or (is_past_verb(words[at]) and words[at - 1] not in ("the", "a", "an")):
            subject, rest = " ".join(words[:at]), " ".join(words[at + 1 :])
            return _Parts(subject, words[at], rest)
    return None


def _inside(subject: str) -> str:
    """A subject as it stands in the middle of a sentence."""
    first = subject.split(" ", 1)[0]
    return (
        subject[0].lower() + subject[1:] if first in ("The", "A", "An", "Some", "Most", "Many") else subject
    )


def _ask(wh: str, parts: _Parts, rest: str) -> str:
    """Turns subject, verb and rest into `wh` + auxiliary + subject + ... + question mark."""
    subject, rest = _inside(parts.subject), rest.strip(" ,;")
    if parts.verb in AUXILIARIES:
        return f"{wh} {parts.verb} {subject} {rest}".strip() + "?"
    return f"{wh} did {subject} {base_form(parts.verb)} {rest}".strip() + "?"


def _first_clause(text: str) -> str:
    match = _CLAUSE_END.search(text)
    return text[: match.start()] if match else text


def ask_subject(sentence: str, rng: random.Random) -> Asked | None:
    """Who or what did it: the answer is the subject."""
    parts = _parts(sentence)
    if parts is None or not parts.rest:
        return None
    rest = _first_clause(parts.rest)
    if not 2 <= len(rest.split()) <= 18:
        return None
    words = parts.subject.split()
    named = all(word[0].isupper() for word in words) and words[0] != "The" and len(words) <= 4
    wh = rng.choice(("Who", "Who", "What")) if named else "What"
    return Asked(f"{wh} {parts.verb} {rest}?", parts.subject, sentence)


def ask_what_it_is(sentence: str, rng: random.Random) -> Asked | None:
    """What is X: the answer is the complement."""
    parts = _parts(sentence)
    if parts is None or parts.verb not in ("is", "was", "are", "were"):
        return None
    answer = _first_clause(parts.rest).rstrip(".")
    if not 2 <= len(answer.split()) <= 16:
        return None
    named = parts.subject[0].isupper() and len(parts.subject.split()) <= 3
    if answer.startswith(("a ", "an ", "the ", "one ")):
        wh = rng.choice(("Who", "What")) if named and not parts.subject.startswith("The") else "What"
        return Asked(f"{wh} {parts.verb} {_inside(parts.subject)}?", answer, sentence)
    return None


def ask_object(sentence: str, rng: random.Random) -> Asked | None:
    """What did X do to: the answer is what follows the verb."""
    parts = _parts(sentence)
    if parts is None or parts.verb in AUXILIARIES:
        return None
    answer = _first_clause(parts.rest).rstrip(".")
    if not 1 <= len(answer.split()) <= 12:
        return None
    wh = rng.choice(("What", "What", "Whom")) if answer[:1].isupper() else "What"
    return Asked(_ask(wh, parts, ""), answer, sentence)


def _ask_phrase(sentence: str, pattern: re.Pattern[str], wh: str) -> Asked | None:
    parts = _parts(sentence)
    if parts is None:
        return None
    match = pattern.search(parts.rest)
    if match is None:
        return None
    before = parts.rest[: match.start()].strip()
    if _CLAUSE_END.search(before) or len(before.split()) > 16 or (not before and parts.verb in AUXILIARIES):
        return None
    return Asked(_ask(wh, parts, before), match["answer"], sentence)


def ask_when(sentence: str, rng: random.Random) -> Asked | None:
    """When: the answer is a date."""
    wh = rng.choice(("When", "When", "In what year", "At what time"))
    asked = _ask_phrase(sentence, _TIME_PHRASE, wh)
    if asked is not None or not sentence.startswith(("In ", "On ")):
        return asked
    opening = re.match(rf"(?:In|On) (?P<answer>{_DATE}), (?P<rest>.+)", sentence)
    if opening is None:
        return None
    parts = _parts(opening["rest"][0].upper() + opening["rest"][1:])
    if parts is None:
        return None
    return Asked(_ask(wh, parts, _first_clause(parts.rest).rstrip(".")), opening["answer"], sentence)


def ask_where(sentence: str, rng: random.Random) -> Asked | None:
    """Where: the answer is a named place."""
    return _ask_phrase(sentence, _PLACE_PHRASE, rng.choice(("Where", "Where", "In which place")))


def ask_how_many(sentence: str, rng: random.Random) -> Asked | None:
    """How many: the answer is the number, sometimes with its noun."""
    match = _AMOUNT.search(sentence)
    if match is None:
        return None
    answer = match["answer"] if rng.random() < 0.5 else f"{match['answer']} {match['noun']}"
    noun = match["noun"]
    before, after = sentence[: match.start()].strip(), _first_clause(sentence[match.end() :]).strip(" .")
    parts = _parts(sentence)
    if not before and after:
        return Asked(f"How many {noun} {after}?", answer, sentence)
    if parts is not None and before == f"{parts.subject} {parts.verb}":
        return Asked(_ask(f"How many {noun}", parts, after), answer, sentence)
    subject = _inside(parts.subject) if parts else " ".join(before.split()[:6])
    forms = (
        "How many {n} are mentioned for {s}?",
        "{s}: how many {n}?",
        "What number of {n} is given for {s}?",
    )
    form = rng.choice(forms)
    return Asked(form.format(n=noun, s=subject), answer, sentence)


def ask_why(sentence: str, rng: random.Random) -> Asked | None:
    """Why: the answer is the clause after "because"."""
    before, because, after = sentence.partition(" because ")
    parts = _parts(before + ".") if because else None
    if parts is None or not 3 <= len(after.split()) <= 25:
        return None
    answer = after.rstrip('.!?"”')
    return Asked(
        _ask("Why", parts, parts.rest), answer if rng.random() < 0.7 else f"because {answer}", sentence
    )


def ask_by_whom(sentence: str, rng: random.Random) -> Asked | None:
    """Who did it, of a passive: the answer follows "by"."""
    match = re.match(
        rf"(?P<subject>.{{4,80}}?) (?:was|were|is|are) (?P<verb>\w+ed) by (?P<answer>{_NAME})", sentence
    )
    if match is None or match["subject"].split()[0].lower() in _PRONOUNS:
        return None
    subject = _inside(match["subject"])
    wh = rng.choice((f"Who {match['verb']} {subject}?", f"By whom was {subject} {match['verb']}?"))
    return Asked(wh, match["answer"].rstrip("."), sentence)


def ask_gap(sentence: str, rng: random.Random) -> Asked | None:
    """A gap to fill: a name, a number or the last words."""
    spans = [m.span() for m in re.finditer(rf"(?<=[a-z,] ){_NAME}|\d[\d,.]*\d", sentence)]
    if not spans:
        words = sentence.rstrip(".!?").split(" ")
        if len(words) < 8:
            return None
        tail = " ".join(words[-rng.randint(1, 4) :])
        begin = sentence.rindex(tail)
        spans = [(begin, begin + len(tail))]
    begin, end = rng.choice(spans)
    answer = sentence[begin:end].rstrip('.,"”’')
    left, right = sentence[:begin].split(" ")[-9:], sentence[begin + len(answer) :].split(" ")[:8]
    gapped = f"{' '.join(left)}____{' '.join(right)}".strip()
    form = rng.choice(("Fill the gap: {}", "What belongs in the gap? {}", "Complete: {}", "{}"))
    return Asked(form.format(gapped), answer, sentence)


_ABOUT_FORMS = (
    "What does the text say about {}?",
    "What is said about {}?",
    "What do the sources say about {}?",
    "What do we learn about {}?",
    "Which sentence mentions {}?",
    "Tell me about {}.",
    "What about {}?",
    "Quote what is written about {}.",
    "What does it say about {}?",
    "What is mentioned on {}?",
)


def ask_about(sentence: str, rng: random.Random) -> Asked | None:
    """What is said about a key phrase: the answer is the whole sentence."""
    phrases = [m.group().strip(".’'") for m in _KEY_PHRASE.finditer(sentence)]
    phrases = [p for p in phrases if p and p.split(" ", 1)[0].lower() not in _PRONOUNS | AUXILIARIES]
    if not phrases:
        return None
    phrase = rng.choice(phrases)
    if rng.random() < 0.25:  # a bare query, as typed into a search box
        query = rng.sample(phrases, min(len(phrases), rng.randint(1, 4)))
        return Asked(" ".join(query), sentence, sentence, whole=True)
    form = rng.choice(_ABOUT_FORMS)
    return Asked(form.format(phrase), sentence, sentence, whole=True)


RULES: tuple[tuple[Callable[[str, random.Random], Asked | None], float], ...] = (
    (ask_when, 5.0),
    (ask_where, 4.0),
    (ask_how_many, 5.0),
    (ask_why, 6.0),
    (ask_by_whom, 6.0),
    (ask_what_it_is, 2.0),
    (ask_object, 2.0),
    (ask_subject, 2.0),
    (ask_gap, 0.7),
    (ask_about, 0.9),
)


def ask(sentence: str, rng: random.Random) -> Asked | None:
    """A question on `sentence` by a random rule that fits it, or None."""
    if not 5 <= sentence.count(" ") <= 60 or not sentence[0].isalnum():
        return None
    order = sorted(RULES, key=lambda rule: rng.random() ** (1 / rule[1]), reverse=True)
    for rule, _ in order:
        asked = rule(sentence, rng)
        if asked is not None and asked.answer and asked.answer in asked.evidence and len(asked.question) > 7:
            return asked
    return None
