"""The rows of the conversation list, and how they are painted, renamed and searched."""

from __future__ import annotations

from PySide6.QtCore import QModelIndex, QPersistentModelIndex, QPoint, QRect, QSize, Qt, Signal
from PySide6.QtGui import QKeyEvent, QPainter
from PySide6.QtWidgets import (
    QFrame,
    QLineEdit,
    QListView,
    QStyle,
    QStyledItemDelegate,
    QStyleOptionViewItem,
    QWidget,
)

from views.keys import FieldKeys
from views.models.conversations import ConversationsModel
from views.theme import BODY, CAPTION, Theme

_Index = QModelIndex | QPersistentModelIndex


class SearchField(QLineEdit):
    """Esc empties it."""

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if event.key() == Qt.Key.Key_Escape:
            self.clear()
        else:
            super().keyPressEvent(event)


class ConversationRows(QListView):
    """The list itself (objectName ``conversationList``); the Delete key asks to delete the chosen row."""

    delete_pressed = Signal()

    def __init__(self, theme: Theme, parent: QWidget) -> None:
        super().__init__(parent)
        self.setObjectName("conversationList")
        self.setAccessibleName("Conversations")
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setMouseTracking(True)
        self.setUniformItemSizes(False)
        self.setEditTriggers(QListView.EditTrigger.EditKeyPressed | QListView.EditTrigger.DoubleClicked)
        self.setContextMenuPolicy(Qt.ContextMenuPolicy.CustomContextMenu)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setVerticalScrollMode(QListView.ScrollMode.ScrollPerPixel)
        self.setItemDelegate(_Delegate(theme, self))
        theme.changed.connect(self.viewport().update)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if event.key() == Qt.Key.Key_Delete:
            self.delete_pressed.emit()
        else:
            super().keyPressEvent(event)


class _Delegate(QStyledItemDelegate):
    def __init__(self, theme: Theme, parent: QWidget) -> None:
        super().__init__(parent)
        self._theme = theme

    def sizeHint(self, option: QStyleOptionViewItem, index: _Index) -> QSize:
        heading = index.data(ConversationsModel.heading_role)
        return QSize(120, (36 if index.row() else 24) if heading else 32)

    def createEditor(self, parent: QWidget, option: QStyleOptionViewItem, index: _Index) -> QWidget:
        editor = QLineEdit(parent)
        editor.setObjectName("renameField")
        editor.setAccessibleName("Title of the conversation")
        FieldKeys(editor, own=("Esc",))
        return editor

    def updateEditorGeometry(self, editor: QWidget, option: QStyleOptionViewItem, index: _Index) -> None:
        rect: QRect = option.rect
        editor.setGeometry(rect.adjusted(0, 1, 0, -1))

    def paint(self, painter: QPainter, option: QStyleOptionViewItem, index: _Index) -> None:
        rect: QRect = option.rect
        state: QStyle.StateFlag = option.state
        theme = self._theme
        painter.save()
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        if index.data(ConversationsModel.heading_role):
            painter.setFont(theme.font(CAPTION))
            painter.setPen(theme.color("faint"))
            flags = Qt.AlignmentFlag.AlignBottom | Qt.AlignmentFlag.AlignLeft
            painter.drawText(rect.adjusted(8, 0, -8, -6), flags, index.data())
        else:
            selected = bool(state & QStyle.StateFlag.State_Selected)
            if selected or state & QStyle.StateFlag.State_MouseOver:
                painter.setPen(Qt.PenStyle.NoPen)
                painter.setBrush(theme.color("pressed" if selected else "hover"))
                painter.drawRoundedRect(rect.adjusted(0, 1, 0, -1), 6, 6)
            if state & QStyle.StateFlag.State_HasFocus and option.widget.hasFocus():
                painter.setPen(theme.color("accent"))
                painter.setBrush(Qt.BrushStyle.NoBrush)
                painter.drawRoundedRect(rect.adjusted(1, 2, -1, -2), 6, 6)
            self._paint_title(painter, rect, index, selected)
        painter.restore()

    def _paint_title(self, painter: QPainter, rect: QRect, index: _Index, selected: bool) -> None:
        theme = self._theme
        busy = index.data(ConversationsModel.busy_role)
        interrupted = index.data(ConversationsModel.interrupted_role)
        room = rect.adjusted(8, 0, -24 if busy or interrupted else -8, 0)
        painter.setFont(theme.font(BODY, bold=selected))
        painter.setPen(theme.color("text"))
        title = painter.fontMetrics().elidedText(index.data(), Qt.TextElideMode.ElideRight, room.width())
        painter.drawText(room, Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignLeft, title)
        if busy or interrupted:
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(theme.color("accent" if busy else "warning"))
            painter.drawEllipse(QPoint(rect.right() - 12, rect.center().y() + 1), 3, 3)
