"""The stops of the tour, in order. A new panel adds its own stop here."""

from __future__ import annotations

import math
from dataclasses import replace

import psutil
from PySide6.QtCore import QPoint, Qt
from PySide6.QtTest import QTest

from app.tour import Step, Visit
from app.tour_documents import ask, documents
from app.tour_why import WHY_STEPS
from inference.events import SamplingControls, Token
from views.models.focus import TokenSpan
from views.models.model_choice import LoadChoice
from views.models.transcript import ShownMessage

_QUESTION = "Write a fable about a fox and a crow."
#: What a small model starts with (the preset "Small model"), and a fixed draw.
_CONTROLS = SamplingControls(frequency_penalty=0.3, seed=5, max_new_tokens=160)


def first_start(visit: Visit) -> None:
    """The window is there before the model."""
    painted: list[float] = []
    visit.app.painted.connect(lambda: painted.append(1.0))
    visit.app.show()
    visit.wait(lambda: painted, "the painted window", 10)
    visit.shoot()


def load(visit: Visit) -> None:
    """The built-in model is loaded behind the window."""
    visit.wait_for_model()
    loaded = visit.app.models.models.loaded
    assert loaded is not None
    visit.note(
        model=loaded.info.name,
        parameters=loaded.info.parameters,
        load_seconds=round(loaded.seconds, 3),
        weights=loaded.memory.weights,
        process_memory=psutil.Process().memory_info().rss,
    )
    visit.shoot()


def chat(visit: Visit) -> None:
    """A question is typed and sent, the answer streams, and the temperature is moved in its middle."""
    visit.app.models.controls.set_controls(_CONTROLS)
    composer = visit.find("composer")
    QTest.keyClicks(composer, _QUESTION)
    click(visit, "sendButton")
    visit.wait(lambda: len(reply(visit).track) >= 20, "twenty tokens")
    visit.shoot("streaming")
    visit.app.models.controls.set_value("temperature", 1.0)
    at = len(reply(visit).track)
    visit.wait(lambda: bool(reply(visit).marks), "the mark of the change")
    visit.wait_for_reply()
    mark = reply(visit).marks[0]
    visit.check("temperature 0.7 → 1" in mark.text, "the mark names the change")
    stats = reply(visit).stats
    assert stats is not None
    visit.note(
        new_tokens=stats.new_tokens,
        tokens_per_second=round(stats.tokens_per_second, 1),
        tokens_shown_when_moved=at,
        mark_at_token=mark.token_index,
    )
    visit.shoot("finished")


def tokens(visit: Visit) -> None:
    """The reply as tokens; one of them in focus, with its candidates."""
    visit.app.widgets.chat.show_view("tokens")
    number = undecided(reply(visit))
    token = reply(visit).track[number]
    visit.app.models.focus.set_focus(TokenSpan(reply(visit).id, number, number + 1))
    visit.check(visit.app.models.candidates.rowCount() >= 2, "the token has candidates")
    total = sum(c.sampled_prob or 0.0 for c in token.candidates)
    visit.note(token=token.text, candidates=len(token.candidates), sampled_mass=round(total, 4))
    visit.shoot()


def branch(visit: Visit) -> None:
    """The reply is branched from the second candidate of a token."""
    before = reply(visit)
    number = undecided(before)
    place = before.track[number]
    ranked = sorted(place.candidates, key=lambda c: -c.logprob)
    row = next(row for row, candidate in enumerate(ranked) if candidate.id != place.id)
    visit.app.models.controls.set_controls(replace(_CONTROLS, max_new_tokens=60))
    visit.app.widgets.intents.candidate_requested.emit(before.id, number, row)
    visit.check(reply(visit).id != before.id, "another reply is shown")
    visit.wait_for_reply()
    kept = "".join(token.text for token in before.track.tokens[:number])
    visit.check(reply(visit).text.startswith(kept + ranked[row].text), "the branch begins as chosen")
    visit.check(reply(visit).branch_count == 2, "there are two branches")
    visit.app.widgets.chat.show_view("text")
    visit.shoot()
    visit.app.widgets.intents.branch_step_requested.emit(reply(visit).id, -1)
    visit.check(reply(visit).id == before.id, "the first branch is back")


