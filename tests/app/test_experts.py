"""The experts of a mixture in the whole window, with a scripted session."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PySide6.QtCore import QPoint, Qt
from PySide6.QtWidgets import QApplication, QWidget

from app.bootstrap import App, Options
from app.profile import Profile
from inference.events import (
    Event,
    ExpertsChanged,
    ExpertsLayer,
    ExpertsRequest,
    ExpertsStarted,
    GenerateRequest,
    LoadRequest,
    ModelLoaded,
    SetExpertsRequest,
)
from inference.running import RunHandle

TOKENS = ("It", " is", " wet")


def route(request: ExpertsRequest, handle: RunHandle) -> Iterator[Event]:
    """Two layers of four experts; each token goes to two."""
    yield ExpertsStarted(
        run_id=request.run_id, positions=(0, 1, 2), tokens=TOKENS, layers=(1, 3), experts=4, chosen=2
    )
    for layer in (1, 3):
        yield ExpertsLayer(
            run_id=request.run_id,
            layer=layer,
            experts=((layer, 0), (0, 2), (2, layer)),
            weights=((0.75, 0.25), (0.6, 0.4), (0.5, 0.5)),
            entropies=(0.5, 1.0, 1.25),
            load=(2 / 6, 1 / 6, 2 / 6, 1 / 6),
        )
    if request.off:
        yield ExpertsChanged(
            run_id=request.run_id,
            off=request.off,
            divergences=(0.0, 0.5, 0.25),
            before=(-1.0, -1.0, 0.0),
            after=(-1.0, -2.0, 0.0),
            top_before=(" is", " wet", "."),
            top_after=(" is", " dry", "."),
        )


@pytest.fixture
def app(fake_session: Any, qapp: QApplication, qtbot: Any, tmp_path: Path) -> Iterator[App]:
    """The window on a mixture of four experts, with a reply."""
    plain = fake_session._plain

    def load(request: LoadRequest, handle: RunHandle) -> Iterator[Event]:
        for event in plain(request, handle):
            is_loaded = isinstance(event, ModelLoaded)
            yield (
                replace(event, info=replace(event.info, experts=4, active_experts=2)) if is_loaded else event
            )

    fake_session.script[LoadRequest] = load
    fake_session.script[ExpertsRequest] = route
    profile = Profile.under(tmp_path / "p")
    app = App(
        qapp,
        Options(profile=profile, make_engine=lambda: fake_session, make_librarian=lambda: fake_session),
    )
    app.show()
    qtbot.waitUntil(lambda: app.models.models.loaded is not None)
    app.widgets.intents.send_requested.emit("Is it wet?")
    qtbot.waitUntil(lambda: bool(app.models.transcript.messages) and not app.generation.running)
    app.widgets.inspector.show_panel("lens")
    app.widgets.lens.looks.buttons[2].click()
    yield app
    app.widgets.window.close()
    app.theme.deleteLater()
    app.widgets.window.deleteLater()


def look(app: App, qtbot: Any) -> None:
    """Press the button of the empty page."""
    child(app, "expertsNow").click()
    qtbot.waitUntil(lambda: app.models.experts.state == "result")


def child(app: App, name: str) -> Any:
    found = app.widgets.window.findChild(QWidget, name)
    assert found is not None, name
    return found


def test_layers_and_tokens_tell_their_experts(app: App, qtbot: Any) -> None:
    assert not child(app, "expertsView").isVisible()
    look(app, qtbot)
    model = app.models.experts
    assert child(app, "expertsView").isVisible()
    assert model.layers == [3, 1]
    assert model.words(1, 0) == "layer 1, 'It'\nexpert 1: 0.750\nexpert 0: 0.250\n" + (
        "router's entropy 0.500 of 1.386 nats"
    )
    assert model.load_words(3, 0) == "expert 0: 33.3% of the choices (evenly 25.0%)"
    assert model.share(1, 0) == pytest.approx(0.75)
    model.set_measure("entropy")
    assert model.share(1, 0) == pytest.approx(0.5 / 1.3863, rel=1e-3)


def test_a_click_chooses_a_layer_and_its_expert(app: App, qtbot: Any) -> None:
    look(app, qtbot)
    grid = child(app, "expertsView")
    qtbot.waitUntil(lambda: grid.cell_at(grid.cell_rect(1, 0).center().toPoint()) == (1, 0))
    qtbot.mouseClick(grid.viewport(), Qt.MouseButton.LeftButton, pos=grid.cell_rect(1, 0).center().toPoint())
    assert (app.models.experts.layer, app.models.experts.expert) == (1, 1)
    load = child(app, "expertsLoad")
    qtbot.mouseClick(load, Qt.MouseButton.LeftButton, pos=QPoint(round(load.width() * 0.6), 10))
    assert app.models.experts.expert == 2


def test_experts_that_are_off_can_be_left_out_of_replies_too(app: App, fake_session: Any, qtbot: Any) -> None:
    fake_session.script[SetExpertsRequest] = lambda request, handle: iter(())
    look(app, qtbot)
    app.models.experts.choose(3, 2)
    child(app, "switchExpert").click()
    qtbot.waitUntil(lambda: app.models.experts.changes is not None)
    app.widgets.intents.send_requested.emit("And now?")
    qtbot.waitUntil(lambda: len(fake_session.of(GenerateRequest)) == 2 and not app.generation.running)
    assert fake_session.of(GenerateRequest)[-1].controls.experts_off == ()
    look_again = app.models.experts
    look_again.switch(3, 2, False)
    child(app, "expertsInReplies").setChecked(True)
    qtbot.waitUntil(lambda: [one.off for one in fake_session.of(SetExpertsRequest)][-1:] == [((3, 2),)])
    app.widgets.intents.send_requested.emit("And without it?")
    qtbot.waitUntil(lambda: len(fake_session.of(GenerateRequest)) == 3 and not app.generation.running)
    assert fake_session.of(GenerateRequest)[-1].controls.experts_off == ((3, 2),)
    assert app.models.experts.off == ((3, 2),)


def test_an_expert_is_switched_off_and_on_again(app: App, fake_session: Any, qtbot: Any) -> None:
    look(app, qtbot)
    assert not child(app, "switchExpert").isEnabled()
    app.models.experts.choose(3, 2)
    child(app, "switchExpert").click()
    qtbot.waitUntil(lambda: app.models.experts.changes is not None)
    assert fake_session.of(ExpertsRequest)[-1].off == ((3, 2),)
    assert child(app, "expertsChange").text() == (
        "Without expert 2 of layer 3: +0.500 nats of surprisal a token, another likeliest token at 1 of 3 "
        "places. Most changed behind ' is': ' wet' becomes ' dry' (0.500 nats)."
    )
    qtbot.waitUntil(lambda: app.models.experts.state == "result")
    child(app, "allExpertsOn").click()
    qtbot.waitUntil(lambda: app.models.experts.changes is None and app.models.experts.state == "result")
    assert fake_session.of(ExpertsRequest)[-1].off == ()
    assert not child(app, "expertsChange").isVisible()


def test_the_panels_fit_into_the_inspector_beside_their_scroll_bar(app: App) -> None:
    page = app.widgets.steering
    room = 372 - page.verticalScrollBar().sizeHint().width()  # the inspector's width at a first start
    body = page.widget()
    assert body is not None
    assert body.minimumSizeHint().width() <= room
