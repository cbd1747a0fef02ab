"""The conversation as text: it grows, follows or stays, is selected, copied and edited."""

from __future__ import annotations

from typing import Any

import pytest
from PySide6.QtCore import QEvent, QObject, QPoint, QPointF, QRect, Qt
from PySide6.QtGui import QGuiApplication, QPaintEvent, QTextDocument
from PySide6.QtWidgets import QPlainTextEdit, QPushButton, QToolButton

from views.models.focus import TokenSpan
from views.models.tokens import TokenTrack
from views.models.transcript import Mark, ReplyStats, ShownMessage
from views.reading_column import Piece, ReadingColumn
from views.reading_paint import margin_words
from views.transcript import BlockPiece, TranscriptView

LONG = "\n\n".join(f"Paragraph {number} has some words in it." for number in range(200))


@pytest.fixture
def view(shown: Any) -> TranscriptView:
    view: TranscriptView = shown.chat.text_view
    return view


def documents(view: TranscriptView, message_id: Any) -> list[QTextDocument]:
    pieces = view.column.item(message_id).pieces
    return [
        piece.document for piece in pieces if isinstance(piece, BlockPiece) and piece.document is not None
    ]


def texts(view: TranscriptView, message_id: Any) -> list[str]:
    return [document.toPlainText() for document in documents(view, message_id)]


def button(view: TranscriptView, name: str) -> QToolButton:
    found = [one for one in view.findChildren(QToolButton, name) if one.isVisible()]
    assert len(found) == 1, f"{len(found)} buttons {name} are shown"
    return found[0]


