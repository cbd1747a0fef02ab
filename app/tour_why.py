"""The tour's stops in the Why, Lens and Steer tabs."""

from __future__ import annotations

from app.tour import Step, Visit
from inference.events import SamplingControls
from views.models.focus import TokenSpan
from views.models.steering import RAW
from views.models.text_range import TextRange
from views.models.transcript import ShownMessage


def why(visit: Visit) -> None:
    """An example is answered and explained; its strongest part is chosen; the explanation is exported."""
    app = visit.app
    model, inspector = app.models.explanation, app.widgets.inspector
    app.widgets.window.action("newChat").trigger()
    app.models.controls.set_controls(SamplingControls(temperature=0.0, max_new_tokens=30))
    inspector.show_panel("why")
    visit.wait(lambda: bool(model.methods), "the methods", 30)
    visit.shoot("empty")
    visit.find("whyExample").click()  # type: ignore[attr-defined]
    visit.wait(lambda: model.state == "result" and not app.generation.running, "the explanation", 60)
    result = model.result
    assert result is not None
    visit.check(result.complete, "every score was computed")
    strongest = result.ranking()[0]
    model.choose(strongest)
    visit.note(
        method=model.shown,
        target=result.target_text,
        parts=len(result.segments),
        strongest=result.segments[strongest].text,
        score=round(result.value(strongest) or 0.0, 4),
        forward_passes=result.final.forward_passes if result.final is not None else None,
        seconds=round(result.final.seconds, 3) if result.final is not None else None,
    )
    names = "importancePanel explanationView explanationHeatmap methodPicker granularityPicker explainButton"
    for name in names.split():
        visit.check(visit.find(name).isVisible(), f"{name} is shown")
    visit.shoot()
    for kind in ("png", "csv", "json"):
        path = visit.folder / f"explanation.{kind}"
        visit.check(app.shell.write_explanation(kind, path), f"{path.name} is written")


def compare_methods(visit: Visit) -> None:
    """All methods on the same target, with their deletion curves."""
    app = visit.app
    app.explaining.compare()
    visit.wait(lambda: not app.models.explanation.busy, "the comparison", 180)
    compared = app.models.explanation.compared
    visit.check(compared is not None, "the methods are compared")
    assert compared is not None
    visit.note(areas={curve.method: round(curve.area, 4) for curve in compared.curves})
    bar = app.widgets.why.verticalScrollBar()
    bar.setValue(bar.maximum())
    visit.shoot()
    bar.setValue(0)


def steer(visit: Visit) -> None:
    """The words that carried the answer are turned down: another answer is written."""
    app = visit.app
    before = _reply(visit).text
    question = app.models.transcript.messages[0]
    result = app.models.explanation.result
    assert result is not None
    words = result.target_text.strip()
    at = question.text.find(words)
    if at < 0:
        at, words = 0, question.text.split()[0]
    app.widgets.intents.text_selected.emit(TextRange(question.id, at, at + len(words)))
    app.widgets.inspector.show_panel("steer")
    visit.find("turnDown").click()  # type: ignore[attr-defined]
    visit.find("factorSlider").setValue(0)  # type: ignore[attr-defined]
    visit.check(app.models.controls.controls.attention, "the words are turned down")
    visit.check(visit.find("steeringPanel").isVisible(), "steeringPanel is shown")
    visit.shoot("set")
    visit.find("steerAgain").click()  # type: ignore[attr-defined]
    visit.wait_for_reply()
    visit.check(not _reply(visit).problem, "the reply was written")
    app.widgets.inspector.show_panel("steer")
    visit.note(words=words, before=before, after=_reply(visit).text)
    visit.shoot("after")
    visit.find("compareSteering").click()  # type: ignore[attr-defined]
    both = app.models.side_by_side
    visit.wait(lambda: not both.running, "both replies", 60)
    visit.check(not both.problem, f"both replies were written: {both.problem}")
    visit.check(visit.find("withWithoutView").isVisible(), "withWithoutView is shown")
    visit.shoot("with-and-without")
    app.widgets.compare.close_sheet()
    app.models.steering.set_spans(())


