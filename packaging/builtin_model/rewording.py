"""Says a question in other words, so that the model learns the task and not one wording."""

from __future__ import annotations

import random
import re
from collections.abc import Iterable

from corpus import DICTIONARY, Document

_ENTRY = re.compile(
    r'(?:The (?:word|verb|adjective) "|^|")(?P<word>[A-Za-z-]{4,})(?:"|:| \().{0,200}?'
    r"(?:It is also called|Another word for it is|A similar word is|Also called:?) (?P<other>[a-z-]{4,})\b"
)
_OPENINGS = (
    "Please tell me: {}",
    "Tell me, {}",
    "I want to know: {}",
    "Can you tell me: {}",
    "According to the text, {}",
    "According to the sources, {}",
    "From the documents: {}",
    "Quick question: {}",
    "{} Please quote.",
    "So, {}",
    "Based on the passage, {}",
    "Do the sources say {}",
)
_SWAPS = (
    (r"^What is\b", ("What's", "Which is", "Tell me what is")),
    (r"^Who was\b", ("Who was it that was", "What was the name of")),
    (r"^When did\b", ("In which year did", "On what date did", "What year did", "At what point did")),
    (r"^When was\b", ("In which year was", "On what date was", "What year was")),
    (r"^Where\b", ("In which place", "At what place", "In what location")),
    (r"^How many\b", ("What number of", "How many")),
    (r"^Why\b", ("For what reason", "How come", "What is the reason why")),
    (r"^What kind of\b", ("What type of", "What sort of", "Which kind of")),
    (r"\bfilm\b", ("movie", "picture")),
    (r"\bdirected\b", ("made", "directed")),
    (r"\bmake\b", ("produce", "create")),
    (r"\blarge\b", ("big",)),
    (r"\bbig\b", ("large",)),
    (r"\babout\b", ("concerning", "regarding", "on")),
)


def read_synonyms(documents: Iterable[Document]) -> dict[str, list[str]]:
    """Pairs of words of like meaning, as the corpus' dictionary entries state them."""
    synonyms: dict[str, list[str]] = {}
    for document in documents:
        if document.source == DICTIONARY:
            for paragraph in document.text.split("\n\n"):
                match = _ENTRY.search(paragraph)
                if match:
                    synonyms.setdefault(match["word"].lower(), []).append(match["other"])
    return synonyms


def reword(question: str, synonyms: dict[str, list[str]], rng: random.Random) -> str:
    """`question` with another opening, swapped words, a dropped word, a lost capital or question mark.

    Quoted text and capitalised words stay, since they name what is asked about.
    """
    if rng.random() < 0.35:
        pattern, choices = rng.choice(_SWAPS)
        question = re.sub(pattern, rng.choice(choices), question, count=1)
    if rng.random() < 0.35:
        words = question.split(" ")
        for at in rng.sample(range(len(words)), len(words)):
            others = synonyms.get(words[at])
            if others:
                words[at] = rng.choice(others)
                break
        if len(words) > 7 and rng.random() < 0.4:
            at = rng.randrange(2, len(words) - 1)
            if words[at].islower():
                del words[at]
        question = " ".join(words)
    if rng.random() < 0.15:
        opening = rng.choice(_OPENINGS)
        keeps_case = question[:2].isupper() or question.startswith('"')
        question = opening.format(question if keeps_case else question[0].lower() + question[1:])
    if rng.random() < 0.1:
        question = question.rstrip("?")
    if rng.random() < 0.07:
        question = question[0].lower() + question[1:]
    return question
