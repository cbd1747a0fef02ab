"""Held-out questions for the evaluation: with 1, 3 and 5 passages, answerable and not, with a fixed seed."""

from __future__ import annotations

import json
import random
import re
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from corpus import Corpus, Question
from dialogues import GROUP_WEIGHTS
from metrics import Expected, normalise
from page_tasks import PageMaker


@dataclass(frozen=True, slots=True)
class Item:
    """A question, its numbered sources, and what is expected."""

    question: str
    expected: Expected


def make_set(
    held_out: Corpus, passages: int, answerable: int, unanswerable: int, seed: int = 7
) -> list[Item]:
    """Questions over `passages` sources each; the gold one stands at a random place.

    Distractors are held-out contexts, three in four from the same collection. Half of the unanswerable
    questions are the corpus' own (a passage that lacks the fact, or another subject), half are answerable
    ones whose passage was left out.
    """
    rng = random.Random(seed * 1000 + passages)
    contexts: dict[str, list[str]] = defaultdict(list)
    for question in held_out.questions:
        if question.context not in contexts[question.source][-1:]:
            contexts[question.source].append(question.context)
    everything = [context for group in contexts.values() for context in group]
    with_answer = [question for question in held_out.questions if question.answer]
    without = [question for question in held_out.questions if not question.answer]

    def distractors(question: Question, count: int) -> list[str]:
        chosen: list[str] = []
        while len(chosen) < count:
            text = rng.choice(contexts[question.source] if rng.random() < 0.75 else everything)
            shares_fact = question.evidence and question.evidence in text
            if text != question.context and text not in chosen and not shares_fact:
                chosen.append(text)
        return chosen

    own = rng.sample(with_answer, min(answerable, len(with_answer)))
    own += rng.sample(without, min(unanswerable // 2, len(without)))
    items = [_item(question, question.context, distractors(question, passages - 1), rng) for question in own]
    others = rng.sample(with_answer, min(unanswerable - unanswerable // 2, len(with_answer)))
    for question in others:
        first, *rest = _absent(question, distractors(question, passages + 2), contexts, rng)[:passages]
        items.append(_item(Question("", "", question.question, "", ""), first, rest, rng))
    return items


def _absent(
    question: Question, texts: list[str], contexts: dict[str, list[str]], rng: random.Random
) -> list[str]:
    """Distractors without those that name what is asked about; refilled at random if too few are left."""
    named = re.findall(r'"([^"]+)"', question.question) or re.findall(
        r"(?<=\s)[A-Z][\w-]{3,}", question.question
    )
    left = [text for text in texts if not any(name in text for name in named)]
    while len(left) < len(texts):
        left.append(rng.choice(contexts[rng.choice(list(contexts))]))
    return left


def _item(question: Question, gold: str, others: list[str], rng: random.Random) -> Item:
    at = rng.randrange(len(others) + 1)
    sources = (*others[:at], gold, *others[at:])
    return Item(question.question, Expected(answer=question.answer, sources=sources, gold=at + 1))


def make_page_set(held_out: Corpus, count: int, seed: int = 9) -> list[Item]:
    """Held-out questions that people asked, on page-like text: their passages stand in other prose.

    One in eleven pages lacks the answer.
    """
    people = [row for row in held_out.questions if row.source not in GROUP_WEIGHTS]
    if not any(row.answer for row in people):
        return []
    maker, rng = PageMaker(held_out.prose, people, [], {}), random.Random(seed)
    items = []
    while len(items) < count:
        task = maker.draw(rng, people_only=True)
        sources = tuple(text for text, _ in task.pages)
        if task.gold is None or normalise(task.answer) in normalise(" ".join(sources)):
            answer, gold = ("", 1) if task.gold is None else (task.answer, task.gold + 1)
            items.append(Item(task.question, Expected(answer=answer, sources=sources, gold=gold)))
    return items


def page_questions(folder: Path) -> list[Item]:
    """Questions on real PDF pages, each with its right page as the only source.

    `folder` holds questions.jsonl and the pages' texts: pages.jsonl (see `write_pages`), or else real/*.pdf
    to be read with pypdfium2. Empty where any of that is missing.
    """
    questions = folder / "questions.jsonl"
    if not questions.exists():
        return []
    stored = folder / "pages.jsonl"
    if stored.exists():
        pages = [json.loads(line) for line in stored.read_text(encoding="utf-8").splitlines()]
    else:
        try:
            pages = read_pages(folder)
        except ImportError:
            return []
    rows = [json.loads(line) for line in questions.read_text(encoding="utf-8").splitlines()]
    return [
        Item(row["question"], Expected(answer=row["answer"], sources=(page,), gold=1))
        for row, page in zip(rows, pages, strict=True)
    ]


def read_pages(folder: Path) -> list[str]:
    """The text of each question's page, in the order of questions.jsonl (needs pypdfium2)."""
    import pypdfium2

    pages = []
    for line in (folder / "questions.jsonl").read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        document = pypdfium2.PdfDocument(folder / "real" / row["file"], password=row.get("password"))
        pages.append(clean_page(document[row["page"] - 1].get_textpage().get_text_range()))
        document.close()
    return pages


def write_pages(folder: Path, target: Path) -> None:
    """Stores `read_pages` as pages.jsonl in `target`, for machines without pypdfium2."""
    lines = (json.dumps(page, ensure_ascii=False) + "\n" for page in read_pages(folder))
    (target / "pages.jsonl").write_text("".join(lines), encoding="utf-8")


def clean_page(text: str) -> str:
    """A page's text as PDFium gives it, with hyphenated line ends mended and white space made single."""
    return " ".join(re.sub("[\ufffe\x02]\\s*", "", text).split())
