"""Questions on page-like text: what the document tab asks, with passages as a PDF reader delivers them.

The answer is the whole sentence, row or entry that holds what is asked for. On such pages a small model is
seldom sure which words of a sentence are wanted, and a quoted sentence can be checked at a glance.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from asking import Asker
from corpus import Document, Question
from page_text import furniture, lay_out, sentences_of, title_of, wear
from question_rules import ask
from renaming import rename
from sentences import split_sentences
from table_entries import KINDS, EntryMaker
from written_questions import Written

SENTENCE_WORDS = (5, 48)
ABSENT_SHARE = 0.025
_ALPHABETS = (
    "абвгдежзийклмнопрстуфхцчшщ",
    "αβγδεζηθικλμνξοπρστυφχψωάέ",
    "אבגדהוזחטיכלמנסעפצקרשתםןףץ",
    "あいうえおかきくけこさしすせそたちつてとなにぬね",
    "的一是不了人我在有他这为之大来以个中上们到说国和地",
)
_LATIN = "etaoinshrdlcumwfgypbvkjxqz"


@dataclass(frozen=True, slots=True)
class PageTask:
    """Pages (text, title), a question, and what to quote from which (counted from 0; None: nothing)."""

    pages: list[tuple[str, str]]
    question: str
    quote: str
    gold: int | None
    answer: str = ""  # the words of the quote that are wanted, where they are known
    more: tuple[tuple[str, str], ...] = ()  # further questions on the same page, with their quotes


@dataclass(frozen=True, slots=True)
class _Find:
    """A block of text with a question on it, and the blocks around it."""

    question: str
    gold: str
    before: list[str]
    after: list[str]
    title: str
    answer: str = ""
    written: dict[str, str] = field(default_factory=dict)  # questions on other sentences around


def _rename(task: PageTask, rng: random.Random) -> PageTask:
    """Some words of the quote become made-up names, wherever they stand."""
    change = rename(task.quote, task.question, rng)
    return PageTask(
        [(change(text), title) for text, title in task.pages],
        change(task.question),
        change(task.quote),
        task.gold,
        change(task.answer),
        tuple((change(question), change(quote)) for question, quote in task.more),
    )


def _foreign_latin(rng: random.Random) -> str:
    """Letters for those of _LATIN that make words of no language: vowels for vowels, some with accents."""
    vowels, consonants = list("aeiouäöüéèåøőıúã"), list("bcdfghjklmnprstvwzçñšžłß")
    rng.shuffle(vowels)
    rng.shuffle(consonants)
    return "".join(vowels.pop() if letter in "aeiou" else consonants.pop() for letter in _LATIN)


def _fits(sentence: str) -> bool:
    return SENTENCE_WORDS[0] <= sentence.count(" ") + 1 <= SENTENCE_WORDS[1]


class PageMaker:
    """Draws page tasks from prose and from questions that people asked about passages."""

    def __init__(
        self,
        prose: Sequence[Document],
        human: Sequence[Question],
        rows: Sequence[Question],
        neighbours: dict[str, list[str]],
        written: Sequence[Written] = (),
    ) -> None:
        self.prose = prose
        self.written = [(document, each) for document, questions in written for each in questions]
        self._written_on = {document.text: questions for document, questions in written}
        self.human = [row for row in human if row.answer and _fits(row.evidence)]
        self.rows = [row for row in rows if row.answer and _fits(row.evidence)]
        self.asker = Asker(neighbours)
        self.entries = EntryMaker(prose, self.asker)

    def draw(self, rng: random.Random, *, people_only: bool = False) -> PageTask:
        """One task: a single page of any length, or two to ten passages."""
        single = rng.random() < 0.6
        words = int(2 ** rng.uniform(5.3, 10.7)) if single else rng.randint(45, 130)
        count = 1 if single else rng.choice((2, 3, 3, 4, 5, 5, 5, 6, 7, 10))
        # The passages of a search are mostly neighbours: pieces of one page, with its words in all of them.
        together = not single and rng.random() < 0.6
        found = self._find(rng, words * count if together else words, people_only)
        more: tuple[tuple[str, str], ...] = ()
        blocks = [*found.before, found.gold, *found.after]
        if together:
            pieces = self._pieces(blocks, words)
            pages = [
                (lay_out(piece, {found.gold}, rng), found.title) for piece in pieces if found.gold in piece
            ]
            pages += [(lay_out(piece, (), rng), found.title) for piece in pieces if found.gold not in piece]
            pages = pages[:12]
        else:
            more = self._more(found, rng) if single and words > 120 and rng.random() < 0.5 else ()
            kept = {found.gold, *(quote for _, quote in more)}
            pages = [(lay_out(blocks, kept, rng), found.title)]
            pages += [self._other(found, rng, words) for _ in range(count - 1)]
        order = list(range(len(pages)))
        rng.shuffle(order)
        pages = [pages[i] for i in order]
        if rng.random() < ABSENT_SHARE:
            # Something else altogether: the nearest sentence is worth quoting even where it says little.
            other = self._find(rng, words, people_only)
            if not any(" ".join(other.gold.split()) in " ".join(text.split()) for text, _ in pages):
                return PageTask(pages, other.question, other.gold, None, other.answer)
        task = PageTask(pages, found.question, found.gold, order.index(0), found.answer, more)
        if rng.random() < 0.1 and words < 260:
            return self._in_another_script(task, rng)
        return _rename(task, rng) if rng.random() < 0.2 and not people_only else task

    @staticmethod
    def _pieces(blocks: list[str], words: int) -> list[list[str]]:
        """`blocks` in runs of about `words` words each."""
        pieces: list[list[str]] = [[]]
        room = words
        for block in blocks:
            if room <= 0:
                pieces.append([])
                room = words
            pieces[-1].append(block)
            room -= block.count(" ") + 1
        return pieces

    def _find(self, rng: random.Random, words: int, people_only: bool) -> _Find:
        kinds: list[tuple[Callable[[random.Random, int], _Find | None], float]] = [
            (self._from_prose, 0.22 * (not people_only)),
            (self._from_written, 0.4 * bool(self.written) * (not people_only)),
            (self._from_people, 0.14 * bool(self.human)),
            (self._from_rows, 0.06 * bool(self.rows) * (not people_only)),
            (self._from_facts, 0.18 * (not people_only)),
        ]
        while True:
            draw = rng.choices([kind for kind, _ in kinds], [weight for _, weight in kinds])[0]
            found = draw(rng, words)
            if found is not None:
                return found

    def _other(self, found: _Find, rng: random.Random, words: int) -> tuple[str, str]:
        """A passage without the answer: a neighbour of the same document, or of another one."""
        pool = found.before + found.after
        if rng.random() < 0.5 and len(pool) > 8:
            at = rng.randrange(len(pool) - 4)
            blocks, title = pool[at : at + 5], found.title
        else:
            document = self._document(rng)
            blocks, title = sentences_of(document.text, rng, words), document.title
        blocks = [block for block in blocks if block != found.gold] or [furniture(title, rng)]
        return lay_out(blocks, (), rng), title

    def _document(self, rng: random.Random) -> Document:
        return rng.choice(self.prose)

    def _around(self, document: Document, rng: random.Random, words: int) -> list[str]:
        """Sentences of a document; very long pages go on in the middle of another one."""
        found = sentences_of(document.text, rng, words)
        if words > 300 and rng.random() < 0.1:
            found += sentences_of(self._document(rng).text, rng, words // 3)
        return found

    def _from_prose(self, rng: random.Random, words: int) -> _Find | None:
        document = self._document(rng)
        blocks = self._around(document, rng, words)
        at = rng.randrange(len(blocks))
        gold = blocks[at]
        if not _fits(gold) or blocks.count(gold) > 1:
            return None
        question = None
        if rng.random() < 0.25:
            asked = ask(gold, rng)
            question = asked.question if asked else None
        question = question or self.asker.ask(gold, rng, faint=words < 150 and rng.random() < 0.6)
        if question is None:
            return None
        gold = " ".join(wear(gold, rng).split())
        return _Find(question, gold, blocks[:at], blocks[at + 1 :], document.title)

    def _from_written(self, rng: random.Random, words: int) -> _Find | None:
        """A question of the question writer, on a sentence where it stands."""
        document, (at, length, question) = rng.choice(self.written)
        room = words * 6
        left = int(room * rng.random())
        begin, end = max(0, at - left), min(len(document.text), at + length + room - left)
        before = split_sentences(document.text[begin:at])[1 if begin else 0 :]
        after = split_sentences(document.text[at + length : end])
        after = after[: -1 if end < len(document.text) else None]
        gold = document.text[at : at + length]
        if gold in before or gold in after:
            return None
        likely = rng.choice((0.0, 0.15, 0.3, 0.5, 0.7) if words < 150 else (0.0, 0.0, 0.15, 0.3, 0.5))
        gold = " ".join(wear(gold, rng).split())
        others = {
            document.text[a : a + n]: self._retell(asked, rng, likely)
            for a, n, asked in self._written_on[document.text]
            if begin <= a and a + n <= end and a != at
        }
        asked = self._retell(question, rng, likely)
        return _Find(asked, gold, before, after, document.title, written=others)

    def _more(self, found: _Find, rng: random.Random) -> tuple[tuple[str, str], ...]:
        """Up to three more questions on sentences around the one that was found."""
        blocks = [*found.before, *found.after]
        picked = rng.sample(blocks, min(len(blocks), rng.choice((2, 4, 6))))
        picked = [*(block for block in blocks if block in found.written), *picked]
        asked = []
        for block in dict.fromkeys(picked):
            question = found.written.get(block) or self.asker.ask(block, rng)
            if question and _fits(block) and blocks.count(block) == 1:
                asked.append((question, block))
        return tuple(rng.sample(asked, min(len(asked), 3)))

    def _within_prose(
        self, question: str, golds: list[str], at: int, title: str, rng: random.Random, words: int
    ) -> _Find:
        document = self._document(rng)
        around = self._around(document, rng, max(20, words - 60))
        cut = rng.randrange(len(around) + 1)
        before, after = around[:cut] + golds[:at], golds[at + 1 :] + around[cut:]
        return _Find(question, golds[at], before, after, title if rng.random() < 0.5 else document.title)

    def _from_people(self, rng: random.Random, words: int) -> _Find | None:
        return self._asked_row(rng.choice(self.human), rng, words)

    def _from_rows(self, rng: random.Random, words: int) -> _Find | None:
        return self._asked_row(rng.choice(self.rows), rng, words)

    def _asked_row(self, row: Question, rng: random.Random, words: int) -> _Find:
        """A question of the corpus; its passage stands in the middle of a page."""
        before, _, after = (part.strip() for part in row.context.partition(row.evidence))
        golds = [*([before] if before else []), " ".join(row.evidence.split()), *([after] if after else [])]
        title = title_of(row.context, rng)
        question = self._retell(row.question, rng)
        found = self._within_prose(question, golds, 1 if before else 0, title, rng, words)
        return replace(found, answer=row.answer)

    def _retell(self, question: str, rng: random.Random, likely: float | None = None) -> str:
        """A question with a few words replaced, seldom one left out."""
        likely = rng.choice((0.0, 0.0, 0.15, 0.3)) if likely is None else likely
        words = question.split(" ")
        if len(words) > 6 and rng.random() < 0.25:
            del words[rng.randrange(2, len(words) - 1)]
        return " ".join(
            w if i < 2 or not w.isalpha() else self.asker.reword(w, rng, likely) for i, w in enumerate(words)
        )

    def _from_facts(self, rng: random.Random, words: int) -> _Find | None:
        """Rows of a made-up table, list of constants, glossary or form; one is asked for."""
        kind = rng.randrange(KINDS)
        entries = [self.entries.draw(kind, rng) for _ in range(rng.randint(3, 14))]
        at = rng.randrange(len(entries))
        gold, question = entries[at]
        if len({text for text, _ in entries}) < len(entries):
            return None
        return self._within_prose(
            question, [text for text, _ in entries], at, title_of(gold, rng), rng, words
        )

    def _in_another_script(self, task: PageTask, rng: random.Random) -> PageTask:
        """Every letter becomes another one, of this alphabet or of another.

        Copying must not depend on known words.
        """
        letters = rng.choice(_ALPHABETS) if rng.random() < 0.4 else _foreign_latin(rng)
        table = {ord(a): b for a, b in zip(_LATIN, letters, strict=False)}
        table |= {ord(a.upper()): b for a, b in zip(_LATIN, letters, strict=False)}
        glue = "" if letters[0] in "あ的" and rng.random() < 0.7 else " "

        def change(text: str) -> str:
            return glue.join(text.translate(table).split())

        pages = [(change(text), title) for text, title in task.pages]
        return PageTask(pages, change(task.question), change(task.quote), task.gold, change(task.answer))
