"""The conversation as tokens."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from PySide6.QtCore import QPoint, QPointF, Qt
from PySide6.QtGui import QGuiApplication, QImage
from PySide6.QtWidgets import QWidget

from views.models.focus import TokenSpan
from views.models.text_range import TextTint
from views.models.tokens import TokenTrack
from views.models.transcript import ShownMessage
from views.token_layout import LONGEST, TokenPiece, cut_text
from views.token_view import TokenView

PROSE = "\n".join(f"Line {number} of the long reply." for number in range(300))


@pytest.fixture
def view(shown: Any, reply: Any, question: Any, settle: Any) -> TokenView:
    shown.transcript.reset([question("q", "How long?"), reply("r", "The Nile is\nlong.")])
    shown.chat.show_view("tokens")
    view: TokenView = shown.chat.token_view
    settle(view)
    view.setFocus()
    return view


def boxes(view: TokenView, message_id: Any) -> list[Any]:
    pieces = view.column.item(message_id).pieces
    return [box for piece in pieces if isinstance(piece, TokenPiece) for box in piece.boxes]


def center(view: TokenView, message_id: Any, token: int) -> QPoint:
    item = view.column.item(message_id)
    for piece in item.pieces:
        for box in piece.boxes if isinstance(piece, TokenPiece) else ():
            if box.cell.span and box.cell.span[0] <= token < box.cell.span[1]:
                at = box.rect.center()
                y = item.top + piece.top - view.scrolled + at.y()
                return QPoint(round(view.left(item) + at.x()), round(y))
    raise AssertionError("the token is not laid out")


def test_every_token_has_its_place(view: Any, shown: Any) -> None:
    spans = [box.cell.span for box in boxes(view, "r")]
    assert spans == list(shown.transcript.message("r").track.spans)


def test_line_breaks_are_shown_and_break_the_line(view: Any) -> None:
    cells = [box.cell for box in boxes(view, "r")]
    assert "".join(cell.text for cell in cells) == "The Nile is↵long."
    first, second = view.column.item("r").pieces
    assert second.top > first.top


def test_hovering_previews_and_leaving_ends_it(view: Any, shown: Any, qtbot: Any) -> None:
    qtbot.mouseMove(view.viewport(), center(view, "r", 1))
    assert shown.focus.preview == TokenSpan("r", 1, 2)
    qtbot.mouseMove(view.viewport(), QPoint(2, 2))
    assert shown.focus.preview is None


def test_a_click_sets_the_focus_and_escape_takes_it_away(view: Any, shown: Any, qtbot: Any) -> None:
    qtbot.mouseClick(view.viewport(), Qt.MouseButton.LeftButton, pos=center(view, "r", 1))
    assert shown.focus.focus == TokenSpan("r", 1, 2)
    shown.focus.set_preview(None)
    shown.window.action("stop").trigger()
    assert shown.focus.current is None


def test_shift_click_takes_in_what_lies_between(view: Any, shown: Any, qtbot: Any) -> None:
    port = view.viewport()
    qtbot.mouseClick(port, Qt.MouseButton.LeftButton, pos=center(view, "r", 0))
    qtbot.mouseClick(
        port, Qt.MouseButton.LeftButton, Qt.KeyboardModifier.ShiftModifier, pos=center(view, "r", 2)
    )
    assert shown.focus.focus == TokenSpan("r", 0, 3)


def test_keys_walk_tokens_from_the_last_one_back(view: Any, shown: Any, qtbot: Any) -> None:
    last = len(shown.transcript.message("r").track) - 1
    qtbot.keyClick(view, Qt.Key.Key_Left)
    assert shown.focus.focus == TokenSpan("r", last, last + 1)
    qtbot.keyClick(view, Qt.Key.Key_Left)
    assert shown.focus.focus == TokenSpan("r", last - 1, last)
    qtbot.keyClick(view, Qt.Key.Key_Home)
    assert shown.focus.focus == TokenSpan("r", 0, 1)
    qtbot.keyClick(view, Qt.Key.Key_Right, Qt.KeyboardModifier.ControlModifier)
    assert shown.focus.focus == TokenSpan("r", last, last + 1)


def test_keys_walk_into_the_neighbouring_message(
    view: Any, shown: Any, tokens_of: Any, qtbot: Any, settle: Any
) -> None:
    shown.transcript.set_track("q", TokenTrack(tokens_of("How long?")))
    settle(view)
    shown.focus.set_focus(TokenSpan("r", 0, 1))
    qtbot.keyClick(view, Qt.Key.Key_Left)
    assert shown.focus.focus == TokenSpan("q", 2, 3)


def test_keys_walk_candidates_and_enter_branches(view: Any, shown: Any, qtbot: Any) -> None:
    shown.focus.set_focus(TokenSpan("r", 1, 2))
    with qtbot.assertNotEmitted(shown.intents.candidate_requested):
        qtbot.keyClick(view, Qt.Key.Key_Return)
    # The table stands at the token that was drawn; down goes on from there.
    qtbot.keyClick(view, Qt.Key.Key_Down)
    assert shown.focus.candidate == 2
    qtbot.keyClick(view, Qt.Key.Key_Up)
    assert shown.focus.candidate == 1
    with qtbot.waitSignal(shown.intents.candidate_requested) as asked:
        qtbot.keyClick(view, Qt.Key.Key_Return)
    assert asked.args == ["r", 1, 1]
    for _ in range(9):
        qtbot.keyClick(view, Qt.Key.Key_Down)
    assert shown.focus.candidate == 2


def test_tokens_of_a_message_without_any_are_asked_for_once(
    view: Any, shown: Any, settle: Any, qtbot: Any
) -> None:
    asked: list[object] = []
    shown.intents.tokens_wanted.connect(asked.append)
    shown.transcript.reset([ShownMessage(id="old", role="assistant", text="Read from history.")])
    for _ in range(3):
        settle(view)
    assert asked == ["old"]


def test_text_without_tokens_is_shown_plain(view: Any) -> None:
    assert [(box.cell.text, box.cell.span) for box in boxes(view, "q")] == [("How long?", None)]


def test_a_long_text_without_tokens_is_cut_between_words(view: Any) -> None:
    words = "The river is long and the boat is small. " * 100
    pieces = cut_text(ShownMessage(id="q", role="user", text=words), view.theme)
    texts = [words[piece.start : piece.end] for piece in pieces]
    assert "".join(texts) == words
    assert max(map(len, texts)) <= LONGEST
    assert all(text.endswith(" ") for text in texts)
    whole = cut_text(ShownMessage(id="q", role="user", text="x" * 3000), view.theme)
    assert [piece.end - piece.start for piece in whole] == [LONGEST, LONGEST, 600]


def test_special_tokens_and_parts_of_characters_are_shown_as_one(
    view: Any, shown: Any, make_token: Any, settle: Any
) -> None:
    tokens = [
        make_token(0, "a"), make_token(1, "", data=b"\xc3"), make_token(2, "é", data=b"\xa9"),
        make_token(3, "", data=b"<|end|>", special=True),
    ]  # fmt: skip
    shown.transcript.reset([ShownMessage(id="r", role="assistant", text="aé", track=TokenTrack(tokens))])
    settle(view)
    spaces = str.maketrans("", "", "\u200b\u202f\u2060")
    cells = [box.cell for box in boxes(view, "r")]
    shown_cells = [(cell.span, cell.text.translate(spaces), cell.special) for cell in cells]
    assert shown_cells == [((0, 1), "a", False), ((1, 3), "é", False), ((3, 4), "<|end|>", True)]


def test_tokens_appear_while_streaming_as_they_will_stand(
    view: Any, shown: Any, tokens_of: Any, settle: Any
) -> None:
    shown.transcript.append_message(ShownMessage(id="s", role="assistant", state="streaming"))
    for token in tokens_of(PROSE):
        shown.transcript.append_tokens("s", (token,))
    settle(view)
    streamed = [(piece.first, piece.last) for piece in view.column.item("s").pieces]
    shown.transcript.set_track("s", TokenTrack(tokens_of(PROSE)))
    settle(view)
    assert [(piece.first, piece.last) for piece in view.column.item("s").pieces] == streamed
    assert view.verticalScrollBar().value() == view.verticalScrollBar().maximum()


def test_unlikely_tokens_are_louder_for_each_measure(
    view: Any, shown: Any, make_token: Any, settle: Any
) -> None:
    tokens = [
        make_token(0, "likely", probability=0.99, entropy=0.01),
        make_token(1, " rare", probability=0.0001, entropy=5.0),
    ]
    text = "likely rare"
    shown.transcript.reset([ShownMessage(id="r", role="assistant", text=text, track=TokenTrack(tokens))])
    settle(view)
    surface = shown.theme.color("surface")
    for measure in ("probability", "entropy", "surprisal"):
        shown.chat.set_measure(measure)
        image: QImage = view.viewport().grab().toImage()
        colors = []
        for token in (0, 1):
            point = center(view, "r", token) - QPoint(0, 9)
            colors.append(image.pixelColor(point))
        quiet, loud = (abs(color.lightness() - surface.lightness()) for color in colors)
        assert loud > quiet + 30, measure


def test_text_and_tokens_show_the_same_place(view: Any, shown: Any, reply: Any, settle: Any) -> None:
    text = "\n\n".join(f"Paragraph {number} of the reply." for number in range(200))
    shown.transcript.reset([reply("r", text)])
    settle(view)
    view.go_to("r", text.index("Paragraph 100"))
    settle(view)
    shown.window.action("toggleTokens").trigger()
    settle(shown.chat.text_view)
    place = shown.chat.text_view.place()
    assert text[place.offset :].startswith("Paragraph 100 ")
    shown.window.action("toggleTokens").trigger()
    settle(view)
    assert text[view.place().offset :].startswith("Paragraph 100 ")


def test_a_focus_that_is_out_of_sight_is_brought_into_view(
    view: Any, shown: Any, reply: Any, settle: Any
) -> None:
    shown.transcript.reset([reply("r", PROSE)])
    settle(view)
    shown.focus.set_focus(TokenSpan("r", 40, 41))
    settle(view)
    assert 0 <= center(view, "r", 40).y() <= view.viewport().height()


def test_the_focus_is_copied_as_text(view: Any, shown: Any, qtbot: Any) -> None:
    shown.focus.set_focus(TokenSpan("r", 1, 3))
    qtbot.keyClick(view, Qt.Key.Key_C, Qt.KeyboardModifier.ControlModifier)
    assert QGuiApplication.clipboard().text() == " Nile is"


def test_a_focus_on_tokens_that_are_gone_is_dropped(view: Any, shown: Any, reply: Any) -> None:
    shown.focus.set_focus(TokenSpan("r", 1, 2))
    shown.transcript.replace_from("r", [reply("r", "The Amazon is longer.")])
    assert shown.focus.focus == TokenSpan("r", 1, 2)
    shown.transcript.replace_from("r", [reply("other", "No.")])
    assert shown.focus.focus is None


def test_a_special_token_is_not_broken_at_a_lines_end(
    view: Any, shown: Any, make_token: Any, settle: Any
) -> None:
    tokens = [make_token(n, "", data=b"<|assistant|>", special=True) for n in range(40)]
    shown.transcript.reset([ShownMessage(id="r", role="assistant", text="", track=TokenTrack(tokens))])
    settle(view)
    assert len(boxes(view, "r")) == 40
    assert len({box.rect.top() for box in boxes(view, "r")}) > 3
    # None is narrower at a line's end: the space behind the label stays.
    assert len({round(box.rect.width(), 1) for box in boxes(view, "r")}) == 1


def differing(one: QImage, other: QImage) -> float:
    """Share of the pixels that differ."""
    pixels = [(x, y) for x in range(one.width()) for y in range(one.height())]
    return sum(one.pixel(x, y) != other.pixel(x, y) for x, y in pixels) / len(pixels)


def test_what_is_painted_from_a_picture_looks_like_what_was_painted_first(
    view: Any, shown: Any, make_token: Any, settle: Any
) -> None:
    def grab() -> QImage:
        return view.viewport().grab().toImage()  # type: ignore[no-any-return]

    shown.focus.clear()
    settle(view)
    shown.chat.set_measure("entropy")
    entropy = grab()
    shown.chat.set_measure("surprisal")
    painted, pictured, again = grab(), grab(), grab()
    assert pictured == again
    assert differing(painted, pictured) < 0.0005
    assert differing(painted, entropy) > 0.002
    shown.transcript.set_track("r", TokenTrack([make_token(0, "Other", probability=0.01)]))
    settle(view)
    assert differing(grab(), again) > 0.002


def test_words_that_are_turned_down_have_a_dashed_line_below_their_tokens(view: TokenView) -> None:
    def painted() -> QImage:
        return view.viewport().grab().toImage()

    def changed(token: int) -> bool:
        at = center(view, "r", token)
        around = (at.x() - 8, at.y() - 16, 16, 32)
        return before.copy(*around) != after.copy(*around)

    before = painted()
    view.set_tints({"r": [TextTint(4, 8, -1.0, steered=True)], "other": [TextTint(0, 3, 1.0, steered=True)]})
    after = painted()
    text = "".join(token.text for token in view.model.message("r").track.tokens)
    assert text[4:8] == "Nile"
    assert [changed(token) for token in range(3)] == [False, True, False]


def test_tokens_that_were_guessed_ahead_have_a_corner_and_a_legend(
    view: TokenView, shown: Any, settle: Any
) -> None:
    plain = shown.transcript.message("r").track.tokens
    legend = shown.chat.findChild(QWidget, "guessLegend")
    assert legend.isHidden()
    shown.transcript.set_track("r", TokenTrack([plain[0], replace(plain[1], guessed=True), *plain[2:]]))
    shown.transcript.reply_finished.emit("r")
    settle(view)
    assert not legend.isHidden()
    ink = shown.theme.color("accent").rgb()
    image = view.viewport().grab().toImage()
    corners = [QPointF(box.rect.topLeft()) for box in boxes(view, "r")]
    item = view.column.item("r")
    top = item.top + item.pieces[0].top - view.scrolled

    def marked(number: int) -> bool:
        x, y = view.left(item) + corners[number].x() + 1.5, top + corners[number].y() + 3
        return bool(image.pixel(round(x), round(y)) == ink)

    assert [marked(number) for number in range(3)] == [False, True, False]
