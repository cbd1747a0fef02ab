"""The Why, Steer and Lens tabs in the whole window, with a scripted session."""

from __future__ import annotations

import csv
import json
import struct
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QApplication, QWidget

from app.bootstrap import App, Options
from app.profile import Profile
from inference.errors import NotAvailable
from inference.events import (
    AttentionControl,
    AttentionMap,
    AttentionRequest,
    AttentionStarted,
    CompareMethodsRequest,
    DeletionCurve,
    Event,
    ExplainRequest,
    Explanation,
    ExplanationCost,
    ExplanationPart,
    ExplanationStarted,
    GenerateRequest,
    LensRequest,
    LensRow,
    LensStarted,
    ListMethodsRequest,
    MethodsCompared,
    MethodsListed,
    MethodSpec,
    MethodStatus,
    ParameterSpec,
    RelatedToken,
    RelatedTokens,
    RelatedTokensRequest,
    SamplingControls,
    ScoreRequest,
    SegmentSpan,
    SteeringOptions,
    TargetSpan,
)
from inference.running import RunHandle
from views.models.focus import TokenSpan
from views.models.side_by_side import differing
from views.models.steering import SYSTEM
from views.models.text_range import TextRange

QUESTION = "The Nile is long. Which river is it?"
CONTEXT = f"<user>{QUESTION}<assistant>"
WORDS = ["The", "Nile", "is", "long."]

SPECS = (
    MethodSpec(name="atman", title="AtMan", summary="Turns down.", signed=True, exact=True, uses_factor=True),
    MethodSpec(
        name="steps",
        title="Steps",
        summary="Takes steps.",
        signed=False,
        parameters=(
            ParameterSpec(name="count", title="Count", kind="int", default=8, minimum=2, maximum=64),
            ParameterSpec(name="way", title="Way", kind="choice", default="a", choices=("a", "b")),
        ),
    ),
    MethodSpec(name="never", title="Never", summary="Not here.", signed=True),
)


def list_methods(request: ListMethodsRequest, handle: RunHandle) -> Iterator[Event]:
    problems = {"never": "Not with this architecture."}
    yield MethodsListed(
        run_id=request.run_id,
        methods=tuple(MethodStatus(spec=spec, problem=problems.get(spec.name, "")) for spec in SPECS),
    )


def segments() -> tuple[SegmentSpan, ...]:
    found, at = [], 0
    for number, word in enumerate(WORDS):
        at = CONTEXT.index(word, at)
        found.append(SegmentSpan(text=word, start=at, end=at + len(word), tokens=(number,), label="user"))
        at += len(word)
    return tuple(found)


def scores_of(request: ExplainRequest) -> tuple[tuple[float, ...], ...]:
    first = (0.5, 2.0, -1.0, 0.25)
    return (first, tuple(value / 2 for value in first)) if request.target_granularity == "token" else (first,)


def explain(
    request: ExplainRequest, handle: RunHandle, wait: Callable[[], None] | None = None
) -> Iterator[Event]:
    parts, scores = segments(), scores_of(request)
    targets = tuple(
        TargetSpan(text=f"t{row}", start=row, end=row + 1, ids=(row,), logprob=-1.0)
        for row in range(len(scores))
    )
    cost = ExplanationCost(
        forward_passes=5, token_forwards=50, naive_token_forwards=200, seconds=0.5, memory=3_000_000
    )
    yield ExplanationStarted(
        run_id=request.run_id, method=request.method, context=CONTEXT, segments=parts,
        targets=targets, granularity="word", cost=cost,
    )  # fmt: skip
    if request.estimate_only:
        return
    for number in range(len(parts)):
        if wait is not None:
            wait()
        handle.check()
        yield ExplanationPart(
            run_id=request.run_id, method=request.method, indices=(number,),
            scores=tuple((row[number],) for row in scores), done=number + 1, total=len(parts),
        )  # fmt: skip
    yield Explanation(
        run_id=request.run_id, method=request.method, segments=parts, targets=targets, scores=scores,
        forward_passes=5, seconds=0.4,
    )  # fmt: skip


