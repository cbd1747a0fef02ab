"""Questions on page-like text: what is asked can be read there, and the quote stands there word for word."""

from __future__ import annotations

import json
import lzma
import random
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn


def _plain(text: str) -> str:
    return " ".join(text.split())


@pytest.fixture
def corpus(corpus_folder: Path) -> Any:
    from corpus import load_corpus

    return load_corpus(corpus_folder)


def test_a_page_holds_the_quote_once_and_the_number_names_it(corpus: Any) -> None:
    from page_tasks import PageMaker

    maker, rng = PageMaker(corpus.prose, corpus.questions, corpus.questions, {}), random.Random(4)
    absent = several = 0
    for _ in range(300):
        task = maker.draw(rng)
        assert task.question
        several += len(task.pages) > 1
        if task.gold is None:
            absent += 1
        else:
            page = _plain(task.pages[task.gold][0])
            assert _plain(task.quote) in page
            assert all(_plain(quote) in page for _, quote in task.more)
    assert 0 < absent < 40
    assert 75 < several < 225


def test_written_questions_are_asked_where_their_sentence_stands(corpus: Any, tmp_path: Path) -> None:
    from page_tasks import PageMaker
    from written_questions import NAME, document_key, read_written

    rows = []
    for document in corpus.prose[:8]:
        begin = document.text.index("Many travellers")
        length = document.text.index(" The old mill") - begin
        asked = [[begin, length, f"Who walked over to {document.title}?"]]
        rows.append({"document": document_key(document), "asked": asked})
    rows.append({"document": "a held-out one", "asked": [[0, 5, "What is it?"]]})
    with lzma.open(tmp_path / NAME, "wt", encoding="utf-8") as lines:
        lines.writelines(json.dumps(row) + "\n" for row in rows)
    written = read_written(tmp_path, corpus.prose)
    assert len(written) == 8
    maker, rng = PageMaker(corpus.prose, [], [], {}, written), random.Random(4)
    tasks = [task for task in (maker.draw(rng) for _ in range(80)) if "walked over" in task.question]
    assert len(tasks) > 10
    assert sum("travellers crossed" in task.quote for task in tasks) > len(tasks) / 2  # others are renamed


def test_renamed_words_are_the_same_everywhere() -> None:
    from renaming import rename

    sentence, question = "The pump moves seven litres of water.", "How many litres does the Pump move?"
    for seed in range(50):
        change = rename(sentence, question, random.Random(seed))
        assert change(sentence) != sentence
        page = f"Water is dear. {sentence} A pump is loud."
        assert change(sentence) in change(page)
        assert ("pump" in change(page)) == ("Pump" in change(question))


def test_unusable_questions_are_dropped() -> None:
    from question_writer import is_usable

    sentence = "The annual report of the council was published in May."
    assert is_usable("When was the council's report published?", sentence)
    assert not is_usable("When did the prince marry the miller's daughter?", sentence)
    assert not is_usable("The report was published in May.", sentence)


def test_questions_of_people_keep_the_words_that_answer_them(corpus: Any) -> None:
    from page_tasks import PageMaker

    maker, rng = PageMaker(corpus.prose, corpus.questions, [], {}), random.Random(4)
    tasks = [maker.draw(rng, people_only=True) for _ in range(60)]
    assert all(task.answer and task.answer in task.quote for task in tasks)


def test_layout_changes_white_space_and_adds_furniture_but_keeps_the_answer() -> None:
    from page_text import lay_out

    blocks = [f"The pump number {n} moves about {n * 7} litres of water an hour." for n in range(12)]
    pages = {lay_out(blocks, blocks[5], random.Random(seed)) for seed in range(60)}
    assert all(_plain(blocks[5]) in _plain(page) for page in pages)
    assert any("\n" in page for page in pages)
    assert any("\n" not in page for page in pages)
    assert any(len(page) > 1.1 * len(" ".join(blocks)) for page in pages)


def test_asked_words_come_from_the_sentence_or_from_their_neighbours() -> None:
    from asking import Asker

    sentence = "The inspector measured 48 percent moisture in the northern warehouse."
    asker = Asker({"measured": ["gauged"], "moisture": ["dampness"]})
    questions = {asker.ask(sentence, random.Random(seed)) for seed in range(400)}
    assert len(questions) > 100
    assert any(question and "dampness" in question for question in questions)
    assert any(question and question.startswith("What share of") for question in questions)
    assert asker.ask("Yes, he did so.", random.Random(1)) is None


def test_made_up_facts_answer_their_questions_and_no_others() -> None:
    from toy_facts import draw_facts

    for seed in range(200):
        passage, asked, answered = draw_facts(random.Random(seed))
        assert asked
        for one in asked:
            assert one.answer in one.evidence
            assert one.evidence in passage
            assert one.question in answered
        assert len({one.question for one in asked}) == len(asked)


def test_average_follows_the_weights_and_swaps_back() -> None:
    from averaging import Average

    model = nn.Linear(3, 2)
    average = Average(model, 0.5)
    before = model.weight.detach().clone()
    with torch.no_grad():
        model.weight.add_(1.0)
    average.update(model)
    average.swap(model)
    torch.testing.assert_close(model.weight.detach(), before + 0.5)
    average.swap(model)
    torch.testing.assert_close(model.weight.detach(), before + 1.0)


def test_progress_follows_steps_or_the_clock_and_ends_at_one() -> None:
    from plan import Progress

    by_steps = Progress(10)
    assert [by_steps.advance(step) for step in (0, 5, 10)] == [0.0, 0.5, 1.0]
    by_clock = Progress(10, start=0.25)
    by_clock.start_clock(1000.0)
    assert 0.25 <= by_clock.advance(9) < 0.3
    late = Progress(10)
    late.start_clock(-5.0)  # the start took longer than there was time: one second is left
    assert 0.0 <= late.advance(1) <= 1.0
