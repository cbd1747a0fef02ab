"""Two versions of a prompt side by side, in the whole window with a scripted session."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PySide6.QtWidgets import QApplication, QWidget

from app.bootstrap import App, Options
from app.profile import Profile
from inference.errors import NotAvailable
from inference.events import (
    Event,
    ExplainRequest,
    Explanation,
    ExplanationCost,
    ExplanationStarted,
    GenerateRequest,
    ListMethodsRequest,
    Message,
    MethodsListed,
    MethodSpec,
    MethodStatus,
    ScoreRequest,
    SegmentSpan,
    TargetSpan,
    Token,
)
from inference.running import RunHandle
from views.models.two_prompts import TwoPromptsModel

FIRST, SECOND = "Which river is long 🦊?", "Which mountain is very long 🦊?"


def list_methods(request: ListMethodsRequest, handle: RunHandle) -> Iterator[Event]:
    spec = MethodSpec(name="atman", title="AtMan", summary="Turns down.", signed=True, exact=True)
    yield MethodsListed(run_id=request.run_id, methods=(MethodStatus(spec=spec, problem=""),))


def explain(request: ExplainRequest, handle: RunHandle) -> Iterator[Event]:
    text = request.messages[-1].content
    part = SegmentSpan(text=text, start=0, end=len(text), tokens=(0,), label="user")
    target = TargetSpan(text="t", start=0, end=1, ids=(1,), logprob=-1.0)
    cost = ExplanationCost(forward_passes=1, token_forwards=1, naive_token_forwards=1, seconds=0.1, memory=1)
    yield ExplanationStarted(
        run_id=request.run_id, method=request.method, context=text, segments=(part,), targets=(target,),
        granularity="word", cost=cost,
    )  # fmt: skip
    yield Explanation(
        run_id=request.run_id, method=request.method, segments=(part,), targets=(target,),
        scores=((0.5,),), forward_passes=1, seconds=0.1,
    )  # fmt: skip


@pytest.fixture
def app(fake_session: Any, qapp: QApplication, qtbot: Any, tmp_path: Path) -> Iterator[App]:
    def answer(request: GenerateRequest, handle: RunHandle) -> Iterator[Event]:
        prompt = request.prompt or request.messages[-1].content
        fake_session.reply_pieces = ("It", " is", " high" if "mountain" in prompt else " wet")
        for event in fake_session._plain(request, handle):
            high = isinstance(event, Token) and event.text == " high"
            yield replace(event, id=99) if high else event

    fake_session.script[ListMethodsRequest] = list_methods
    fake_session.script[ExplainRequest] = explain
    fake_session.script[GenerateRequest] = answer
    options = Options(
        profile=Profile.under(tmp_path / "p"),
        make_engine=lambda: fake_session,
        make_librarian=lambda: fake_session,
    )
    app = App(qapp, options)
    app.show()
    qtbot.waitUntil(lambda: bool(app.models.explanation.methods))
    app.widgets.window.show_mode("compare")
    yield app
    app.widgets.window.close()
    app.theme.deleteLater()
    app.widgets.window.deleteLater()


def child(app: App, name: str) -> Any:
    found = app.widgets.window.findChild(QWidget, name)
    assert found is not None, name
    return found


def run(app: App, qtbot: Any) -> None:
    child(app, "promptA").setPlainText(FIRST)
    child(app, "promptB").setPlainText(SECOND)
    child(app, "compareRun").click()
    qtbot.waitUntil(lambda: app.models.two_prompts.asked is not None and not app.models.two_prompts.running)


def test_words_that_only_one_version_has_are_marked_in_it(app: App) -> None:
    assert child(app, "compareView").isVisible()
    child(app, "promptA").setPlainText(FIRST)
    assert child(app, "promptA").extraSelections() == [], "there is nothing to compare with yet"
    child(app, "promptB").setPlainText(SECOND)

    def marked(name: str) -> list[str]:
        return [mark.cursor.selectedText() for mark in child(app, name).extraSelections()]

    assert marked("promptA") == ["river"]
    assert marked("promptB") == ["mountain", "very"]


def test_both_are_answered_under_the_same_settings_and_read_under_one_another(
    app: App, fake_session: Any, qtbot: Any
) -> None:
    app.widgets.intents.system_prompt_changed.emit("Be brief.")
    run(app, qtbot)
    first, second = fake_session.of(GenerateRequest)
    system = Message(role="system", content="Be brief.")
    assert first.messages == (system, Message(role="user", content=FIRST))
    assert second.messages == (system, Message(role="user", content=SECOND))
    assert first.controls == second.controls
    assert first.controls.seed is not None
    model = app.models.two_prompts
    assert [side.text for side in model.sides] == ["It is wet", "It is high"]
    under_second, under_first = fake_session.of(ScoreRequest)[-2:]
    assert under_second.messages == second.messages
    assert under_second.reply_ids == tuple(token.id for token in model.sides[0].tokens)
    assert under_first.messages == first.messages
    assert model.differing_tokens() == ({2}, {2})
    qtbot.waitUntil(lambda: child(app, "replyA").toPlainText() == "It is wet")
    assert "under B" in model.sides[0].words(0)
    assert "nats here" in model.sides[0].summary


def test_both_replies_are_explained(app: App, fake_session: Any, qtbot: Any) -> None:
    run(app, qtbot)
    for number, request in enumerate(fake_session.of(ExplainRequest)[-2:]):
        side = app.models.two_prompts.sides[number]
        assert request.messages[-1].content == (FIRST, SECOND)[number]
        assert request.reply_ids == tuple(token.id for token in side.tokens)
        result = app.models.two_prompts.explanations[number].result
        assert result is not None
        assert result.value(0) == 0.5
    assert app.models.explanation.result is None, "the Why tab keeps its own"


def test_explaining_can_be_left_out(app: App, fake_session: Any, qtbot: Any) -> None:
    child(app, "compareExplain").click()
    before = len(fake_session.of(ExplainRequest))
    run(app, qtbot)
    assert len(fake_session.of(ExplainRequest)) == before


def test_raw_texts_are_continued_as_they_are(app: App, fake_session: Any, qtbot: Any) -> None:
    app.models.two_prompts.set_kind("raw")
    child(app, "compareExplain").click()
    run(app, qtbot)
    assert [request.prompt for request in fake_session.of(GenerateRequest)[-2:]] == [FIRST, SECOND]


def test_stopping_keeps_what_was_written(app: App, fake_session: Any, qtbot: Any) -> None:
    fake_session.stepwise = True
    child(app, "promptA").setPlainText(FIRST)
    child(app, "promptB").setPlainText(SECOND)
    assert not child(app, "compareStop").isVisible()
    child(app, "compareRun").click()
    fake_session.step(2)
    qtbot.waitUntil(lambda: bool(app.models.two_prompts.sides[0].tokens))
    qtbot.waitUntil(lambda: child(app, "compareStop").isVisible())
    child(app, "compareStop").click()
    fake_session.step(10)
    qtbot.waitUntil(lambda: not app.models.two_prompts.running)
    assert app.models.two_prompts.sides[0].text.startswith("It")
    assert not app.models.two_prompts.sides[1].tokens
    assert app.models.two_prompts.problem == "Stopped."


def test_a_failure_ends_the_comparison_and_is_told(app: App, fake_session: Any, qtbot: Any) -> None:
    def fail(request: ExplainRequest, handle: RunHandle) -> Iterator[Event]:
        raise NotAvailable("Not with this architecture.", hint="Take another one.")
        yield

    fake_session.script[ExplainRequest] = fail
    run(app, qtbot)
    qtbot.waitUntil(lambda: "Not with this architecture." in child(app, "compareProblem").text())
    assert [side.text for side in app.models.two_prompts.sides] == ["It is wet", "It is high"]


def test_the_last_question_of_the_chat_is_both_versions(app: App, qtbot: Any) -> None:
    assert not child(app, "compareRun").isEnabled()
    app.widgets.intents.send_requested.emit("Which river?")
    qtbot.waitUntil(lambda: bool(app.models.transcript.messages) and not app.generation.running)
    child(app, "compareQuestion").click()
    assert child(app, "promptA").toPlainText() == child(app, "promptB").toPlainText() == "Which river?"
    assert child(app, "compareRun").isEnabled()


def test_neighbouring_words_are_one_range(qapp: QApplication) -> None:
    model = TwoPromptsModel()
    model.set_text(0, "a b c d")
    model.set_text(1, "a x y d, e")
    assert [(each.start, each.end) for each in model.differing_words()[0]] == [(2, 5)]
    assert [(each.start, each.end) for each in model.differing_words()[1]] == [(2, 5), (7, 10)]