class TestStreaming:
    def test_markdown_is_rendered_when_its_block_has_ended(
        self, shown: Any, view: Any, tokens_of: Any, settle: Any
    ) -> None:
        shown.transcript.append_message(ShownMessage(id="r", role="assistant", state="streaming"))
        shown.transcript.append_tokens("r", tokens_of("A **bold** word"))
        settle(view)
        assert texts(view, "r") == ["A **bold** word"]
        shown.transcript.append_tokens("r", tokens_of(" more.\n\nNext"))
        settle(view)
        assert texts(view, "r") == ["A bold word more.", "Next"]
        shown.transcript.finish_reply("r", "stop")
        settle(view)
        assert texts(view, "r") == ["A bold word more.", "Next"]

    def test_a_finished_block_is_never_rendered_again(
        self, shown: Any, view: Any, tokens_of: Any, settle: Any
    ) -> None:
        shown.transcript.append_message(ShownMessage(id="r", role="assistant", state="streaming"))
        shown.transcript.append_tokens("r", tokens_of("One.\n\nTwo"))
        settle(view)
        first = documents(view, "r")[0]
        for text in (" and", " more", ".\n\nThree", "\n\n```\ncode"):
            shown.transcript.append_tokens("r", tokens_of(text))
            settle(view)
        assert documents(view, "r")[0] is first

    def test_what_is_streamed_looks_like_what_is_opened(
        self, shown: Any, view: Any, tokens_of: Any, settle: Any
    ) -> None:
        text = "# Title\n\nSome *words*\nhere.\n\n```python\nx = 1\n```\n\n- one\n- two\n\nEnd"
        shown.transcript.append_message(ShownMessage(id="r", role="assistant", state="streaming"))
        for token in tokens_of(text):
            shown.transcript.append_tokens("r", (token,))
        shown.transcript.finish_reply("r", "stop")
        settle(view)
        streamed = texts(view, "r")
        shown.transcript.reset([ShownMessage(id="r", role="assistant", text=text)])
        settle(view)
        assert texts(view, "r") == streamed

    def test_at_the_end_the_view_follows(self, shown: Any, view: Any, tokens_of: Any, settle: Any) -> None:
        shown.transcript.reset([ShownMessage(id=1, role="assistant", text=LONG)])
        settle(view)
        shown.transcript.append_message(ShownMessage(id="r", role="assistant", state="streaming"))
        shown.transcript.append_tokens("r", tokens_of(LONG))
        settle(view)
        bar = view.verticalScrollBar()
        assert bar.value() == bar.maximum() > 0
        assert not view.findChild(QToolButton, "scrollToEnd").isVisible()

    def test_elsewhere_nothing_moves_and_a_button_leads_back(
        self, shown: Any, view: Any, tokens_of: Any, settle: Any, qtbot: Any
    ) -> None:
        shown.transcript.reset([ShownMessage(id=1, role="assistant", text=LONG)])
        settle(view)
        view.verticalScrollBar().setValue(view.verticalScrollBar().maximum() // 2)
        settle(view)
        place, value = view.place(), view.verticalScrollBar().value()
        shown.transcript.append_message(ShownMessage(id="r", role="assistant", state="streaming"))
        shown.transcript.append_tokens("r", tokens_of(LONG))
        settle(view)
        assert (view.place(), view.verticalScrollBar().value()) == (place, value)
        qtbot.mouseClick(button(view, "scrollToEnd"), Qt.MouseButton.LeftButton)
        assert view.verticalScrollBar().value() == view.verticalScrollBar().maximum()

    def test_scrolling_up_through_unseen_text_does_not_jump(self, shown: Any, view: Any, settle: Any) -> None:
        """What is on screen moves by just as much as was scrolled, although heights above become exact."""
        shown.transcript.reset(
            [ShownMessage(id=1, role="assistant", text=LONG.replace("some", "# x\n\n" + "w " * 90))]
        )
        settle(view)
        for _ in range(20):
            item, piece = next(iter(view.visible()))
            before = item.top + piece.top - view.scrolled
            view.verticalScrollBar().setValue(view.verticalScrollBar().value() - 40)
            settle(view)
            assert item.top + piece.top - view.scrolled == pytest.approx(before + 40, abs=1.5)

    def test_a_new_question_brings_the_reader_to_the_end(
        self, shown: Any, view: Any, question: Any, settle: Any
    ) -> None:
        shown.transcript.reset([ShownMessage(id=1, role="assistant", text=LONG)])
        settle(view)
        view.verticalScrollBar().setValue(0)
        shown.transcript.append_message(question("q", "And?"))
        settle(view)
        assert view.following

    def test_an_edited_question_brings_the_reader_to_its_answer(
        self, shown: Any, view: Any, question: Any, settle: Any
    ) -> None:
        reply = ShownMessage(id=1, role="assistant", text=LONG)
        shown.transcript.reset([reply, question("q", "And?")])
        settle(view)
        view.verticalScrollBar().setValue(0)
        shown.transcript.replace_from("q", [question("p", "Or?")])
        settle(view)
        assert view.following

    def test_walking_to_another_branch_moves_nothing(
        self, shown: Any, view: Any, question: Any, settle: Any
    ) -> None:
        reply = ShownMessage(id=1, role="assistant", text=LONG)
        shown.transcript.reset([question("q", "And?"), reply])
        settle(view)
        view.verticalScrollBar().setValue(0)
        shown.transcript.replace_from(1, [ShownMessage(id=2, role="assistant", text=LONG + " Or so.")])
        settle(view)
        assert view.scrolled == 0


class TestLaziness:
    def test_opening_a_long_conversation_lays_out_only_what_is_seen(
        self, shown: Any, view: Any, settle: Any
    ) -> None:
        shown.transcript.reset([ShownMessage(id=n, role="assistant", text=LONG) for n in range(50)])
        settle(view)
        assert sum(item.built for item in view.column.items) <= 2
        assert len(documents(view, 49)) < 40


class TestButtonsUnderAMessage:
    def test_each_says_what_the_user_meant(self, shown: Any, view: Any, settle: Any, qtbot: Any) -> None:
        text = "Hello **you**"
        shown.transcript.reset(
            [
                ShownMessage(
                    id="r", role="assistant", text=text, branch_index=1, branch_count=3, state="complete"
                )
            ]
        )
        settle(view)
        for name, signal, args in (
            ("regenerate", shown.intents.regenerate_requested, ["r"]),
            ("continueReply", shown.intents.continue_requested, ["r"]),
            ("previousBranch", shown.intents.branch_step_requested, ["r", -1]),
            ("nextBranch", shown.intents.branch_step_requested, ["r", 1]),
        ):
            with qtbot.waitSignal(signal) as asked:
                qtbot.mouseClick(button(view, name), Qt.MouseButton.LeftButton)
            assert asked.args == args
        qtbot.mouseClick(button(view, "copyMessage"), Qt.MouseButton.LeftButton)
        assert QGuiApplication.clipboard().text() == text

    def test_the_first_and_the_last_branch_end_the_walk(self, shown: Any, view: Any, settle: Any) -> None:
        shown.transcript.reset([ShownMessage(id="r", role="assistant", text="x", branch_count=2)])
        settle(view)
        assert not button(view, "previousBranch").isEnabled()
        other = ShownMessage(id="s", role="assistant", text="y", branch_index=1, branch_count=2)
        shown.transcript.replace_from("r", [other])
        settle(view)
        assert button(view, "previousBranch").isEnabled()
        assert not button(view, "nextBranch").isEnabled()

    def test_while_streaming_there_is_only_stop(self, shown: Any, view: Any, settle: Any, qtbot: Any) -> None:
        shown.transcript.append_message(ShownMessage(id="r", role="assistant", state="streaming"))
        settle(view)
        assert [b for b in view.findChildren(QToolButton, "regenerate") if b.isVisible()] == []
        with qtbot.waitSignal(shown.intents.stop_requested):
            qtbot.mouseClick(button(view, "stopReply"), Qt.MouseButton.LeftButton)
        shown.transcript.finish_reply("r", "cancelled", ReplyStats(new_tokens=3, tokens_per_second=12.3))
        settle(view)
        assert button(view, "regenerate").isEnabled()

    def test_a_button_that_goes_hands_the_keyboard_to_the_text(
        self, shown: Any, view: Any, settle: Any, qtbot: Any
    ) -> None:
        shown.transcript.reset([ShownMessage(id="r", role="assistant", text="x")])
        settle(view)
        button(view, "regenerate").setFocus()
        qtbot.waitUntil(button(view, "regenerate").hasFocus)
        again = ShownMessage(id="s", role="assistant", state="streaming")
        shown.transcript.replace_from("r", [again])
        settle(view)
        assert view.hasFocus()

    def test_editing_happens_in_place_and_asks_for_a_branch(
        self, shown: Any, view: Any, question: Any, settle: Any, qtbot: Any
    ) -> None:
        shown.transcript.reset(
            [question("q", "How long?"), ShownMessage(id="r", role="assistant", text="Long.")]
        )
        settle(view)
        view.edit_message("q")
        settle(view)
        field = view.findChild(QPlainTextEdit, "editMessageField")
        assert field.toPlainText() == "How long?"
        field.setPlainText("How wide?")
        with qtbot.waitSignal(shown.intents.edit_requested) as asked:
            qtbot.mouseClick(view.findChild(QPushButton, "saveEdit"), Qt.MouseButton.LeftButton)
        assert asked.args == ["q", "How wide?"]

    def test_escape_leaves_the_text_as_it_was(
        self, shown: Any, view: Any, question: Any, settle: Any, qtbot: Any
    ) -> None:
        shown.transcript.reset([question("q", "How long?")])
        settle(view)
        view.edit_message("q")
        settle(view)
        field = view.findChild(QPlainTextEdit, "editMessageField")
        field.setPlainText("no")
        with qtbot.assertNotEmitted(shown.intents.edit_requested):
            qtbot.keyClick(field, Qt.Key.Key_Escape)
        assert view.column.item("q").replaced_height is None

    def test_the_code_of_a_block_is_copied_whole(
        self, shown: Any, view: Any, settle: Any, qtbot: Any
    ) -> None:
        code = "".join(f"line_{number} = {number}\n" for number in range(300))
        shown.transcript.reset([ShownMessage(id="r", role="assistant", text=f"```python\n{code}```\n")])
        settle(view)
        view.verticalScrollBar().setValue(0)
        settle(view)
        qtbot.mouseClick(button(view, "copyCode"), Qt.MouseButton.LeftButton)
        assert QGuiApplication.clipboard().text() == code


class TestSelecting:
    def test_a_long_text_is_copied_as_it_was_written(
        self, shown: Any, view: Any, question: Any, settle: Any
    ) -> None:
        """Long blocks are laid out in parts; copying puts them together again."""
        lines = "\n".join(f"Line {number} of a long question" for number in range(400))
        prose = "A sentence that is repeated. " * 300
        shown.transcript.reset([question("q", lines), ShownMessage(id="r", role="assistant", text=prose)])
        settle(view)
        assert len(view.column.item("r").pieces) > 1
        view.select_all()
        assert view.selected_text() == f"{lines}\n\n{prose.strip()}"

    def test_everything_can_be_selected_and_copied(
        self, shown: Any, view: Any, question: Any, settle: Any, qtbot: Any
    ) -> None:
        shown.transcript.reset(
            [question("q", "How long?"), ShownMessage(id="r", role="assistant", text="**Very** long.")]
        )
        settle(view)
        view.setFocus()
        qtbot.keyClick(view, Qt.Key.Key_A, Qt.KeyboardModifier.ControlModifier)
        qtbot.keyClick(view, Qt.Key.Key_C, Qt.KeyboardModifier.ControlModifier)
        assert QGuiApplication.clipboard().text() == "How long?\n\nVery long."

    def test_dragging_selects_and_the_selection_is_known_as_tokens(
        self, shown: Any, view: Any, reply: Any, settle: Any, qtbot: Any
    ) -> None:
        shown.transcript.reset([reply("r", "The **Nile** is long.")])
        settle(view)
        item, piece = next(iter(view.visible()))
        start = QPoint(round(view.left(item)) + 1, round(item.top + piece.top - view.scrolled) + 8)
        port = view.viewport()
        qtbot.mousePress(port, Qt.MouseButton.LeftButton, pos=start)
        assert isinstance(piece, BlockPiece)
        nile = piece.document.documentLayout()  # type: ignore[union-attr]
        width = next(x for x in range(400) if nile.hitTest(QPointF(x, 8), Qt.HitTestAccuracy.FuzzyHit) >= 8)
        qtbot.mouseMove(port, start + QPoint(width, 0))
        qtbot.mouseRelease(port, Qt.MouseButton.LeftButton, pos=start + QPoint(width, 0))
        assert view.selected_text() == "The Nile"
        track = shown.transcript.message("r").track
        span = view.selected_span()
        assert span is not None
        assert "".join(token.text for token in track.tokens[span.start : span.end]).startswith("The **Nile")

    def test_explaining_uses_the_selection_else_the_focus(
        self, shown: Any, view: Any, reply: Any, settle: Any, qtbot: Any
    ) -> None:
        shown.transcript.reset([reply("r", "The Nile.")])
        settle(view)
        shown.window.action("explainSelection").setVisible(True)
        with qtbot.assertNotEmitted(shown.intents.explain_requested):
            shown.window.action("explainSelection").trigger()
        shown.focus.set_focus(TokenSpan("r", 1, 2))
        with qtbot.waitSignal(shown.intents.explain_requested) as asked:
            shown.window.action("explainSelection").trigger()
        assert asked.args == [TokenSpan("r", 1, 2)]


def test_a_link_is_told_and_not_followed(shown: Any, view: Any, settle: Any, qtbot: Any) -> None:
    shown.transcript.reset([ShownMessage(id="r", role="assistant", text="[manual](https://example.org/a)")])
    settle(view)
    item, piece = next(iter(view.visible()))
    point = QPoint(round(view.left(item)) + 8, round(item.top + piece.top - view.scrolled) + 8)
    with qtbot.waitSignal(shown.intents.link_activated) as followed:
        qtbot.mouseClick(view.viewport(), Qt.MouseButton.LeftButton, pos=point)
    assert followed.args == ["https://example.org/a"]


def test_a_changed_control_is_marked_beside_its_token(shown: Any, view: Any, reply: Any, settle: Any) -> None:
    shown.transcript.reset([reply("r", "First line here.\n\nSecond line here.")])
    shown.transcript.add_mark("r", 6, "temperature 0.7 → 1.2")
    settle(view)
    ((mark, rect),) = list(view.marks())
    second = view.column.item("r").pieces[1]
    assert mark.text == "temperature 0.7 → 1.2"
    assert rect.top() >= view.column.item("r").top + second.top - view.scrolled


def test_a_control_that_moved_on_and_on_is_told_once_a_line() -> None:
    moves = [Mark(3, "temperature 0.7 → 0.9"), Mark(4, "temperature 0.9 → 1.2"), Mark(5, "top k 0 → 40")]
    assert margin_words(moves) == ["temperature 0.7 → 1.2", "top k 0 → 40"]
    assert margin_words(moves[::2]) == ["temperature 0.7 → 0.9", "top k 0 → 40"]


def test_the_reader_keeps_the_place_when_the_window_becomes_narrower(
    shown: Any, view: Any, settle: Any
) -> None:
    track = TokenTrack()
    shown.transcript.reset([ShownMessage(id=1, role="assistant", text=LONG, track=track)])
    settle(view)
    view.go_to(1, LONG.index("Paragraph 90"))
    settle(view)
    shown.window.resize(900, 600)
    settle(view)
    place = view.place()
    assert place is not None
    assert LONG[place.offset :].startswith("Paragraph 90")


def test_another_theme_is_taken_over(shown: Any, view: Any, settle: Any) -> None:
    shown.transcript.reset([ShownMessage(id=1, role="assistant", text="Some **words**")])
    settle(view)
    light = view.grab().toImage().pixelColor(5, 5)
    shown.theme.set_choice("dark")
    settle(view)
    dark = view.grab().toImage().pixelColor(5, 5)
    shown.theme.set_choice("light")
    assert light.lightness() > 200 > 60 > dark.lightness()
    assert texts(view, 1) == ["Some words"]


class _Paints(QObject):
    """Notes where a widget was painted."""

    def __init__(self) -> None:
        super().__init__()
        self.rects: list[QRect] = []

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        if isinstance(event, QPaintEvent):
            self.rects.append(event.region().boundingRect())
        return False


def test_a_growing_reply_is_painted_where_it_grows_only(
    shown: Any, view: Any, tokens_of: Any, settle: Any
) -> None:
    shown.transcript.append_message(ShownMessage(id="r", role="assistant", state="streaming"))
    shown.transcript.append_tokens("r", tokens_of("One.\n\nTwo.\n\nThree"))
    settle(view)
    paints = _Paints()
    view.viewport().installEventFilter(paints)
    shown.transcript.append_tokens("r", tokens_of(" and"))
    settle(view)
    view.viewport().removeEventFilter(paints)
    item = view.column.item("r")
    top = item.top + item.pieces[-1].top - view.scrolled
    assert paints.rects
    for rect in paints.rects:
        assert rect.top() >= top - 4
        assert rect.bottom() <= top + item.pieces[-1].height + 4


class _Lines(Piece):
    """A piece of one line that counts how often it is guessed."""

    guesses = 0

    def estimate(self, width: float) -> float:
        _Lines.guesses += 1
        return 20.0

    def measure(self, width: float) -> float:
        return 24.0

    def y_of(self, offset: int) -> float:
        return 0.0

    def offset_at(self, y: float) -> int:
        return self.start


def test_measuring_what_is_seen_does_not_guess_everything_again() -> None:
    column = ReadingColumn(lambda message: [_Lines(n, n + 1) for n in range(1000)])
    column.replace_from(0, [ShownMessage(id="r", role="assistant", text="x" * 1000)])
    item = column.item("r")
    column.build(item)
    _Lines.guesses = 0
    seen = [(item, piece) for piece in item.pieces[:30]]
    assert column.ensure_all_exact(seen)
    assert _Lines.guesses == 0
    assert item.pieces[30].top == item.pieces[0].top + 30 * 24
    assert column.total == item.top + item.height