def compare(request: CompareMethodsRequest, handle: RunHandle) -> Iterator[Event]:
    for method in request.methods:
        yield from explain(replace(request.explain, run_id=request.run_id, method=method), handle)
    yield MethodsCompared(
        run_id=request.run_id, methods=request.methods,
        spearman=((1.0, 0.25), (0.25, 1.0)), kendall=((1.0, 0.2), (0.2, 1.0)),
        curves=tuple(
            DeletionCurve(method=name, removed=(0.0, 0.5, 1.0), logprobs=(-1.0, -2.0, -4.0), area=area)
            for name, area in (("atman", 0.4), ("steps", 0.3), ("random", 0.6))
        ),
    )  # fmt: skip


@pytest.fixture
def app(fake_session: Any, qapp: QApplication, qtbot: Any, tmp_path: Path) -> Iterator[App]:
    fake_session.script[ListMethodsRequest] = list_methods
    fake_session.script[ExplainRequest] = explain
    fake_session.script[CompareMethodsRequest] = compare
    options = Options(
        profile=Profile.under(tmp_path / "p"),
        make_engine=lambda: fake_session,
        make_librarian=lambda: fake_session,
    )
    app = App(qapp, options)
    app.show()
    qtbot.waitUntil(lambda: bool(app.models.explanation.methods))
    app.widgets.intents.send_requested.emit(QUESTION)
    qtbot.waitUntil(lambda: bool(app.models.transcript.messages) and not app.generation.running)
    yield app
    app.widgets.window.close()
    app.theme.deleteLater()
    app.widgets.window.deleteLater()


def child(app: App, name: str) -> Any:
    found = app.widgets.window.findChild(QWidget, name)
    assert found is not None, name
    return found


def done(app: App, qtbot: Any) -> None:
    qtbot.waitUntil(lambda: not app.models.explanation.busy)


def run(app: App, qtbot: Any) -> None:
    app.widgets.inspector.show_panel("why")
    child(app, "explainButton").click()
    done(app, qtbot)


# --- the Why tab


def test_the_whole_new_reply_is_the_target_until_another_one_is_chosen(app: App) -> None:
    assert child(app, "explainTarget").toPlainText() == "It is the Nile."
    reply = app.models.transcript.last_reply
    app.widgets.intents.text_selected.emit(TextRange(reply.id, 10, 14))
    assert child(app, "explainTarget").toPlainText() == "Nile"


def test_ctrl_e_shows_the_tab_and_explains_the_tokens_in_focus(
    app: App, fake_session: Any, qtbot: Any
) -> None:
    reply = app.models.transcript.last_reply
    app.models.focus.set_focus(TokenSpan(reply.id, 3, 4))
    app.widgets.window.action("explainSelection").trigger()
    done(app, qtbot)
    asked = fake_session.of(ExplainRequest)[-1]
    assert app.widgets.inspector.current == "why"
    assert (asked.target_start, asked.target_end) == (9, 14)
    assert asked.reply_ids == (100, 101, 102, 103, 104)
    assert [m.content for m in asked.messages] == [QUESTION]
    assert app.models.explanation.result is not None
    assert app.models.explanation.result.target_text == " Nile"


def test_text_of_the_user_is_not_a_target(app: App, qtbot: Any) -> None:
    question = app.models.transcript.messages[0]
    app.widgets.intents.text_selected.emit(TextRange(question.id, 0, 3))
    assert child(app, "explainTarget").toPlainText() == "It is the Nile."


def test_a_typed_text_is_explained_as_if_it_came_next(app: App, fake_session: Any, qtbot: Any) -> None:
    child(app, "explainTarget").setPlainText("The Amazon")
    run(app, qtbot)
    asked = fake_session.of(ExplainRequest)[-1]
    assert asked.target == "The Amazon"
    assert [m.content for m in asked.messages] == [QUESTION]
    assert not asked.reply_ids


def test_the_cost_is_told_before_the_run(app: App, fake_session: Any, qtbot: Any) -> None:
    app.widgets.inspector.show_panel("why")
    qtbot.waitUntil(lambda: app.models.explanation.cost is not None)
    text = child(app, "explainCost").text()
    assert "5 forward passes" in text
    assert "500 ms" in text
    assert "3.0 MB" in text
    assert all(request.estimate_only for request in fake_session.of(ExplainRequest))


