"""Screen readers find the painted messages as items of a list."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from PySide6.QtGui import QAccessible
from PySide6.QtWidgets import QApplication

from views import reading_accessible
from views.models.tokens import TokenTrack
from views.models.transcript import ShownMessage

NAME = QAccessible.Text.Name


@pytest.fixture
def conversation(shown: Any, settle: Any, qapp: QApplication) -> Any:
    """The list, as Qt hands it out."""
    reading_accessible.install()
    shown.transcript.reset(
        [
            ShownMessage(id="q", role="user", text="Which river?"),
            ShownMessage(id="a", role="assistant", text="The Nile.", author="Small model"),
        ]
    )
    settle(shown.chat.text_view)
    return QAccessible.queryAccessibleInterface(shown.chat.text_view.viewport())


def test_messages_are_items_with_their_text(conversation: Any) -> None:
    assert conversation.role() == QAccessible.Role.List
    items = [conversation.child(number) for number in range(2)]
    assert [item.role() for item in items] == [QAccessible.Role.ListItem] * 2
    assert [item.text(NAME) for item in items] == ["You: Which river?", "Small model: The Nile."]
    assert [conversation.indexOfChild(item) for item in items] == [0, 1]
    assert not items[0].rect().intersects(items[1].rect())


def test_the_buttons_under_a_message_are_found_too(conversation: Any) -> None:
    others = [conversation.child(number) for number in range(2, conversation.childCount())]
    names = [other.text(NAME) for other in others]
    assert any(name.startswith("Reply: The Nile.") for name in names)
    assert [conversation.indexOfChild(other) for other in others] == list(range(2, 2 + len(others)))
    assert conversation.child(conversation.childCount()) is None


def test_what_is_written_is_read_as_it_is_now(
    conversation: Any, shown: Any, tokens_of: Any, settle: Any
) -> None:
    reply = conversation.child(1)
    message = shown.transcript.message("a")
    kept = TokenTrack(origin=len(message.text))
    shown.transcript.replace_from("a", [replace(message, state="streaming", track=kept)])
    shown.transcript.append_tokens("a", tokens_of(" It flows north."))
    settle(shown.chat.text_view)
    assert reply.text(NAME) == "Small model: The Nile. It flows north."
    shown.transcript.reset([ShownMessage(id="n", role="user", text="New")])
    settle(shown.chat.text_view)
    assert not reply.isValid()
    assert reply.text(NAME) == ""
    assert conversation.child(0).text(NAME) == "You: New"


def test_every_other_widget_keeps_its_own_interface(conversation: Any, shown: Any) -> None:
    found = QAccessible.queryAccessibleInterface(shown.chat.composer.send_button)
    assert found.role() == QAccessible.Role.Button
    assert found.text(NAME) == "Send"
