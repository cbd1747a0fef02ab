"""All actions of the window with their shortcuts in one table, so that menu, keys and help agree."""

from __future__ import annotations

from dataclasses import dataclass

from PySide6.QtCore import Qt
from PySide6.QtGui import QAction, QKeySequence
from PySide6.QtWidgets import QWidget


@dataclass(frozen=True, slots=True)
class ActionSpec:
    """One action: ``name`` is its objectName, ``keys`` its shortcut, ``group`` its heading in lists.

    Actions that are not ``offered`` stay hidden until the panel that they belong to makes them visible.
    """

    name: str
    title: str
    keys: str = ""
    group: str = "Window"
    offered: bool = True


ACTIONS = (
    ActionSpec("newChat", "New chat", "Ctrl+N", "Conversations"),
    ActionSpec("searchChats", "Search conversations", "Ctrl+K", "Conversations"),
    ActionSpec("exportMarkdown", "Export as Markdown…", "", "Conversations"),
    ActionSpec("exportJson", "Export as JSON…", "", "Conversations"),
    ActionSpec("openModel", "Open a model…", "Ctrl+O", "Model"),
    ActionSpec("unloadModel", "Unload the model", "", "Model"),
    ActionSpec("send", "Send", "Ctrl+Return", "Chat"),
    ActionSpec("stop", "Stop, or clear the focus", "Esc", "Chat"),
    ActionSpec("regenerateLast", "Write another reply", "Ctrl+R", "Chat"),
    ActionSpec("continueLast", "Continue the reply", "Ctrl+Shift+R", "Chat"),
    ActionSpec("focusComposer", "Go to the input", "Ctrl+L", "Chat"),
    ActionSpec("toggleTokens", "Text or tokens", "Ctrl+T", "Text"),
    ActionSpec("rawMode", "Raw text of the prompt", "Ctrl+Shift+T", "Text"),
    ActionSpec("explainSelection", "Explain the selection", "Ctrl+E", "Text"),
    ActionSpec("toEnd", "Go to the end", "Ctrl+End", "Text"),
    ActionSpec("showConversations", "Conversations", "Ctrl+B", "Window"),
    ActionSpec("showInspector", "Inspector", "Ctrl+I", "Window"),
    ActionSpec("showMonitor", "Monitor", "Ctrl+M", "Window"),
    ActionSpec("resetLayout", "Reset the layout", "", "Window"),
    ActionSpec("openSettings", "Settings", "Ctrl+,", "Window"),
    ActionSpec("showTemplate", "Chat template of the model", "", "Window"),
    ActionSpec("showShortcuts", "Keyboard shortcuts", "Ctrl+/", "Window"),
    ActionSpec("showFaults", "Problems", "", "Window"),
    ActionSpec("showAbout", "About Model Loupe", "", "Window"),
    ActionSpec("quit", "Quit", "Ctrl+Q", "Window"),
)

#: Keys that a view handles itself while it has the keyboard; for the list of shortcuts.
VIEW_KEYS = (
    ("Left, Right", "Walk the tokens", "Tokens"),
    ("Ctrl+Left, Ctrl+Right", "Walk the tokens, ten at a time", "Tokens"),
    ("Up, Down", "Walk the candidates of the token", "Tokens"),
    ("Enter", "Branch from the candidate", "Tokens"),
    ("Home, End", "First token, last token", "Tokens"),
    ("F2, Delete", "Rename or delete the conversation", "Conversations"),
)


def make_actions(window: QWidget) -> dict[str, QAction]:
    """The actions of :data:`ACTIONS`, added to ``window`` so that their keys work everywhere in it."""
    actions = {}
    for spec in ACTIONS:
        action = QAction(spec.title, window)
        action.setObjectName(spec.name)
        action.setShortcutContext(Qt.ShortcutContext.WindowShortcut)
        if spec.keys:
            action.setShortcut(QKeySequence(spec.keys))
        if spec.name == "quit":
            action.setMenuRole(QAction.MenuRole.QuitRole)
        if spec.name == "showAbout":
            action.setMenuRole(QAction.MenuRole.AboutRole)
        action.setVisible(spec.offered)
        window.addAction(action)
        actions[spec.name] = action
    return actions