def test_parameters_are_made_from_the_spec_and_sent(app: App, fake_session: Any, qtbot: Any) -> None:
    picker = child(app, "methodPicker")
    assert [picker.itemText(i) for i in range(picker.count())] == ["AtMan", "Steps", "Never"]
    picker.setCurrentIndex(1)
    picker.activated.emit(1)
    child(app, "parameter-count").setValue(32)
    run(app, qtbot)
    assert dict(fake_session.of(ExplainRequest)[-1].settings) == {"count": 32, "way": "a"}


def test_an_explanation_is_restricted_to_layers(app: App, fake_session: Any, qtbot: Any) -> None:
    app.widgets.inspector.show_panel("why")
    child(app, "explainMore").click()
    child(app, "explainLayers").setChecked(True)
    child(app, "explainFirstLayer").setValue(1)
    assert app.models.explanation.options.layers == (1, 1)
    child(app, "explainLastLayer").setValue(0)
    run(app, qtbot)
    assert fake_session.of(ExplainRequest)[-1].layers == (0, 0), "the first is never above the last"
    app.models.explanation.update(method="steps")
    assert not child(app, "explainLayers").isVisible(), "steps has no factor that could act in layers"
    run(app, qtbot)
    assert fake_session.of(ExplainRequest)[-1].layers is None


def test_a_method_that_does_not_work_here_says_why_and_cannot_be_started(app: App) -> None:
    app.models.explanation.update(method="never")
    assert not child(app, "explainButton").isEnabled()
    assert app.models.explanation.method_problem == "Not with this architecture."


def test_rows_appear_as_they_are_computed_and_stopping_keeps_them(
    app: App, fake_session: Any, qtbot: Any
) -> None:
    def slowly(request: ExplainRequest, handle: RunHandle) -> Iterator[Event]:
        yield from explain(request, handle, lambda: fake_session.wait_for_step(handle))

    fake_session.script[ExplainRequest] = slowly
    app.widgets.inspector.show_panel("why")
    child(app, "explainButton").setFocus()
    child(app, "explainButton").click()
    model = app.models.explanation
    fake_session.step(2)
    qtbot.waitUntil(lambda: model.result is not None and model.result.done == 2)
    assert model.result is not None
    assert [value is None for value in model.result.values()] == [False, False, True, True]
    assert child(app, "cancelExplain").isVisible()
    assert app.widgets.window.focusWidget() is child(app, "cancelExplain")
    assert child(app, "explainProgress").value() == 2
    child(app, "cancelExplain").click()
    done(app, qtbot)
    assert model.state == "result"
    assert model.result.value(1) == 3.0
    assert child(app, "explainButton").isVisible()
    assert app.widgets.window.focusWidget() is child(app, "explainButton")


def test_unloading_the_model_stops_what_is_being_explained(app: App, fake_session: Any, qtbot: Any) -> None:
    def endlessly(request: ExplainRequest, handle: RunHandle) -> Iterator[Event]:
        yield from explain(request, handle, lambda: fake_session.wait_for_step(handle))

    fake_session.script[ExplainRequest] = endlessly
    app.widgets.inspector.show_panel("why")
    child(app, "explainButton").click()
    qtbot.waitUntil(lambda: app.models.explanation.state == "working")
    app.widgets.window.action("unloadModel").trigger()
    qtbot.waitUntil(lambda: app.models.models.loaded is None)
    qtbot.waitUntil(lambda: not app.models.explanation.busy)
    assert not child(app, "explainButton").isEnabled()
    assert not app.models.faults.faults


def test_scripts_find_the_parts_by_their_names(app: App) -> None:
    steer(app, "Nile", 0.5)
    names = "steeringPanel factorSlider explainButton explanationView explanationHeatmap methodPicker "
    names += "granularityPicker importancePanel lensView attentionView compareView"
    for name in names.split():
        child(app, name)


def test_a_failure_says_what_happened_and_what_to_do(app: App, fake_session: Any, qtbot: Any) -> None:
    def fails(request: ExplainRequest, handle: RunHandle) -> Iterator[Event]:
        raise NotAvailable("No gradients here.", hint="Choose AtMan.")
        yield

    fake_session.script[ExplainRequest] = fails
    run(app, qtbot)
    assert app.models.explanation.state == "failed"
    assert child(app, "explainProblem").text() == "No gradients here."
    assert not app.models.faults.faults


