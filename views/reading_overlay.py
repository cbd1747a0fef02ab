"""The widgets that lie on the text: buttons under each message, an editor, and the way to the end."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from PySide6.QtCore import QObject, QRect, QRectF, QSize, Qt, Signal
from PySide6.QtWidgets import QToolButton, QWidget

from views.inline_editor import InlineEditor
from views.intents import ChatIntents
from views.message_actions import MessageActions, keeping_focus
from views.models.focus import MessageId
from views.reading_column import BETWEEN, FOOTER, HEADER, Item
from views.theme import Theme

#: Buttons begin so far left of the text that their icons line up with it.
_ICON_INSET = 8


class ReadingOverlay(QObject):
    """Puts widgets on ``viewport`` where the messages are that can be seen; others are kept for later."""

    #: A message's edit button was pressed: message id.
    edit_wanted = Signal(object)
    #: The editor was closed with another text: message id, text.
    edited = Signal(object, str)
    #: The editor was opened, closed, or has another height: message id, height (or None).
    editor_resized = Signal(object, object)

    def __init__(
        self, viewport: QWidget, intents: ChatIntents, theme: Theme, to_end: Callable[[], object]
    ) -> None:
        super().__init__(viewport)
        self._viewport, self._intents, self._theme = viewport, intents, theme
        self._actions: dict[MessageId, MessageActions] = {}
        self._spare: list[MessageActions] = []
        self._editor: tuple[MessageId, InlineEditor] | None = None
        self._busy = False
        self._to_end = self._end_button(to_end)

    # --- the editor

    def edit(self, item: Item) -> None:
        """Open the text of a message for editing, in its place."""
        self.stop_editing()
        editor = InlineEditor(item.message.text, self._theme, self._viewport)
        self._editor = (item.message.id, editor)
        editor.accepted.connect(self._accept)
        editor.cancelled.connect(self.stop_editing)
        editor.height_changed.connect(self._resized)
        editor.show()
        self._resized()
        editor.take_keyboard()

    def stop_editing(self) -> None:
        """Close the editor without a change."""
        if self._editor is not None:
            message_id, editor = self._editor
            self._editor = None
            editor.hide()
            editor.deleteLater()
            self.editor_resized.emit(message_id, None)

    def _accept(self, text: str) -> None:
        if self._editor is not None:
            message_id = self._editor[0]
            self.stop_editing()
            self.edited.emit(message_id, text)

    def _resized(self) -> None:
        if self._editor is not None:
            self.editor_resized.emit(self._editor[0], float(self._editor[1].wanted_height()))

    # --- placing

    def place(
        self, items: Iterable[Item], column: QRectF, scrolled: float, *, away_from_end: bool, busy: bool
    ) -> None:
        """Put the widgets where the visible messages are; ``scrolled`` is the top of what is seen."""
        self._busy = busy
        seen = {item.message.id: item for item in items}
        for message_id in [known for known in self._actions if known not in seen]:
            unused = self._actions.pop(message_id)
            with keeping_focus(unused):
                unused.hide()
            self._spare.append(unused)
        for item in seen.values():
            self._place_one(item, column, scrolled)
        if away_from_end:
            hint = self._to_end.sizeHint()
            left, top = round(column.center().x() - hint.width() / 2), self._viewport.height() - hint.height()
            self._to_end.setGeometry(left, top - 12, hint.width(), hint.height())
            self._to_end.raise_()
        if away_from_end == self._to_end.isHidden():
            self._to_end.setVisible(away_from_end)

    def _place_one(self, item: Item, column: QRectF, scrolled: float) -> None:
        message_id = item.message.id
        left, width = round(column.left()), round(column.width())
        if self._editor is not None and self._editor[0] == message_id:
            editor = self._editor[1]
            editor.setGeometry(left, round(item.top - scrolled + HEADER), width, editor.wanted_height())
            if message_id in self._actions:
                self._actions[message_id].hide()
            return
        actions = self._actions.get(message_id)
        if actions is None:
            actions = self._spare.pop() if self._spare else self._new_actions()
            self._actions[message_id] = actions
        actions.show_message(item.message, busy=self._busy)
        y = round(item.top + item.height - FOOTER - BETWEEN - scrolled)
        place = QRect(left - _ICON_INSET, y, width + _ICON_INSET, FOOTER)
        if actions.geometry() != place:
            actions.setGeometry(place)
        if actions.isHidden():
            actions.show()

    def _new_actions(self) -> MessageActions:
        actions = MessageActions(self._intents, self._theme, self._viewport)
        actions.edit_started.connect(self.edit_wanted)
        return actions

    def _end_button(self, to_end: Callable[[], object]) -> QToolButton:
        button = QToolButton(self._viewport)
        button.setObjectName("scrollToEnd")
        button.setProperty("kind", "floating")
        button.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
        button.setText("To the end")
        button.setToolTip("Go to the end and follow the reply (Ctrl+End)")
        button.setAccessibleName("Go to the end")
        button.setCursor(Qt.CursorShape.PointingHandCursor)
        button.setIconSize(QSize(14, 14))
        self._theme.set_icon(button, "end")
        button.clicked.connect(to_end)
        button.hide()
        return button
