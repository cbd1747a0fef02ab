"""Explaining, steering and looking inside with the real engine behind the real window."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from app.bootstrap import App
from views.models.text_range import TextRange

pytestmark = pytest.mark.builtin

QUESTION = (
    "Question: Who built the lighthouse?\n\nSources:\n[1] The harbour of Westhaven has two cranes. "
    "The lighthouse was built by Ada Brown in 1871. A ferry leaves for the island at nine.\n\n"
    "Question: Who built the lighthouse?"
)
EVIDENCE = "The lighthouse was built by Ada Brown in 1871."


def say(app: App, qtbot: Any) -> Any:
    app.widgets.intents.send_requested.emit(QUESTION)
    done(app, qtbot)
    return app.models.transcript.last_reply


def done(app: App, qtbot: Any) -> None:
    qtbot.waitUntil(lambda: not app.generation.running, timeout=120_000)
    assert [fault.details for fault in app.models.faults.faults] == []


def test_the_sentence_that_holds_the_answer_carries_it_and_losing_it_changes_the_answer(
    open_app: Callable[[], App], qtbot: Any
) -> None:
    app = open_app()
    reply = say(app, qtbot)
    if not reply.text.startswith("Ada Brown"):
        pytest.skip(f"this model answers {reply.text!r}")
    qtbot.waitUntil(lambda: bool(app.models.explanation.methods), timeout=60_000)
    app.widgets.intents.text_selected.emit(TextRange(reply.id, 0, len("Ada Brown")))
    app.models.explanation.update(granularity="sentence")
    app.explaining.explain()
    qtbot.waitUntil(lambda: not app.models.explanation.busy, timeout=120_000)
    result = app.models.explanation.result
    assert result is not None
    assert result.complete
    assert EVIDENCE in result.segments[result.ranking()[0]].text
    assert result.context.endswith("<|assistant|>") or QUESTION in result.context
    at = QUESTION.index("Ada Brown")
    question = app.models.transcript.messages[0]
    app.widgets.intents.text_selected.emit(TextRange(question.id, at, at + len("Ada Brown")))
    app.models.steering.add_selected(0.0)
    app.side_by_side.run()
    both = app.models.side_by_side
    qtbot.waitUntil(lambda: not both.running, timeout=120_000)
    assert both.problem == ""
    assert both.sides[0].text.strip() == reply.text.strip()
    assert both.sides[1].text != both.sides[0].text
    shifts = [both.sides[0].shift(index) for index in range(2)]
    assert shifts[0] is not None
    assert shifts[0] > 1.0
    app.steering.regenerate()
    done(app, qtbot)
    assert "Ada Brown" not in app.models.transcript.last_reply.text


def test_the_lens_ends_in_what_the_model_said_and_attention_rows_add_up(
    open_app: Callable[[], App], qtbot: Any
) -> None:
    app = open_app()
    reply = say(app, qtbot)
    app.looking.look()
    lens = app.models.lens
    qtbot.waitUntil(lambda: lens.state != "working", timeout=120_000)
    assert lens.state == "result", lens.problem
    assert lens.started is not None
    top = lens.rows[lens.layers[0]]
    before_last = len(lens.started.positions) - 2
    assert top.top_texts[before_last] == [t.text for t in reply.track.tokens if t.text][-1]
    app.looking.read_layer(0)
    attention = app.models.attention
    qtbot.waitUntil(lambda: attention.state != "working", timeout=120_000)
    app.looking.read_head(1)
    qtbot.waitUntil(lambda: attention.state != "working", timeout=120_000)
    assert attention.matrix is not None, attention.problem
    for row in attention.matrix.rows:
        assert sum(row) == pytest.approx(1.0, abs=0.02)