def edit(visit: Visit) -> None:
    """The question is edited, which makes a branch; the answer is stopped and continued."""
    question = visit.app.models.transcript.messages[0]
    visit.app.models.controls.set_controls(SamplingControls(temperature=0.0, max_new_tokens=120))
    visit.app.widgets.intents.edit_requested.emit(question.id, "Tell a story about a small boat.")
    visit.wait(lambda: len(reply(visit).track) >= 10, "ten tokens")
    click(visit, "stopButton")
    visit.wait_for_reply()
    stopped = reply(visit).text
    visit.check(reply(visit).state == "stopped", "the reply is stopped")
    visit.app.models.controls.set_value("max_new_tokens", 30)
    visit.app.widgets.intents.continue_requested.emit(reply(visit).id)
    visit.wait_for_reply()
    visit.check(reply(visit).text.startswith(stopped), "the reply goes on where it was stopped")
    visit.check(visit.app.models.transcript.messages[0].branch_count == 2, "the question has two branches")
    visit.shoot()


def raw(visit: Visit) -> None:
    """The exact text of the prompt."""
    visit.app.widgets.chat.show_view("raw")
    visit.wait(lambda: bool(visit.app.widgets.chat.raw.text()), "the raw text")
    visit.check("small boat" in visit.app.widgets.chat.raw.text(), "the raw text holds the question")
    visit.shoot()
    visit.app.widgets.chat.show_view("text")


def monitor(visit: Visit) -> None:
    """The monitor with its plots and the list of runs."""
    visit.app.widgets.window.monitor_dock.show()
    visit.wait(lambda: len(visit.app.models.monitor.samples) >= 4, "four samples", 10)
    latest = visit.app.models.monitor.latest
    assert latest is not None
    visit.note(process_memory=latest.process_memory, runs=len(visit.app.models.runs.records))
    visit.check(visit.app.monitor.export_csv(visit.folder / "runs.csv"), "the runs are exported")
    visit.shoot()
    visit.app.widgets.window.monitor_dock.hide()


def models(visit: Visit) -> None:
    """The model picker: what loading would take, and a folder that is no model."""
    app = visit.app
    app.widgets.window.action("openModel").trigger()
    visit.wait(lambda: app.models.models.row_of("builtin") >= 0, "the list of models", 30)
    visit.wait(lambda: app.models.models.inspection is not None, "the description of the model", 30)
    inspection, loaded = app.models.models.inspection, app.models.models.loaded
    assert inspection is not None
    assert loaded is not None
    visit.note(
        estimated_weights=inspection.estimate.weights,
        measured_weights=loaded.memory.weights,
        estimate_total=inspection.estimate.total,
        free=inspection.estimate.free,
    )
    visit.shoot()
    folder = visit.folder / "no-model"
    folder.mkdir(exist_ok=True)
    app.widgets.intents.paths_dropped.emit([str(folder)])
    visit.wait(lambda: app.models.models.inspection_fault is not None, "the refusal of an empty folder", 30)
    visit.shoot("refused")
    app.widgets.picker.close_sheet()
    folder.rmdir()


def pages(visit: Visit) -> None:
    """Settings and keyboard shortcuts."""
    for action, sheet in (
        ("openSettings", visit.app.widgets.settings),
        ("showShortcuts", visit.app.widgets.shortcuts),
    ):
        visit.app.widgets.window.action(action).trigger()
        visit.check(sheet.isVisible(), f"{action} opens its page")
        visit.shoot(sheet.objectName())
        sheet.close_sheet()


def problem(visit: Visit) -> None:
    """A load that fails: what happened, what to do, details to copy; the model that works stays."""
    app = visit.app
    folder = visit.folder / "no-model"
    folder.mkdir(exist_ok=True)
    visit.expect_fault()
    app.model_loads.load(LoadChoice(model=str(folder)))
    visit.wait(lambda: app.models.models.loading is None, "the refusal", 30)
    visit.check(app.models.faults.latest is not None, "the failure is shown")
    visit.check(app.models.models.loaded is not None, "the model that works is kept")
    visit.shoot("banner")
    app.widgets.window.action("showFaults").trigger()
    visit.shoot("list")
    app.widgets.faults.close_sheet()
    app.models.faults.dismiss()
    folder.rmdir()