def test_a_part_that_is_pointed_at_is_previewed_in_the_conversation_and_back(app: App, qtbot: Any) -> None:
    run(app, qtbot)
    model, question = app.models.explanation, app.models.transcript.messages[0]
    app.tracks.wanted(question.id)
    qtbot.waitUntil(lambda: len(question.track) > 0)
    model.hover(1)
    span = app.models.focus.preview
    assert span is not None
    assert "".join(t.text for t in app.models.transcript.tokens_of(span)).strip() == "Nile"
    model.hover(None)
    assert app.models.focus.preview is None
    app.models.focus.set_preview(TokenSpan(question.id, 3, 4))
    assert model.segment == 3
    assert app.widgets.inspector.current == "why"


def test_methods_are_compared_on_one_target(app: App, fake_session: Any, qtbot: Any) -> None:
    app.widgets.inspector.show_panel("why")
    child(app, "compareMethods").click()
    done(app, qtbot)
    assert fake_session.of(CompareMethodsRequest)[-1].methods == ("atman", "steps")
    assert app.models.explanation.shown == "atman"
    lines = app.widgets.why.view.comparison.lines()
    assert [line[0] for line in lines] == ["Steps", "AtMan", "Chance"]
    assert lines[0][1:] == ("0.300", "+0.25", "+0.20")


def test_a_candidate_is_held_against_the_token_that_came(app: App, fake_session: Any, qtbot: Any) -> None:
    reply = app.models.transcript.last_reply
    app.models.focus.set_focus(TokenSpan(reply.id, 3, 4))
    table = app.widgets.token.table
    row = next(r for r in range(2) if app.models.candidates.candidate(r).id == 303)
    action = next(a for a in table.bias_menu(row).actions() if a.text().startswith("Why not"))
    action.trigger()
    done(app, qtbot)
    asked = fake_session.of(ExplainRequest)[-1]
    assert asked.contrast_id == 303
    assert (asked.target_start, asked.target_end) == (9, 14)


def test_what_is_exported_holds_every_score(app: App, qtbot: Any, tmp_path: Path) -> None:
    run(app, qtbot)
    for kind in ("csv", "json", "png"):
        assert app.shell.write_explanation(kind, tmp_path / f"why.{kind}")
    rows = list(csv.DictReader((tmp_path / "why.csv").read_text(encoding="utf-8").splitlines()))
    assert [(row["text"], float(row["whole"]), float(row["t1"])) for row in rows][1] == ("Nile", 3.0, 1.0)
    data = json.loads((tmp_path / "why.json").read_text(encoding="utf-8"))
    assert data["results"][0]["scores"] == [[0.5, 2.0, -1.0, 0.25], [0.25, 1.0, -0.5, 0.125]]
    assert (tmp_path / "why.png").read_bytes().startswith(b"\x89PNG")


def test_another_conversation_forgets_the_explanation(app: App, qtbot: Any) -> None:
    run(app, qtbot)
    app.chat.new_chat()
    assert app.models.explanation.result is None
    assert app.models.explanation.target is None


# --- steering


def steer(app: App, text: str, factor: float) -> None:
    question = app.models.transcript.messages[0]
    at = question.text.index(text)
    app.widgets.intents.text_selected.emit(TextRange(question.id, at, at + len(text)))
    app.models.steering.add_selected(factor)


def test_words_that_are_turned_down_reach_the_next_reply(app: App, fake_session: Any, qtbot: Any) -> None:
    steer(app, "Nile", 0.0)
    expected = (AttentionControl(start=4, end=8, factor=0.0, message=0),)
    assert app.models.controls.controls.attention == expected
    child(app, "steerAgain").click()
    qtbot.waitUntil(lambda: not app.generation.running)
    assert fake_session.of(GenerateRequest)[-1].controls.attention == expected


def test_moving_the_slider_steers_the_reply_that_is_being_written(
    app: App, fake_session: Any, qtbot: Any
) -> None:
    handles: list[RunHandle] = []

    def watched(request: GenerateRequest, handle: RunHandle) -> Iterator[Event]:
        handles.append(handle)
        yield from fake_session._plain(request, handle)

    fake_session.script[GenerateRequest] = watched
    steer(app, "Nile", 0.5)
    fake_session.stepwise = True
    app.chat.regenerate(app.models.transcript.last_reply.id)
    qtbot.waitUntil(lambda: bool(handles))
    child(app, "factorSlider").setValue(150)
    assert handles[0].controls.attention[0].factor == pytest.approx(3.16)
    fake_session.step(10)
    qtbot.waitUntil(lambda: not app.generation.running)


