"""Composes training conversations: questions over sources in many forms, and plain chat.

A `Dialogue` is a list of turns; the assistant's turns are what the model learns to say. Sources, distractors,
their order, the wording and the form of the prompt are drawn afresh each time, so no two epochs are alike.
"""

from __future__ import annotations

import random
import re
import sys
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from corpus import COUNTRIES, DICTIONARY, ELEMENTS, FILMS, PLANETS, Corpus, Document, Question
from page_tasks import PageMaker
from passages import as_page, make_label
from prompt_forms import SourceForm, draw_form, render
from question_rules import Asked, ask
from rewording import read_synonyms, reword
from sentences import cut_passage, split_sentences
from story_chats import StoryMaker
from toy_facts import draw_facts
from written_questions import Written

sys.path.append(str(Path(__file__).resolve().parents[2]))
from inference.documents.prompting import REFUSAL, AnswerStyle, Source, format_reply

Turn = tuple[str, str]

# How often a group of questions is drawn. Questions written by people are few and carry the most variety.
GROUP_WEIGHTS = {
    FILMS: 0.1,
    COUNTRIES: 0.08,
    DICTIONARY: 0.08,
    PLANETS: 0.02,
    ELEMENTS: 0.02,
    "people": 0.08,
    "rules": 0.07,
    "toy": 0.05,
    "pages": 0.5,
}
_DRAWN = ("rules", "toy", "pages")  # made up as they are needed
SOURCE_COUNTS = ((1, 0.33), (2, 0.1), (3, 0.17), (4, 0.08), (5, 0.2), (6, 0.05), (7, 0.04), (8, 0.03))
UNANSWERABLE_SHARE = 0.16
_STORIES = (
    "uci-soe/FairytaleQAData",
    "global-asp/asp-source",
    "global-asp/pb-source",
    "wikipedia",
    DICTIONARY,
)
SENTENCE_STYLE_SHARE = 0.3


@dataclass(frozen=True, slots=True)
class Dialogue:
    """Turns as (role, text); `sources` is how many passages the user turn holds."""

    turns: list[Turn]
    sources: int = 0


@dataclass(frozen=True, slots=True)
class _Task:
    """A passage and the questions on it; `title` names its document, `siblings` are passages like it."""

    passage: str
    asked: list[Asked]
    title: str
    source: str
    siblings: list[str]


