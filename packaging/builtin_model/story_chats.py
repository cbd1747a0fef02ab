"""Requests for stories and for explanations, answered with the beginning of a text of the corpus.

The corpus' own chats are short; asked for a story, a model that has seen few of them goes round in circles.
A tale, fable or children's story is cut at the end of a sentence; "Go on." asks for what follows. What the
request names is a word that the text uses often and other texts seldom.
"""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from corpus import Document
from sentences import split_sentences

TALES = ("uci-soe/FairytaleQAData", "global-asp/asp-source", "global-asp/pb-source")
_SIMPLE = TALES[1:]
_TALE_BOOKS = ("aesop", "grimm", "just-so", "wizard-of-oz", "jungle-book", "wind-in-the-willows",
               "doctor-dolittle", "peter-and-wendy")  # fmt: skip
_STORY_REQUESTS = (
    "Tell me a story about {}.", "Tell me a short story about {}.", "Write a story about {}.",
    "Write a short story about {}.", "Tell a short story about {}.", "Can you tell me a story about {}?",
    "I would like to hear a story about {}.", "Make up a story about {}.", "Please tell me a tale about {}.",
    "Once upon a time ... go on, with {}.", "A story with {}, please.", "Tell a long story about {}.",
)  # fmt: skip
_ANY_STORY = ("Tell me a story.", "Tell me a short story.", "Can you tell me a story?", "Write a story.")
_MORE = ("Go on.", "And then?", "What happened next?", "Continue.", "Tell me more.", "Please continue.")
_ABOUT_REQUESTS = (
    "Tell me about {}.", "What do you know about {}?", "Write a paragraph about {}.", "Explain {}.",
    "Give me a short text about {}.", "Write a few sentences about {}.", "Describe {}.",
)  # fmt: skip
# What stands between an article and one of these is nearly always a noun.
_WORD = re.compile(
    r"\b(?:an?|the|his|her|old|little) ([a-z]{3,12})(?=[.,;!?]| (?:was|is|had|said|went|came|saw|who|and)\b)"
)
_HEADING = re.compile(r"[.!?:;,\"”’]$")


@dataclass(frozen=True, slots=True)
class StoryMaker:
    """Draws conversations about `tales`, the `simple` ones among them for small children, and `articles`."""

    tales: tuple[Document, ...]
    simple: tuple[Document, ...]
    articles: tuple[Document, ...]
    rare: dict[str, float]

    @classmethod
    def of(cls, prose: Sequence[Document]) -> StoryMaker:
        """Sorts the documents and counts in how many each word stands."""
        tales = tuple(each for each in prose if is_tale(each))
        articles = tuple(
            each for each in prose
            if each.source == "wikipedia" and each.text.startswith(each.title.split(" (")[0])
        )  # fmt: skip
        spread = Counter(word for each in tales for word in set(_WORD.findall(each.text.lower())))
        rare = {word: 1 / (20 + count) for word, count in spread.items() if count > 1}
        return cls(tales, tuple(each for each in tales if each.source in _SIMPLE), articles, rare)

    def draw(self, rng: random.Random) -> list[tuple[str, str]]:
        """Turns of one conversation: a story or an explanation, sometimes with its continuation.

        Empty where there is nothing to tell.
        """
        if not self.tales and not self.articles:
            return []
        if not self.tales or (self.articles and rng.random() < 0.25):
            document = rng.choice(self.articles)
            sentences = split_sentences(document.text[:3000])[:-1]
            return self._turns(rng.choice(_ABOUT_REQUESTS).format(document.title), sentences, rng)
        document = rng.choice(self.simple if self.simple and rng.random() < 0.4 else self.tales)
        body = without_heading(document.text)
        paragraphs = [at + 1 for at, letter in enumerate(body) if letter == "\n"]
        begin = rng.choice(paragraphs) if paragraphs and rng.random() < 0.35 else 0
        sentences = split_sentences(body[begin : begin + 6000])
        if len(body) > begin + 6000:
            sentences = sentences[:-1]
        if rng.random() < 0.1:
            return self._turns(rng.choice(_ANY_STORY), sentences, rng)
        about = self.topic(" ".join(sentences[:14]), rng)
        request = rng.choice(_STORY_REQUESTS).format(about) if about else rng.choice(_ANY_STORY)
        return self._turns(request, sentences, rng)

    def topic(self, text: str, rng: random.Random) -> str:
        """One or two things that `text` is about, with articles; "" where nothing stands out."""
        found = Counter(_WORD.findall(text.lower()))
        marks = {word: n * self.rare[word] for word, n in found.items() if word in self.rare and n > 1}
        best = sorted(marks, key=marks.__getitem__, reverse=True)[:4]
        chosen = rng.sample(best, min(len(best), rng.choice((1, 1, 2))))
        return " and ".join(("an " if word[0] in "aeiou" else "a ") + word for word in chosen)

    @staticmethod
    def _turns(request: str, sentences: list[str], rng: random.Random) -> list[tuple[str, str]]:
        turns: list[tuple[str, str]] = []
        at = 0
        for _ in range(rng.choices((1, 2, 3), (0.7, 0.2, 0.1))[0]):
            room, begin = rng.choice((400, 800, 1200, 1600, 2400)), at
            while at < len(sentences) and room > 0:
                room -= len(sentences[at])
                at += 1
            if begin == at:
                break
            turns.append(("user", rng.choice(_MORE) if turns else request))
            turns.append(("assistant", " ".join(sentences[begin:at])))
        return turns


def is_tale(document: Document) -> bool:
    """Whether a document tells a story that is told to children."""
    return document.source in TALES or any(name in document.source for name in _TALE_BOOKS)


def without_heading(text: str) -> str:
    """The text without its first line where that is a title."""
    first, line, rest = text.partition("\n")
    return rest.strip() if line and len(first) < 80 and not _HEADING.search(first) else text