def test_a_system_prompt_shifts_what_spans_point_at_and_can_be_steered_itself(app: App) -> None:
    steer(app, "Nile", 0.5)
    app.widgets.intents.system_prompt_changed.emit("Be brief, please.")
    assert [c.message for c in app.models.controls.controls.attention] == [1]
    app.widgets.intents.text_selected.emit(TextRange(SYSTEM, 3, 8))
    app.models.steering.add_selected(2.0)
    assert {(c.message, c.start, c.end) for c in app.models.controls.controls.attention} == {
        (0, 3, 8),
        (1, 4, 8),
    }
    app.widgets.intents.system_prompt_changed.emit("")
    assert [c.message for c in app.models.controls.controls.attention] == [0]


def test_spans_come_back_with_their_conversation_and_not_in_a_new_one(app: App) -> None:
    steer(app, "Nile", 0.25)
    number = app.chat.conversation
    app.chat.new_chat()
    assert app.models.controls.controls.attention == ()
    assert app.models.steering.spans == ()
    app.chat.open(number)
    (span,) = app.models.steering.spans
    assert (span.text, span.factor) == ("Nile", 0.25)
    assert len(app.models.controls.controls.attention) == 1


def test_factors_act_in_a_range_of_layers_that_is_kept_with_the_conversation(app: App) -> None:
    steer(app, "Nile", 0.25)
    child(app, "steerLayers").setChecked(True)
    child(app, "steerFirstLayer").setValue(1)
    assert app.models.controls.controls.steering.layers == (1, 1)
    number = app.chat.conversation
    app.chat.new_chat()
    app.models.controls.set_controls(SamplingControls())
    assert not child(app, "steerLayers").isChecked()
    app.chat.open(number)
    assert app.models.controls.controls.steering.layers == (1, 1)
    assert child(app, "steerLayers").isChecked()


def test_layers_that_another_model_does_not_have_are_let_go(app: App) -> None:
    app.models.explanation.update(layers=(0, 1))
    app.models.controls.set_controls(SamplingControls(steering=SteeringOptions(layers=(0, 1))))
    loaded = app.models.models.loaded
    app.models.models.set_loaded(replace(loaded, info=replace(loaded.info, layers=1)))
    assert app.models.controls.controls.steering.layers is None
    app.models.explanation.set_methods(app.models.explanation.methods, layers=1)
    assert app.models.explanation.options.layers is None


def test_a_span_waits_while_another_branch_of_its_message_is_shown(app: App, qtbot: Any) -> None:
    steer(app, "Nile", 0.25)
    question = app.models.transcript.messages[0]
    app.widgets.intents.edit_requested.emit(question.id, "Another question?")
    qtbot.waitUntil(lambda: not app.generation.running)
    assert app.models.controls.controls.attention == ()
    app.widgets.intents.branch_step_requested.emit(app.models.transcript.messages[0].id, -1)
    assert len(app.models.controls.controls.attention) == 1


def test_the_last_reply_cannot_be_steered_before_it_is_read(app: App) -> None:
    reply = app.models.transcript.last_reply
    app.widgets.intents.text_selected.emit(TextRange(reply.id, 0, 2))
    assert not child(app, "turnDown").isEnabled()


def test_a_later_span_does_not_reach_a_reply_before_it(app: App, fake_session: Any, qtbot: Any) -> None:
    app.widgets.intents.send_requested.emit("And the second river?")
    qtbot.waitUntil(lambda: not app.generation.running)
    later = app.models.transcript.messages[2]
    app.widgets.intents.text_selected.emit(TextRange(later.id, 8, 14))
    app.models.steering.add_selected(0.1)
    first = app.models.transcript.messages[1]
    app.chat.regenerate(first.id)
    qtbot.waitUntil(lambda: not app.generation.running)
    assert fake_session.of(GenerateRequest)[-1].controls.attention == ()


