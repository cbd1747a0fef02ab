"""Fixtures of the window's tests: tokens made by hand, and the real widgets around real models."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from PySide6.QtWidgets import QApplication, QLabel

from inference.events import Candidate, Token
from views.chat_panel import ChatPanel
from views.conversation_list import ConversationList
from views.header_bar import HeaderBar
from views.inspector import Inspector
from views.intents import ChatIntents
from views.main_window import MainWindow
from views.models.conversations import ConversationsModel
from views.models.focus import FocusModel
from views.models.tokens import TokenTrack
from views.models.transcript import ShownMessage, TranscriptModel
from views.status_line import StatusLine
from views.theme import Theme


@dataclass
class Parts:
    """The widgets of a window and the models behind them."""

    transcript: TranscriptModel
    focus: FocusModel
    intents: ChatIntents
    theme: Theme
    chat: ChatPanel
    conversations: ConversationsModel
    list: ConversationList
    header: HeaderBar
    inspector: Inspector
    status: StatusLine
    window: MainWindow


def a_token(index: int, text: str, *, probability: float = 0.5, special: bool = False, **more: Any) -> Token:
    logprob = math.log(probability)
    rivals = tuple(
        Candidate(id=number, text=word, raw_logprob=logprob - number, sampled_prob=probability / (number + 1))
        for number, word in enumerate((text, " other", " third"))
    )
    fields: dict[str, Any] = {
        "data": text.encode(),
        "entropy": 1.0,
        "candidates": rivals,
    } | more
    return Token(
        run_id=1, index=index, id=index, text=text, special=special, raw_logprob=logprob,
        sampled_prob=probability, stages=(), at=0.0, **fields,
    )  # fmt: skip


@pytest.fixture
def make_token() -> Callable[..., Token]:
    """One token: index, text, and what differs from the rest."""
    return a_token


@pytest.fixture
def tokens_of() -> Callable[[str], tuple[Token, ...]]:
    """Cuts a text into tokens: words with the space before them, and single other characters."""

    def cut(text: str, start: int = 0) -> tuple[Token, ...]:
        parts = re.findall(r" ?\w+|\s|[^\w\s]", text)
        assert "".join(parts) == text
        return tuple(a_token(start + number, part) for number, part in enumerate(parts))

    return cut


@pytest.fixture
def reply(tokens_of: Callable[[str], tuple[Token, ...]]) -> Callable[..., ShownMessage]:
    """A finished reply with its tokens."""

    def make(message_id: Any, text: str, **fields: Any) -> ShownMessage:
        track = TokenTrack(tokens_of(text))
        return ShownMessage(id=message_id, role="assistant", text=text, track=track, **fields)

    return make


@pytest.fixture
def question() -> Callable[..., ShownMessage]:
    """A message of the user, without tokens."""

    def make(message_id: Any, text: str) -> ShownMessage:
        return ShownMessage(id=message_id, role="user", text=text)

    return make


@pytest.fixture
def parts(qtbot: Any, qapp: QApplication) -> Iterator[Parts]:
    """A whole window in the light theme, not shown yet."""
    theme = Theme(qapp, "light")
    transcript, focus, intents = TranscriptModel(), FocusModel(), ChatIntents()
    conversations = ConversationsModel()
    chat = ChatPanel(transcript, focus, intents, theme)
    side = ConversationList(conversations, theme)
    header, inspector, status = HeaderBar(theme), Inspector(theme), StatusLine(theme)
    for name in ("sampling", "token"):
        inspector.add_panel(name, name.title(), QLabel(name))
    window = MainWindow(
        header=header, conversations=side, chat=chat, inspector=inspector, monitor=QLabel("monitor"),
        status=status, intents=intents, theme=theme,
    )  # fmt: skip
    qtbot.addWidget(window)
    yield Parts(
        transcript, focus, intents, theme, chat, conversations, side, header, inspector, status, window
    )
    theme.deleteLater()


@pytest.fixture
def shown(parts: Parts, qtbot: Any) -> Parts:
    """The window, on the (offscreen) screen."""
    parts.window.resize(1200, 700)
    with qtbot.waitExposed(parts.window):
        parts.window.show()
    return parts


def settle(area: Any) -> None:
    """Let an area do now what it does in its next frame."""
    for _ in range(3):
        QApplication.processEvents()


@pytest.fixture(name="settle")
def settle_fixture() -> Callable[[Any], None]:
    """Lets an area lay out now."""
    return settle
