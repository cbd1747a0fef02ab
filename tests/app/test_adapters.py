"""Adapters in the whole window, with a scripted session: dropped, offered, switched in mid-reply."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QApplication, QWidget

from app.bootstrap import App, Options
from app.exporting import to_json_text
from app.profile import Profile
from inference.errors import ModelUnsupported
from inference.events import (
    AdapterInfo,
    AdapterInspected,
    AdapterScale,
    AdaptersChanged,
    AdaptersCompared,
    AttachAdapterRequest,
    CompareAdaptersRequest,
    ComparedCandidate,
    ComparedToken,
    DetachAdapterRequest,
    Event,
    GenerateRequest,
    InspectAdapterRequest,
    LoadRequest,
    SetAdaptersRequest,
    Started,
)
from inference.running import RunHandle

BASES = {"pirate": "builtin", "doctor": "someone/other-model", "lawyer": "someone/unheard-of"}


def info(source: str) -> AdapterInfo:
    name = Path(source).name
    return AdapterInfo(
        source=source,
        name=name,
        base=BASES[name],
        rank=8,
        alpha=16,
        modules=24,
        targets=("q_proj", "v_proj"),
        parameters=225_000,
        memory=900_000,
    )


@pytest.fixture
def engine(fake_session: Any) -> Any:
    """A session that keeps adapters as the engine does."""
    attached: dict[str, AdapterInfo] = {}

    def inspect(request: InspectAdapterRequest, handle: RunHandle) -> Iterator[Event]:
        found = info(request.adapter)
        here = {"builtin": "builtin", "someone/other-model": "someone/other-model"}.get(found.base, "")
        yield AdapterInspected(run_id=request.run_id, info=found, base_source=here)

    def attach(request: AttachAdapterRequest, handle: RunHandle) -> Iterator[Event]:
        found = info(request.adapter)
        if found.name == "lawyer":
            raise ModelUnsupported(
                "The adapter was made for another model.", hint="Load its base model first."
            )
        attached[found.name] = found
        yield AdaptersChanged(
            run_id=request.run_id, attached=tuple(attached.values()), active=(AdapterScale(name=found.name),)
        )

    def detach(request: DetachAdapterRequest, handle: RunHandle) -> Iterator[Event]:
        del attached[request.name]
        yield AdaptersChanged(run_id=request.run_id, attached=tuple(attached.values()), active=())

    def compare(request: CompareAdaptersRequest, handle: RunHandle) -> Iterator[Event]:
        rows = (ComparedCandidate(id=1, text=" arr", base=-3.0, adapted=-0.1),)
        yield AdaptersCompared(
            run_id=request.run_id,
            adapters=request.adapters or (),
            tokens=(
                ComparedToken(index=4, id=5, text="It", base=-2.0, adapted=-0.5, candidates=rows),
                ComparedToken(index=5, id=6, text=" is", base=-1.0, adapted=-1.5, candidates=rows),
            ),
            following=rows,
            divergence=0.25,
        )

    def generate(request: GenerateRequest, handle: RunHandle) -> Iterator[Event]:
        from dataclasses import replace

        for event in plain(request, handle):
            on = handle.controls.adapters or ()
            yield replace(event, adapters=on) if isinstance(event, Started) else event

    plain = fake_session._plain
    fake_session.script |= {
        InspectAdapterRequest: inspect,
        AttachAdapterRequest: attach,
        DetachAdapterRequest: detach,
        CompareAdaptersRequest: compare,
        SetAdaptersRequest: lambda request, handle: iter(()),
        GenerateRequest: generate,
    }
    return fake_session


@pytest.fixture
def folders(tmp_path: Path) -> dict[str, str]:
    """Adapters' folders, as far as the window looks into them."""
    for name in BASES:
        (tmp_path / name).mkdir()
        (tmp_path / name / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA"}))
    return {name: str(tmp_path / name) for name in BASES}


@pytest.fixture
def app(engine: Any, qapp: QApplication, qtbot: Any, tmp_path: Path) -> Iterator[App]:
    app = App(
        qapp,
        Options(
            profile=Profile.under(tmp_path / "p"), make_engine=lambda: engine, make_librarian=lambda: engine
        ),
    )
    app.show()
    qtbot.waitUntil(lambda: app.models.models.loaded is not None)
    yield app
    app.widgets.window.close()
    app.theme.deleteLater()
    app.widgets.window.deleteLater()


def child(app: App, name: str) -> Any:
    found = app.widgets.window.findChild(QWidget, name)
    assert found is not None, name
    return found


def drop(app: App, *paths: str) -> None:
    app.widgets.intents.paths_dropped.emit(list(paths))


def test_an_adapter_of_the_loaded_model_is_put_on_at_once(
    app: App, folders: dict[str, str], qtbot: Any
) -> None:
    drop(app, folders["pirate"])
    qtbot.waitUntil(lambda: bool(app.models.adapters.rows))
    assert app.widgets.inspector.current == "steer"
    assert child(app, "adapterSwitch").isChecked()
    assert app.models.adapters.active == (AdapterScale(name="pirate"),)
    assert not child(app, "adapterWords").isVisible()


def test_the_base_model_is_offered_and_loaded_before(
    app: App, folders: dict[str, str], engine: Any, qtbot: Any
) -> None:
    drop(app, folders["doctor"])
    qtbot.waitUntil(lambda: app.models.adapters.offer is not None)
    assert "someone/other-model, which is not loaded" in child(app, "adapterWords").text()
    assert not engine.of(AttachAdapterRequest)
    child(app, "loadAdapterBase").click()
    qtbot.waitUntil(lambda: bool(app.models.adapters.rows))
    assert engine.of(LoadRequest)[-1].model == "someone/other-model"


def test_an_adapter_whose_base_is_not_here_can_be_tried_and_says_why_not(
    app: App, folders: dict[str, str], qtbot: Any
) -> None:
    drop(app, folders["lawyer"])
    qtbot.waitUntil(lambda: app.models.adapters.offer is not None)
    assert "not on this computer" in child(app, "adapterWords").text()
    assert not child(app, "loadAdapterBase").isVisible()
    child(app, "attachAnyway").click()
    qtbot.waitUntil(lambda: "another model" in app.models.adapters.problem)
    assert child(app, "adapterWords").text().endswith("Load its base model first.")


def test_a_switch_reaches_the_reply_that_is_being_written(
    app: App, folders: dict[str, str], engine: Any, qtbot: Any
) -> None:
    drop(app, folders["pirate"])
    qtbot.waitUntil(lambda: bool(app.models.adapters.rows))
    engine.stepwise = True
    app.widgets.intents.send_requested.emit("Who?")
    engine.step(1)
    qtbot.waitUntil(lambda: any(writer.new_tokens for _, writer in app.generation._writers.values()))
    ((_, writer),) = app.generation._writers.values()
    assert writer.handle is not None
    assert writer.handle.controls.adapters == (AdapterScale(name="pirate"),)
    child(app, "adapterScale").setValue(0.5)
    assert writer.handle.controls.adapters == (AdapterScale(name="pirate", scale=0.5),)
    child(app, "adapterSwitch").click()
    assert writer.handle.controls.adapters == ()
    engine.step(10)
    qtbot.waitUntil(lambda: not app.generation.running)
    conversation = app.chat.conversation
    assert conversation is not None
    exported = json.loads(to_json_text(app.history, conversation))
    changes = exported["messages"][-1]["controls_changed"]
    assert changes[0] == {"index": 0, "changes": [["adapters", "none", "pirate"]]}
    qtbot.waitUntil(lambda: engine.of(SetAdaptersRequest)[-1].adapters == ())


def test_taken_off_it_is_off_and_gone(app: App, folders: dict[str, str], engine: Any, qtbot: Any) -> None:
    drop(app, folders["pirate"])
    qtbot.waitUntil(lambda: bool(app.models.adapters.rows))
    child(app, "removeAdapter").click()
    qtbot.waitUntil(lambda: not app.models.adapters.rows)
    assert not child(app, "compareAdapters").isVisible()


def test_both_readings_side_by_side(app: App, folders: dict[str, str], engine: Any, qtbot: Any) -> None:
    drop(app, folders["pirate"])
    qtbot.waitUntil(lambda: bool(app.models.adapters.rows))
    app.widgets.intents.send_requested.emit("Who?")
    qtbot.waitUntil(lambda: bool(app.models.transcript.messages) and not app.generation.running)
    child(app, "compareAdapters").click()
    qtbot.waitUntil(lambda: app.models.adapters.state == "result")
    request = engine.of(CompareAdaptersRequest)[-1]
    assert request.adapters == (AdapterScale(name="pirate"),)
    assert request.messages[-1].content == "Who?"
    assert request.reply_ids or request.reply_text
    reply, words = child(app, "comparedReply"), child(app, "comparedWords")
    assert reply.toPlainText() == "It is"
    assert "1.00 nats likelier with it (+0.50 a token)" in words.text()
    assert child(app, "pairBars").accessibleDescription() == "␣arr: 5.0 % without, 90.5 % with"
    qtbot.keyClick(reply, Qt.Key.Key_Left)
    assert app.models.adapters.token == 1
    assert "' is': 36.8 % without, 22.3 % with (-0.50 nats)" in words.text()
    child(app, "comparedFollowing").click()
    assert app.models.adapters.token is None
