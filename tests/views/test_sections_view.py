"""Thinking that folds and calls of tools, in the text view."""

from __future__ import annotations

from typing import Any

import pytest
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QApplication, QToolButton

from views.models.focus import TokenSpan
from views.models.tokens import TokenTrack
from views.models.transcript import ShownMessage
from views.transcript import TranscriptView
from views.transcript_blocks import BlockPiece

THOUGHT = "<think>\nAdd them.\n\n```python\n2 + 2\n```\n</think>\n\nIt is **4**."
CALL = 'Let me look.\n<tool_call>\n{"name": "weather", "arguments": {"city": "Bonn"}}\n</tool_call>'


@pytest.fixture
def view(shown: Any) -> TranscriptView:
    view: TranscriptView = shown.chat.text_view
    return view


def texts(view: TranscriptView, qtbot: Any) -> list[str]:
    """What the blocks of the last message say."""
    for _ in range(3):
        QApplication.processEvents()
    pieces = view.column.items[-1].pieces
    return [p.document.toPlainText() for p in pieces if isinstance(p, BlockPiece) and p.document is not None]


def button(view: TranscriptView, name: str = "foldSection") -> QToolButton:
    (found,) = (b for b in view.viewport().findChildren(QToolButton, name) if b.isVisible())
    return found


def tokens_of(text: str, make_token: Any) -> list[Any]:
    pieces = [text[at : at + 4] for at in range(0, len(text), 4)]
    return [make_token(index, piece) for index, piece in enumerate(pieces)]


def test_finished_thinking_is_folded_and_opens_by_click_and_key(view: TranscriptView, qtbot: Any) -> None:
    view.model.reset([ShownMessage(id=1, role="assistant", text=THOUGHT)])
    assert texts(view, qtbot) == ["It is 4."]
    assert button(view).text() == "Thought for 7 words"
    assert button(view).accessibleName() == "Thought for 7 words, folded"
    button(view).click()
    assert texts(view, qtbot) == ["Add them.", "2 + 2", "It is 4."]
    assert button(view).accessibleName() == "Thought for 7 words, open"
    assert view.selected_text() == ""
    qtbot.keyClick(button(view), Qt.Key.Key_Space)
    assert texts(view, qtbot) == ["It is 4."]


def test_thinking_is_open_while_it_is_written_and_folds_when_it_ends(
    view: TranscriptView, qtbot: Any, make_token: Any
) -> None:
    view.model.reset([ShownMessage(id=1, role="user", text="2 + 2?")])
    view.model.append_message(ShownMessage(id=2, role="assistant", state="streaming", author="Model"))
    seen = []
    for token in tokens_of(THOUGHT, make_token):
        view.model.append_tokens(2, [token])
        seen.append(
            (
                texts(view, qtbot),
                [b.text() for b in view.viewport().findChildren(QToolButton, "foldSection") if b.isVisible()],
            )
        )
    assert (["Add them"], ["Thinking …"]) in seen
    assert seen[-1][1] == [button(view).text()]
    assert seen[-1][0][0].strip().startswith("It is")
    view.model.finish_reply(2, "stop")
    assert texts(view, qtbot) == ["It is 4."]
    assert button(view).text() == "Thought for 9 tokens"
    assert view.model.message(2).text == THOUGHT


def test_what_the_reader_has_opened_stays_open(view: TranscriptView, qtbot: Any, make_token: Any) -> None:
    view.model.append_message(ShownMessage(id=2, role="assistant", state="streaming", author="Model"))
    tokens = tokens_of(THOUGHT, make_token)
    for token in tokens[:5]:
        view.model.append_tokens(2, [token])
    texts(view, qtbot)
    button(view).click()
    assert texts(view, qtbot) == []
    for token in tokens[5:-2]:
        view.model.append_tokens(2, [token])
    assert "Add" not in " ".join(texts(view, qtbot))
    button(view).click()
    view.model.append_tokens(2, tokens[-2:])
    view.model.finish_reply(2, "stop")
    assert texts(view, qtbot)[0] == "Add them."


def test_thinking_that_the_prompt_has_opened_and_that_was_stopped(
    view: TranscriptView, qtbot: Any, make_token: Any
) -> None:
    view.model.append_message(ShownMessage(id=2, role="assistant", state="streaming", author="Model"))
    view.model.begin_inside(2)
    view.model.append_tokens(2, tokens_of("Add them and", make_token))
    assert texts(view, qtbot) == ["Add them and"]
    assert button(view).text() == "Thinking …"
    view.model.finish_reply(2, "cancelled")
    assert texts(view, qtbot) == ["Add them and"]
    assert button(view).text() == "Thought for 3 tokens, not to its end"


def test_a_focused_token_in_a_folded_section_leads_to_its_line(
    view: TranscriptView, qtbot: Any, make_token: Any
) -> None:
    view.model.reset([ShownMessage(id=1, role="assistant", text=THOUGHT)])
    view.model.set_track(1, TokenTrack(tokens_of(THOUGHT, make_token)))
    texts(view, qtbot)
    view.focus_model.set_focus(TokenSpan(1, 3, 4))
    found = view.column.find(1, 12)
    assert found is not None
    assert found[1].start == 0
    assert button(view).text() == "Thought for 9 tokens"


def test_a_call_of_a_tool_is_a_block_that_says_it_is_not_run(view: TranscriptView, qtbot: Any) -> None:
    view.model.reset([ShownMessage(id=1, role="assistant", text=CALL)])
    assert texts(view, qtbot) == ["Let me look.", '{"name": "weather", "arguments": {"city": "Bonn"}}']
    assert button(view, "toolCall").text() == "Calls the tool “weather”. Tools can't be run here."
    assert not view.viewport().findChildren(QToolButton, "foldSection")


def test_a_user_who_writes_about_tags_is_shown_as_typed(view: TranscriptView, qtbot: Any) -> None:
    view.model.reset([ShownMessage(id=1, role="user", text=THOUGHT)])
    assert texts(view, qtbot) == [THOUGHT]