def test_a_reply_with_and_without_factors_side_by_side(app: App, fake_session: Any, qtbot: Any) -> None:
    def answer(request: GenerateRequest, handle: RunHandle) -> Iterator[Event]:
        fake_session.reply_pieces = ("It", " is", " long" if request.controls.attention else " short")
        yield from fake_session._plain(request, handle)

    steer(app, "Nile", 0.0)
    before = len(fake_session.of(GenerateRequest))
    fake_session.script[GenerateRequest] = answer
    app.models.side_by_side.sides[0].tokens.clear()
    child(app, "compareSteering").click()
    qtbot.waitUntil(lambda: not app.models.side_by_side.running)
    assert child(app, "withWithoutView").isVisible()
    without, steered = fake_session.of(GenerateRequest)[before:]
    assert without.controls.attention == ()
    assert len(steered.controls.attention) == 1
    assert without.controls.seed == steered.controls.seed
    assert [side.text for side in app.models.side_by_side.sides] == ["It is short", "It is long"]
    first, second = fake_session.of(ScoreRequest)[-2:]
    assert (len(first.attention), len(second.attention)) == (1, 0)


def test_leaving_out_unsure_words_can_be_compared_without_any_span(app: App) -> None:
    app.widgets.inspector.show_panel("steer")
    assert not child(app, "compareSteering").isVisible()
    child(app, "steerUnsure").setChecked(True)
    assert app.models.controls.controls.steering.entropy_threshold == 3.0
    assert child(app, "compareSteering").isVisible()
    child(app, "steerUnsure").setChecked(False)
    assert not child(app, "compareSteering").isVisible()


def test_related_words_are_shown_before_they_act(app: App, fake_session: Any, qtbot: Any) -> None:
    def related(request: RelatedTokensRequest, handle: RunHandle) -> Iterator[Event]:
        assert request.steering.similarity_threshold == 0.6
        token = RelatedToken(index=9, of=2, text=" river", start=24, end=30, cosine=0.7, factor=0.3)
        yield RelatedTokens(run_id=request.run_id, tokens=(token,))

    fake_session.script[RelatedTokensRequest] = related
    steer(app, "Nile", 0.0)
    child(app, "steerRelated").setChecked(True)
    qtbot.waitUntil(lambda: "river × 0.30 (cosine 0.70)" in child(app, "relatedWords").text())
    app.models.steering.set_spans(())
    assert app.models.steering.related == ()


def test_tokens_that_have_no_counterpart_are_told() -> None:
    assert differing([1, 2, 3, 4], [1, 9, 3, 4, 5]) == ({1}, {1, 4})


# --- the Lens tab


def test_the_lens_shows_rows_of_layers(app: App, fake_session: Any, qtbot: Any) -> None:
    def lens(request: LensRequest, handle: RunHandle) -> Iterator[Event]:
        yield LensStarted(run_id=request.run_id, positions=(0, 1), tokens=("It", " is"), layers=(0, 1))
        for layer in (1, 0):
            yield LensRow(
                run_id=request.run_id, layer=layer, top_ids=(1, 2), top_texts=(" is", "."),
                top_probs=(0.75, 0.5), ranks=(3, 0), followed_probs=(0.125, 0.0), entropies=(1.0, 2.0),
            )  # fmt: skip

    fake_session.script[LensRequest] = lens
    app.widgets.inspector.show_panel("lens")
    child(app, "lookNow").click()
    qtbot.waitUntil(lambda: app.models.lens.state == "result")
    words = app.models.lens.words(1, 0)
    assert "0.7500" in words
    assert "rank 3, 0.125" in words
    assert child(app, "lensView").isVisible()


def lens_over_the_reply(app: App, fake_session: Any, qtbot: Any, before: int = 20) -> int:
    """Look at ``before`` tokens of the prompt and all of the reply; returns how many the reply has."""
    reply = app.models.transcript.last_reply
    own = len([token for token in reply.track.tokens if not token.special])
    tokens = tuple(f"t{number}" for number in range(before + own))

    def lens(request: LensRequest, handle: RunHandle) -> Iterator[Event]:
        assert len(request.reply_ids) == own
        yield LensStarted(
            run_id=request.run_id, positions=tuple(range(len(tokens))), tokens=tokens, layers=(0,)
        )
        many = len(tokens)
        yield LensRow(
            run_id=request.run_id, layer=0, top_ids=(1,) * many, top_texts=("x",) * many,
            top_probs=(0.5,) * many, ranks=(7,) * many, followed_probs=(0.1,) * many,
            entropies=(1.0,) * many,
        )  # fmt: skip

    fake_session.script[LensRequest] = lens
    app.widgets.inspector.show_panel("lens")
    child(app, "lookNow").click()
    qtbot.waitUntil(lambda: app.models.lens.state == "result")
    return own