def conversations(visit: Visit) -> None:
    """A second conversation, a search, and both exports."""
    app = visit.app
    first = app.chat.conversation
    assert first is not None
    app.widgets.window.action("newChat").trigger()
    app.models.controls.set_controls(SamplingControls(temperature=0.0, max_new_tokens=20))
    app.widgets.intents.send_requested.emit("What is a harbour?")
    visit.wait_for_reply()
    search = app.widgets.conversations.search
    QTest.keyClicks(search, "boat")
    visit.wait(lambda: app.models.conversations.row_of(first) >= 0, "the hit of the search", 5)
    visit.shoot()
    search.clear()
    app.chat.open(first)
    for kind, name in (("markdown", "conversation.md"), ("json", "conversation.json")):
        visit.check(app.conversations.export(first, kind, visit.folder / name), f"{name} is written")


def dark(visit: Visit) -> None:
    """The dark theme: chat and tokens."""
    visit.app.models.settings.update(theme="dark")
    visit.check(visit.app.theme.dark, "the dark colours hold")
    visit.shoot("chat")
    visit.app.widgets.chat.show_view("tokens")
    visit.wait(lambda: len(reply(visit).track) > 0, "the tokens of the reply", 10)
    number = undecided(reply(visit))
    visit.app.models.focus.set_focus(TokenSpan(reply(visit).id, number, number + 1))
    visit.shoot("tokens")
    visit.app.widgets.chat.show_view("text")
    visit.app.models.settings.update(theme="light")


def small(visit: Visit) -> None:
    """A small window."""
    window = visit.app.widgets.window
    size = window.size()
    window.resize(window.minimumSize())
    visit.shoot()
    window.resize(size)


def unload(visit: Visit) -> None:
    """Unloading gives the memory back."""
    before = psutil.Process().memory_info().rss
    visit.app.widgets.window.action("unloadModel").trigger()
    visit.wait(lambda: visit.app.models.models.loaded is None, "the end of the model", 10)
    visit.nap(0.5)
    after = psutil.Process().memory_info().rss
    visit.note(before=before, after=after, freed=before - after)
    visit.shoot()


def reply(visit: Visit) -> ShownMessage:
    """The last reply."""
    message = visit.app.models.transcript.last_reply
    if message is None:
        raise AssertionError("there is no reply")
    return message


def undecided(message: ShownMessage) -> int:
    """The token, not among the first, at which the model was least sure between candidates with a text."""

    def entropy(number: int) -> float:
        token = message.track[number]
        plain = isinstance(token, Token) and not token.special and token.text.strip()
        rivals = [c for c in token.candidates if c.id != token.id and c.text.strip()]
        return token.entropy if plain and rivals and token.entropy is not None else -math.inf

    return max(range(3, min(len(message.track), 60)), key=entropy)


def click(visit: Visit, name: str) -> None:
    """Press a button as a user does."""
    button = visit.find(name)
    visit.check(button.isVisible() and button.isEnabled(), f"{name} can be pressed")
    QTest.mouseClick(
        button, Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier, QPoint(button.rect().center())
    )


STEPS: tuple[Step, ...] = (
    Step("first-start", "The window is there before the model", first_start),
    Step("load", "The built-in model is loaded", load),
    Step("chat", "A question, a streaming answer, the temperature moved in its middle", chat),
    Step("tokens", "The answer as tokens, one of them with its candidates", tokens),
    Step("branch", "The answer branched from a candidate", branch),
    Step("edit", "The question edited, the answer stopped and continued", edit),
    Step("raw", "The exact text of the prompt", raw),
    Step("monitor", "The monitor and the list of runs", monitor),
    Step("models", "The model picker and its estimate", models),
    Step("pages", "Settings and shortcuts", pages),
    Step("problem", "A load that fails", problem),
    Step("conversations", "Search and export", conversations),
    *WHY_STEPS,
    Step("documents", "A document dropped, read and searched", documents),
    Step("ask", "Questions to the document, a citation opened", ask),
    Step("dark", "The dark theme", dark),
    Step("small", "A small window", small),
    Step("unload", "The model is unloaded", unload),
)