def lens(visit: Visit) -> None:
    """What each layer would say, and where a head looks."""
    app = visit.app
    app.widgets.inspector.show_panel("lens")
    app.looking.look()
    visit.wait(lambda: app.models.lens.state != "working", "the lens", 60)
    visit.check(app.models.lens.state == "result", f"the lens has rows: {app.models.lens.problem}")
    visit.note(layers=len(app.models.lens.rows))
    visit.check(visit.find("lensView").isVisible(), "lensView is shown")
    app.models.focus.set_focus(TokenSpan(_reply(visit).id, 0, 1))
    visit.check(app.models.lens.deciding is not None, "the lens frames where the focused token is decided")
    visit.shoot("layers")
    app.widgets.lens.looks.buttons[1].click()
    app.looking.read_layer(app.models.attention.layer_count // 2)
    visit.wait(lambda: app.models.attention.state != "working", "the heads", 60)
    app.looking.read_head(0)
    visit.wait(lambda: app.models.attention.state != "working", "the matrix", 60)
    visit.check(visit.find("attentionView").isVisible(), "attentionView is shown")
    arrows = app.widgets.lens.arrows
    visit.check(arrows.targets(), "the focused token has arrows")
    visit.shoot("attention")
    bar = app.widgets.lens.verticalScrollBar()
    bar.setValue(bar.maximum())
    visit.shoot("arrows")
    bar.setValue(0)
    app.models.focus.clear()
    app.widgets.lens.looks.buttons[0].click()
    app.widgets.inspector.show_panel("sampling")
    app.widgets.intents.branch_step_requested.emit(_reply(visit).id, -1)


def two_prompts(visit: Visit) -> None:
    """Two versions of a prompt: word diff, both replies, both explanations."""
    app = visit.app
    model, window = app.models.two_prompts, app.widgets.window
    window.show_mode("compare")
    visit.check(visit.find("compareView").isVisible(), "compareView is shown")
    visit.find("compareExample").click()  # type: ignore[attr-defined]
    visit.wait(lambda: model.asked is not None and not model.running, "both replies", 120)
    visit.check(not model.problem, f"both were answered and explained: {model.problem}")
    visit.check(all(each.result is not None for each in model.explanations), "both are explained")
    visit.note(replies=[side.text for side in model.sides], summaries=[side.summary for side in model.sides])
    visit.shoot()
    window.show_mode("chat")


def raw(visit: Visit) -> None:
    """A raw text that ends inside of a word, healed; words of it turned down."""
    app = visit.app
    app.widgets.window.action("newChat").trigger()
    app.widgets.chat.show_view("raw")
    editor = app.widgets.chat.raw.editor
    editor.setPlainText("The old lighthouse stood on the hill. The keeper climbed the stai")
    visit.find("tokenHealing").click()  # type: ignore[attr-defined]
    visit.wait(lambda: app.models.healing.boundary is not None, "the boundary", 30)
    boundary = app.models.healing.boundary
    assert boundary is not None
    visit.note(cut_back=boundary.text, fitting=boundary.fitting, mass=round(boundary.mass, 4))
    app.widgets.intents.text_selected.emit(TextRange(RAW, 8, 18))
    app.models.steering.add_selected(0.1)
    app.widgets.inspector.show_panel("steer")
    visit.shoot()
    visit.find("sendRaw").click()  # type: ignore[attr-defined]
    visit.wait_for_reply()
    visit.note(reply=_reply(visit).text)
    app.widgets.chat.show_view("tokens")
    visit.shoot("tokens")
    app.widgets.chat.show_view("text")
    app.models.healing.switch(False)
    app.models.steering.set_spans(())
    app.widgets.inspector.show_panel("sampling")


def _reply(visit: Visit) -> ShownMessage:
    message = visit.app.models.transcript.last_reply
    if message is None:
        raise AssertionError("there is no reply")
    return message


WHY_STEPS: tuple[Step, ...] = (
    Step("why", "An answer explained: text, heat map, ranking", why),
    Step("methods", "Methods side by side", compare_methods),
    Step("steer", "Words turned down, the answer written anew", steer),
    Step("lens", "The logit lens and attention maps", lens),
    Step("compare", "Two versions of a prompt", two_prompts),
    Step("raw-healing", "A raw text healed at its end and steered", raw),
)
