"""Raw mode in the whole window: token healing with its boundary, and steering from the editor's selection."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PySide6.QtGui import QTextCursor
from PySide6.QtWidgets import QApplication, QWidget

from app.bootstrap import App, Options
from app.controllers.beginnings import branch, whole
from app.profile import Profile
from inference.events import (
    AttentionControl,
    BoundaryRequest,
    Candidate,
    Event,
    GenerateRequest,
    HealingBoundary,
    Token,
)
from inference.running import RunHandle
from views.models.steering import RAW
from views.models.text_units import edit_between, to_characters, to_units

TEXT = "Read 🦊 http"


def candidate(number: int, text: str, share: float) -> Candidate:
    return Candidate(id=number, text=text, raw_logprob=-3.0, sampled_prob=share)


def boundary(request: BoundaryRequest, handle: RunHandle) -> Iterator[Event]:
    found = (candidate(7, " https", 0.75), candidate(8, " http", 0.25))
    taken = (" http",) if request.prompt.endswith(" http") else ()
    yield HealingBoundary(
        run_id=request.run_id,
        taken=taken,
        text="".join(taken),
        fitting=2,
        mass=0.04,
        candidates=found if taken else (),
    )


@pytest.fixture
def app(fake_session: Any, qapp: QApplication, qtbot: Any, tmp_path: Path) -> Iterator[App]:
    fake_session.script[BoundaryRequest] = boundary
    options = Options(
        profile=Profile.under(tmp_path / "p"),
        make_engine=lambda: fake_session,
        make_librarian=lambda: fake_session,
    )
    app = App(qapp, options)
    app.show()
    qtbot.waitUntil(lambda: app.models.models.loaded is not None)
    app.widgets.chat.show_view("raw")
    app.widgets.chat.raw.editor.setPlainText(TEXT)
    yield app
    app.widgets.window.close()
    app.theme.deleteLater()
    app.widgets.window.deleteLater()


def child(app: App, name: str) -> Any:
    found = app.widgets.window.findChild(QWidget, name)
    assert found is not None, name
    return found


def select(app: App, words: str) -> None:
    editor = app.widgets.chat.raw.editor
    text = editor.toPlainText()
    start, end = to_units(text, text.index(words), text.index(words) + len(words))
    cursor = QTextCursor(editor.document())
    cursor.setPosition(start)
    cursor.setPosition(end, QTextCursor.MoveMode.KeepAnchor)
    editor.setTextCursor(cursor)


def send(app: App, qtbot: Any) -> None:
    app.widgets.chat.raw.send()
    qtbot.waitUntil(lambda: bool(app.models.transcript.messages) and not app.generation.running)


# --- token healing


def test_healing_is_off_until_it_is_switched_on_and_then_kept(
    app: App, fake_session: Any, qtbot: Any
) -> None:
    assert not child(app, "healingView").isVisible()
    send(app, qtbot)
    assert not fake_session.of(GenerateRequest)[-1].token_healing
    child(app, "tokenHealing").click()
    send(app, qtbot)
    assert fake_session.of(GenerateRequest)[-1].token_healing
    assert app.models.settings.settings.token_healing
    app.widgets.chat.show_view("text")
    app.chat.new_chat()
    app.widgets.intents.send_requested.emit("A chat?")
    qtbot.waitUntil(lambda: bool(app.models.transcript.messages) and not app.generation.running)
    assert not fake_session.of(GenerateRequest)[-1].token_healing, "a template's end is whole"


def test_the_boundary_shows_what_is_cut_back_and_what_fits(app: App, fake_session: Any, qtbot: Any) -> None:
    child(app, "tokenHealing").click()
    qtbot.waitUntil(lambda: app.models.healing.boundary is not None)
    assert fake_session.of(BoundaryRequest)[-1].prompt == TEXT
    words = child(app, "healingWords").text()
    assert "“ http” is cut back" in words
    assert "2 tokens fit" in words
    assert "4.0%" in words
    chips = child(app, "healingCandidates")
    assert chips.isVisible()
    assert "0.7500" in chips.words_at(chips.boxes()[0].center())
    app.widgets.chat.raw.editor.setPlainText("Whole. ")
    qtbot.waitUntil(lambda: "Nothing is cut back" in child(app, "healingWords").text())
    assert not chips.isVisible()
    app.widgets.chat.raw.editor.setPlainText("")
    assert "no text yet" in child(app, "healingWords").text()


def healed(texts: tuple[str, ...], data: tuple[bytes, ...]) -> list[Token]:
    return [
        Token(
            run_id=1, index=number, id=50 + number, text=text, data=each, special=False,
            raw_logprob=-1.0, sampled_prob=0.5, entropy=1.0, candidates=(), stages=(), at=0.0,
        )
        for number, (text, each) in enumerate(zip(texts, data, strict=True))
    ]  # fmt: skip


def test_tokens_of_a_healed_reply_are_never_put_behind_the_prompt_that_they_overlap() -> None:
    tokens = healed(("s", "://"), (b" https", b"://"))
    assert whole("s://", tokens).ids == ()
    assert whole("s://", tokens).reply_text == "s://"
    assert branch("s://", tokens, 1, candidate(9, "!", 0.1)).reply_text == "s!"
    assert branch("s://", tokens, 0, candidate(9, " httpd", 0.1)).reply_text == "d"
    plain = healed((" https", "://"), (b" https", b"://"))
    assert whole(" https://", plain).ids == (50, 51)
    assert branch(" https://", plain, 1, candidate(9, "!", 0.1)).ids == (50, 9)


# --- steering from the editor


def test_words_selected_in_the_editor_are_turned_down_in_what_is_written(
    app: App, fake_session: Any, qtbot: Any
) -> None:
    select(app, "http")
    assert "http" in child(app, "steerSelected").text()
    child(app, "turnDown").click()
    (mark,) = app.widgets.chat.raw.editor.extraSelections()
    assert mark.cursor.selectedText() == "http"  # type: ignore[attr-defined]
    send(app, qtbot)
    request = fake_session.of(GenerateRequest)[-1]
    assert request.prompt == TEXT
    assert request.controls.attention == (AttentionControl(start=7, end=11, factor=0.1, message=None),)
    prompt = app.models.transcript.messages[0]
    assert [tint.start for tint in app.steering.tints()[prompt.id]] == [7], "the other views show it, too"


def test_a_span_moves_with_the_text_and_goes_when_its_own_words_change(app: App, qtbot: Any) -> None:
    select(app, "http")
    child(app, "turnDown").click()
    app.widgets.chat.raw.editor.setPlainText("Please r" + TEXT[1:])
    (span,) = app.models.steering.spans
    assert (span.message_id, span.start, span.end) == (RAW, 14, 18)
    assert [c.start for c in app.models.controls.controls.attention] == [14]
    app.widgets.chat.raw.editor.setPlainText("Please read 🦊 htp")
    assert app.models.steering.spans == ()
    assert app.models.controls.controls.attention == ()


def test_spans_of_a_raw_conversation_come_back_with_it(app: App, qtbot: Any) -> None:
    select(app, "http")
    child(app, "turnDown").click()
    send(app, qtbot)
    number = app.chat.conversation
    app.widgets.chat.show_view("text")
    app.chat.new_chat()
    assert app.models.steering.spans == ()
    app.chat.open(number)
    (span,) = app.models.steering.spans
    assert (span.message_id, span.text) == (RAW, "http")
    app.widgets.chat.show_view("raw")
    assert len(app.widgets.chat.raw.editor.extraSelections()) == 1


def test_selecting_in_the_text_view_of_a_raw_conversation_steers_the_same_text(app: App, qtbot: Any) -> None:
    from views.models.text_range import TextRange

    send(app, qtbot)
    prompt = app.models.transcript.messages[0]
    app.widgets.intents.text_selected.emit(TextRange(prompt.id, 0, 4))
    app.models.steering.add_selected(2.0)
    assert app.models.controls.controls.attention == (
        AttentionControl(start=0, end=4, factor=2.0, message=None),
    )


# --- places in a text


def test_places_are_told_in_characters_and_in_units() -> None:
    assert to_units("a🦊b", 0, 1, 2, 3) == [0, 1, 3, 4]
    assert to_characters("a🦊b", 0, 1, 3, 4) == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("old", "new", "span", "expected"),
    [
        ("one two", "one and two", (4, 7), (8, 11)),
        ("one two", "one", (0, 3), (0, 3)),
        ("one two", "one tow", (4, 7), None),
        ("aa", "aaa", (0, 1), (0, 1)),
        ("", "x", (0, 0), (0, 0)),
    ],
)
def test_a_span_is_found_again_after_an_edit(
    old: str, new: str, span: tuple[int, int], expected: tuple[int, int] | None
) -> None:
    assert edit_between(old, new).moved(*span) == expected