class DialogueMaker:
    """Draws dialogues from a corpus. Cheap to copy by fork: it only reads."""

    def __init__(
        self,
        corpus: Corpus,
        neighbours: dict[str, list[str]] | None = None,
        written: Sequence[Written] = (),
    ) -> None:
        self.prose = corpus.prose
        stories = [document for document in corpus.prose if document.source in _STORIES]
        self.stories = [each for each in [*stories, *corpus.prose[::12]] if len(each.text) > 200]
        self.chats = corpus.chats
        self.story_maker = StoryMaker.of(corpus.prose)
        self.synonyms = read_synonyms(corpus.prose)
        self.contexts: dict[str, list[list[Question]]] = {}
        by_context: dict[str, dict[str, list[Question]]] = defaultdict(lambda: defaultdict(list))
        for question in corpus.questions:
            group = question.source if question.source in GROUP_WEIGHTS else "people"
            by_context[group][question.context].append(question)
        self.contexts = {group: list(contexts.values()) for group, contexts in by_context.items()}
        self.groups = [group for group in GROUP_WEIGHTS if group in _DRAWN or group in self.contexts]
        people = [row for row in corpus.questions if row.source not in GROUP_WEIGHTS]
        others = [row for row in corpus.questions if row.source in GROUP_WEIGHTS]
        self.page_maker = PageMaker(corpus.prose, people, others, neighbours or {}, written)
        self.group_weights = [GROUP_WEIGHTS[group] for group in self.groups]

    def draw_chat(self, rng: random.Random) -> Dialogue:
        """One conversation of the corpus, or several short ones in a row, sometimes with a system prompt."""
        turns: list[Turn] = []
        for _ in range(rng.choices((1, 2, 3), (0.7, 0.2, 0.1))[0]):
            turns += rng.choice(self.chats).turns
        if rng.random() < 0.25:
            turns = [("system", rng.choice(_CHAT_SYSTEM_PROMPTS)), *turns]
        return Dialogue(turns)

    def draw_story(self, rng: random.Random) -> Dialogue:
        """A story or an explanation that was asked for; other conversations where there are no stories."""
        turns = self.story_maker.draw(rng)
        if not turns:
            return self.draw_chat(rng)
        if rng.random() < 0.2:
            turns = [*rng.choice(self.chats).turns, *turns]
        if rng.random() < 0.15:
            turns = [("system", rng.choice(_CHAT_SYSTEM_PROMPTS)), *turns]
        return Dialogue([(role, text) for role, text in turns])

    def draw_question(self, rng: random.Random) -> Dialogue:
        """A question over one to eight sources, answered by a quote or refused; sometimes with follow-ups."""
        group = rng.choices(self.groups, self.group_weights)[0]
        if group == "pages":
            return self.draw_page(rng)
        if group == "toy":
            return self.draw_toy(rng)
        task = self._rules_task(rng) if group == "rules" else None
        if task is None:
            task = self._row_task(group if group in self.contexts else rng.choice(list(self.contexts)), rng)
        style = AnswerStyle.SENTENCE if rng.random() < SENTENCE_STYLE_SHARE else AnswerStyle.SPAN
        form = draw_form(style, rng)
        count = 1 if form.single else rng.choices(*zip(*SOURCE_COUNTS, strict=True))[0]
        passage, asked = task.passage, list(task.asked)
        rng.shuffle(asked)
        asked = asked[: rng.choices((1, 2, 3, 4), (0.55, 0.2, 0.15, 0.1))[0]]
        if rng.random() < UNANSWERABLE_SHARE:
            passage = self._without_answer(passage, asked[0], task.siblings, rng)
        return self._compose(task, passage, asked, count, form, rng)

    def draw_page(self, rng: random.Random) -> Dialogue:
        """A question on page-like text, answered by the sentence or row that holds what is asked for."""
        task = self.page_maker.draw(rng)
        style = rng.choice(tuple(AnswerStyle))
        form = draw_form(style, rng)
        while (form.single and len(task.pages) > 1) or (form.name != "app" and rng.random() < 0.6):
            form = draw_form(style, rng)
        labelled = rng.random() < 0.55
        labels = {title: make_label(title, rng) for _, title in task.pages}
        sources = [
            Source(text=text, label=_other_page(labels[title], rng) if labelled else "")
            for text, title in task.pages
        ]
        turns = render(form, task.question, sources)
        number = None if task.gold is None or not form.numbered else task.gold + 1
        reply = REFUSAL if task.gold is None else format_reply(task.quote, number)
        turns.append(("assistant", reply))
        for question, quote in task.more if task.gold is not None else ():
            turns.append(("user", f"Question: {question}" if rng.random() < 0.5 else question))
            turns.append(("assistant", format_reply(quote, number)))
        return Dialogue(turns, len(sources))

    def draw_toy(self, rng: random.Random) -> Dialogue:
        """Made-up facts in a short passage, with others beside it or alone."""
        passage, asked, answered = draw_facts(rng)
        rng.shuffle(asked)
        style = AnswerStyle.SENTENCE if rng.random() < 0.15 else AnswerStyle.SPAN
        form = draw_form(style, rng)
        count = 1 if form.single else rng.choices((1, 2, 3, 5), (0.55, 0.2, 0.15, 0.1))[0]
        others = [draw_facts(rng) for _ in range(3)]
        if rng.random() < 0.14:
            asked = [one for one in others.pop()[1] if one.question not in answered]
        asked = asked[: rng.choices((1, 2, 3), (0.6, 0.25, 0.15))[0]]
        if not asked:
            return self.draw_toy(rng)
        siblings = [text for text, _, taken in others if not any(one.question in taken for one in asked)]
        task = _Task(passage, asked, "notes", "toy", siblings)
        return self._compose(task, passage, asked, count, form, rng, page_share=0.0)

    def _compose(
        self, task: _Task, passage: str, asked: list[Asked], count: int, form: SourceForm, rng: random.Random,
        *, page_share: float = 0.1,
    ) -> Dialogue:  # fmt: skip
        if rng.random() < page_share:
            passage = as_page(passage, task.title, asked[0].evidence, rng)
        texts = [self._distractor(task, asked, rng) for _ in range(count - 1)]
        gold = rng.randrange(count)
        texts.insert(gold, passage)
        labelled = rng.random() < 0.2
        sources = [
            Source(text=text, label=make_label(task.title if at == gold else self._any_title(rng), rng))
            if labelled
            else Source(text=text)
            for at, text in enumerate(texts)
        ]
        questions = [reword(item.question, self.synonyms, rng) for item in asked]
        turns = render(form, questions[0], sources)
        turns.append(("assistant", self._reply(asked[0], passage, gold + 1, form)))
        for question, item in zip(questions[1:], asked[1:], strict=True):
            turns.append(("user", f"Question: {question}" if rng.random() < 0.4 else question))
            turns.append(("assistant", self._reply(item, passage, gold + 1, form)))
        return Dialogue(turns, count)

    @staticmethod
    def _reply(asked: Asked, passage: str, number: int, form: SourceForm) -> str:
        if not asked.answer or asked.evidence not in passage:
            return REFUSAL
        quote = asked.evidence if form.style is AnswerStyle.SENTENCE or asked.whole else asked.answer
        return format_reply(quote.strip(), number if form.numbered else None)

    def _row_task(self, group: str, rng: random.Random) -> _Task:
        rows = rng.choice(self.contexts[group])
        asked = [Asked(row.question, row.answer, row.evidence) for row in rows]
        siblings = [rng.choice(self.contexts[group])[0].context for _ in range(3)]
        title = " ".join(rows[0].context.split()[:4])
        passage = rows[0].context
        if rng.random() < 0.1 and all(len(item.answer) > 0 for item in asked):
            # The facts in the middle of a longer page.
            words = rng.randint(60, 400)
            before, after = (cut_passage(rng.choice(self.prose).text, words, rng) for _ in range(2))
            passage = f"{before}\n{passage}\n{after}"
        return _Task(passage, asked, title, rows[0].source, siblings)

    def _rules_task(self, rng: random.Random) -> _Task | None:
        """A passage of prose with questions by rule; None where no passage drawn allowed any."""
        for _ in range(20):
            document = self._any_document(rng)
            words = rng.choices((60, 120, 220, 400, 800, 1400), (0.17, 0.27, 0.25, 0.14, 0.11, 0.06))[0]
            passage = cut_passage(document.text, words, rng)
            sentences = split_sentences(passage)
            asked: list[Asked] = []
            for sentence in rng.sample(sentences, min(len(sentences), 6)):
                item = ask(sentence, rng)
                if item is not None and passage.count(item.evidence) == 1:
                    asked.append(item)
            if asked:
                siblings = [cut_passage(document.text, min(words, 200), rng) for _ in range(3)]
                siblings = [text for text in siblings if not any(item.evidence in text for item in asked)]
                return _Task(passage, asked, document.title, document.source, siblings)
        return None

    def _without_answer(self, passage: str, asked: Asked, siblings: list[str], rng: random.Random) -> str:
        """A passage that does not answer `asked`: the same without its evidence, or another one."""
        if asked.answer and rng.random() < 0.6:
            left = passage.replace(asked.evidence, "").replace("  ", " ").strip()
            if len(left) > 100 and asked.answer not in left:
                return left
        others = [text for text in siblings if asked.evidence not in text or not asked.answer]
        return rng.choice(others) if others else cut_passage(self._any_document(rng).text, 120, rng)

    def _distractor(self, task: _Task, asked: list[Asked], rng: random.Random) -> str:
        for _ in range(5):
            kind = rng.random()
            if kind < 0.35 and task.siblings:
                text = rng.choice(task.siblings)
            elif kind < 0.65 and task.source in self.contexts:
                text = rng.choice(self.contexts[task.source])[0].context
            else:
                text = cut_passage(self._any_document(rng).text, rng.choice((50, 90, 160, 250)), rng)
            if not any(item.evidence and item.evidence in text for item in asked):
                return text
        return cut_passage(self._any_document(rng).text, 80, rng)

    def _any_document(self, rng: random.Random) -> Document:
        return rng.choice(self.prose)

    def _any_title(self, rng: random.Random) -> str:
        return self._any_document(rng).title


def _other_page(label: str, rng: random.Random) -> str:
    """`label` with another page number: passages of one document stand on several pages."""
    return re.sub(r"(?<=, page )\d+$", lambda _: str(rng.randint(1, 150)), label)


_CHAT_SYSTEM_PROMPTS = (
    "You are a helpful assistant.",
    "You are a friendly assistant. Answer briefly.",
    "Answer in one sentence.",
    "You are a small language model that runs on this computer.",
    "Be polite and short.",
    "You are a chatbot.",
    "Keep your answers short and plain.",
)