def test_the_lens_follows_the_focus_and_a_click_in_it_moves_the_focus(
    app: App, fake_session: Any, qtbot: Any
) -> None:
    own = lens_over_the_reply(app, fake_session, qtbot)
    reply = app.models.transcript.last_reply
    app.models.focus.set_focus(TokenSpan(reply.id, own - 1, own))
    assert app.models.lens.focused == 20 + own - 1
    assert app.models.lens.deciding == 20 + own - 2, "a token is decided one position before its own"
    grid = child(app, "lensView")
    qtbot.waitUntil(lambda: grid.horizontalScrollBar().maximum() > 0)
    grid.horizontalScrollBar().setValue(18 * 60)
    at = grid.cell_rect(0, 19).center().toPoint()
    qtbot.mouseClick(grid.viewport(), Qt.MouseButton.LeftButton, pos=at)
    assert app.models.focus.focus == TokenSpan(reply.id, 0, 1)
    app.models.focus.clear()
    assert app.models.lens.deciding is None


def test_the_rank_of_a_chosen_token_is_followed_everywhere(app: App, fake_session: Any, qtbot: Any) -> None:
    lens_over_the_reply(app, fake_session, qtbot)
    follow = child(app, "lensFollow")
    assert not follow.isEnabled(), "no token is in focus"
    reply = app.models.transcript.last_reply
    app.models.focus.set_focus(TokenSpan(reply.id, 0, 1))
    follow.click()
    qtbot.waitUntil(lambda: app.models.lens.state == "result")
    token = reply.track[0]
    assert fake_session.of(LensRequest)[-1].token_id == token.id
    assert repr(token.text) + ": rank 7" in app.models.lens.words(0, 0)
    app.models.focus.set_candidate(1)
    follow.click()
    qtbot.waitUntil(lambda: app.models.lens.state == "result")
    assert fake_session.of(LensRequest)[-1].token_id is None
    follow.click()
    qtbot.waitUntil(lambda: app.models.lens.state == "result")
    assert fake_session.of(LensRequest)[-1].token_id == token.candidates[1].id


def test_a_head_is_shown_with_its_exact_weights(app: App, fake_session: Any, qtbot: Any) -> None:
    def attention(request: AttentionRequest, handle: RunHandle) -> Iterator[Event]:
        heads = request.heads or (0, 1)
        yield AttentionStarted(run_id=request.run_id, tokens=("It", " is"), layers=(1,), heads=heads)
        for head in heads:
            weights = struct.pack("<4e", 1.0, 0.0, 0.25, 0.75)
            yield AttentionMap(
                run_id=request.run_id, layer=1, head=head, first=0, rows=2, columns=2, weights=weights
            )

    fake_session.script[AttentionRequest] = attention
    app.widgets.inspector.show_panel("lens")
    app.widgets.lens.layer_requested.emit(1)
    qtbot.waitUntil(lambda: app.models.attention.state == "result")
    assert sorted(app.models.attention.thumbnails) == [0, 1]
    app.widgets.lens.head_requested.emit(1)
    qtbot.waitUntil(lambda: app.models.attention.state == "result")
    assert app.models.attention.words(1, 0) == "' is' looks at 'It': 0.2500"
    assert fake_session.of(AttentionRequest)[-1].heads == (1,)
    app.widgets.lens.looks.buttons[1].click()
    arrows = child(app, "attentionArrows")
    qtbot.waitUntil(lambda: arrows.isVisible() and arrows.height() > 10)
    qtbot.mouseMove(arrows.viewport(), arrows.box(1).center().toPoint())
    assert arrows.targets() == [(1, 0.75), (0, 0.25)]
    assert "' is' looks at ' is' 0.75, 'It' 0.25" in arrows.accessibleDescription()
    qtbot.mouseMove(arrows.viewport(), arrows.box(0).center().toPoint())
    assert arrows.targets() == [(0, 1.0)], "nothing after a token is looked at"
