"""The window: header, modes, docks and actions, around widgets that others made."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import pairwise

from PySide6.QtCore import QByteArray, QMimeData, QSize, Qt, Signal
from PySide6.QtGui import (
    QAction,
    QCloseEvent,
    QDragEnterEvent,
    QDragLeaveEvent,
    QDropEvent,
    QGuiApplication,
    QKeySequence,
    QResizeEvent,
    QShortcut,
)
from PySide6.QtWidgets import (
    QLabel,
    QLayout,
    QMainWindow,
    QMenu,
    QSizePolicy,
    QStackedWidget,
    QStatusBar,
    QVBoxLayout,
    QWidget,
)

from views.actions import make_actions
from views.chat_panel import ChatPanel
from views.conversation_list import ConversationList
from views.dock import Dock
from views.header_bar import HeaderBar
from views.inspector import Inspector
from views.intents import ChatIntents
from views.status_line import StatusLine
from views.theme import Theme

#: Modes that are hidden must not make the window wider.
_ROOM, _NO_ROOM = QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Ignored
#: Width and height that the desktop's frame may take, px.
_FRAME = (4, 40)
#: Smallest size: a screen of 1440 x 900 at 200 % is 720 x 450, with a frame. The docks make room, see
#: :meth:`_fit_docks`.
_LEAST = QSize(712, 400)
#: Version of the saved layout; another one is not restored.
_LAYOUT = 1
_MENU = (
    ("newChat", "searchChats"),
    ("openModel", "unloadModel"),
    ("exportMarkdown", "exportJson"),
    ("toggleTokens", "rawMode", "explainSelection"),
    ("showConversations", "showInspector", "showMonitor", "resetLayout"),
    ("openSettings", "showTemplate", "showShortcuts", "showFaults", "showAbout"),
    ("quit",),
)


class MainWindow(QMainWindow):
    """Composed by the caller; further inspector panels and modes are added from outside.

    Signals:
        close_requested: the user closes the window; answered by :meth:`allow_close`.
        mode_shown: another mode is shown: its name.
        resized: the window has another size.
    """

    close_requested = Signal()
    mode_shown = Signal(str)
    resized = Signal()

    def __init__(
        self,
        *,
        header: HeaderBar,
        conversations: ConversationList,
        chat: ChatPanel,
        inspector: Inspector,
        monitor: QWidget,
        status: StatusLine,
        intents: ChatIntents,
        theme: Theme,
    ) -> None:
        super().__init__()
        self.setObjectName("mainWindow")
        self.setWindowTitle("Model Loupe")
        self.setAcceptDrops(True)
        self.setMinimumSize(_LEAST)
        self.header, self.conversations, self.chat = header, conversations, chat
        self.inspector, self.status, self._intents = inspector, status, intents
        self._closable = True
        self._modes: dict[str, QWidget] = {}
        self._whole: set[str] = set()
        self._state_beside = QByteArray()
        # The layout before docks made room in a narrow window, and the width that it needs.
        self._wide_state, self._wide_width = QByteArray(), 0
        self._fitting = False
        self._mode_stack = QStackedWidget(self)
        self._mode_stack.setObjectName("modeStack")
        self.setMenuWidget(header)
        self._middle = QWidget(self)
        self._centre = QVBoxLayout(self._middle)
        self._centre.setContentsMargins(0, 0, 0, 0)
        self._centre.setSpacing(0)
        self._centre.addWidget(self._mode_stack, 1)
        self.setCentralWidget(self._middle)
        self.conversation_dock = Dock("conversationDock", "Conversations", conversations, theme, self)
        self.inspector_dock = Dock("inspectorDock", "Inspector", inspector, theme, self)
        self.monitor_dock = Dock("monitorDock", "Monitor", monitor, theme, self)
        self.setDockNestingEnabled(True)
        # Docks would keep the window as wide as all of them together.
        layout = self.layout()
        assert layout is not None
        layout.setSizeConstraint(QLayout.SizeConstraint.SetNoConstraint)
        self._needed = layout.minimumSize
        for dock in (self.conversation_dock, self.inspector_dock, self.monitor_dock):
            dock.visibilityChanged.connect(
                partial(self._dock_changed, dock), Qt.ConnectionType.QueuedConnection
            )
        self.setStatusBar(_Bottom(status, self))
        self._drop_hint = QLabel("Drop a model folder, a GGUF file or a document", self)
        self._drop_hint.setObjectName("dropHint")
        self._drop_hint.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self._drop_hint.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
        self._drop_hint.hide()
        self.add_mode("chat", "Chat", chat)
        header.mode_changed.connect(self.show_mode)
        self.actions_by_name = make_actions(self)
        self._connect_actions()
        header.set_menu(self._menu())
        status.add_button(self.actions_by_name["showMonitor"], "monitor")
        self.reset_layout()
        self.resize(self._first_size())
        self._set_tab_order()
        chat.composer.field.setFocus()

    def sizeHint(self) -> QSize:
        return self._first_size()

    def _first_size(self) -> QSize:
        offscreen = QGuiApplication.platformName() == "offscreen"  # its screen is seen by nobody
        room = QSize(1920, 1080) if offscreen else self.screen().availableGeometry().size()
        return first_size(room).expandedTo(self.minimumSize())

    # --- modes and panels

    def add_mode(self, name: str, title: str, panel: QWidget, *, whole: bool = False) -> None:
        """Add a panel that takes the place of the chat when its tab in the header is chosen; ``whole``: that
        of the docks beside it, too.
        """
        self._modes[name] = panel
        if whole:
            self._whole.add(name)
        if self._mode_stack.count():
            panel.setSizePolicy(_NO_ROOM, _NO_ROOM)
        self._mode_stack.addWidget(panel)
        self.header.add_mode(name, title)

    def add_banner(self, banner: QWidget) -> None:
        """Put a widget that comes and goes below the modes."""
        self._centre.addWidget(banner)

    @property
    def mode(self) -> str:
        """Name of the mode that is shown."""
        current = self._mode_stack.currentWidget()
        return next((name for name, panel in self._modes.items() if panel is current), "")

    def show_mode(self, name: str) -> None:
        """Show another mode."""
        if name in self._modes and name != self.mode:
            if name in self._whole:
                self._take_docks()
            else:
                self._give_docks()
            self._modes[self.mode].setSizePolicy(_NO_ROOM, _NO_ROOM)
            self._modes[name].setSizePolicy(_ROOM, _ROOM)
            self._mode_stack.setCurrentWidget(self._modes[name])
            self.header.set_mode(name)
            self.mode_shown.emit(name)

    def _take_docks(self) -> None:
        """Hide the docks beside the middle; the layout until now is kept."""
        if self._state_beside.isEmpty():
            self._state_beside = self.saveState(_LAYOUT)
            for dock in (self.conversation_dock, self.inspector_dock):
                if not dock.isFloating():
                    dock.hide()

    def _give_docks(self) -> None:
        """Bring back the docks as they were."""
        if not self._state_beside.isEmpty():
            self.restoreState(self._state_beside, _LAYOUT)
            self._state_beside = QByteArray()
            self._fit_docks()

    def action(self, name: str) -> QAction:
        """The action of this name (see :mod:`views.actions`)."""
        return self.actions_by_name[name]

    # --- the layout

    def reset_layout(self) -> None:
        """Put the docks where they are at a first start."""
        for dock, area in (
            (self.conversation_dock, Qt.DockWidgetArea.LeftDockWidgetArea),
            (self.inspector_dock, Qt.DockWidgetArea.RightDockWidgetArea),
            (self.monitor_dock, Qt.DockWidgetArea.BottomDockWidgetArea),
        ):
            dock.setFloating(False)
            self.addDockWidget(area, dock)
            dock.show()
        self.monitor_dock.hide()
        sides = [self.conversation_dock, self.inspector_dock]
        self.resizeDocks(sides, [224, 372], Qt.Orientation.Horizontal)
        self.resizeDocks([self.monitor_dock], [200], Qt.Orientation.Vertical)
        self._wide_state = QByteArray()
        self._fit_docks()

    def save_layout(self) -> bytes:
        """Size, place and docks, to be given to :meth:`restore_layout` at the next start."""
        geometry = self.saveGeometry().data()
        state = self.saveState(_LAYOUT) if self._state_beside.isEmpty() else self._state_beside
        if not self._wide_state.isEmpty():
            state = self._wide_state
        return len(geometry).to_bytes(4, "big") + geometry + state.data()

    def restore_layout(self, saved: bytes) -> bool:
        """Bring a saved layout back; False (and nothing changed) if it does not fit this version."""
        size = int.from_bytes(saved[:4], "big")
        geometry, state = saved[4 : 4 + size], saved[4 + size :]
        if not state or not self.restoreState(QByteArray(state), _LAYOUT):
            return False
        self._wide_state = QByteArray()
        restored = self.restoreGeometry(QByteArray(geometry))
        self._fit_docks()
        return restored

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._fit_docks()
        self.resized.emit()

    def _dock_changed(self, dock: Dock, _: bool) -> None:
        """A dock was shown or hidden: in a narrow window the other one makes room."""
        self._limit_height()
        if not dock.isHidden() and not dock.isFloating():
            self._fit_docks(keep=dock)

    def _limit_height(self) -> None:
        """Never so low that parts lie over each other, unless the screen is."""
        screen = self.screen().availableGeometry().height() - _FRAME[1]
        self.setMinimumHeight(max(_LEAST.height(), min(self._needed().height(), screen)))

    def _fit_docks(self, keep: Dock | None = None) -> None:
        """Hide docks beside the middle while the window is too narrow for all of them; they come back with
        the room.
        """
        if self._fitting or not self._state_beside.isEmpty():
            return
        self._fitting = True
        if not self._wide_state.isEmpty() and self.width() >= self._wide_width:
            self.restoreState(self._wide_state, _LAYOUT)
            self._wide_state = QByteArray()
        for dock in (self.conversation_dock, self.inspector_dock):
            needed = self._needed().width()
            if needed <= self.width():
                break
            if dock is not keep and not dock.isHidden() and not dock.isFloating():
                if self._wide_state.isEmpty():
                    self._wide_state, self._wide_width = self.saveState(_LAYOUT), needed
                focused = self.focusWidget()
                had_keyboard = focused is not None and dock.isAncestorOf(focused)
                dock.hide()
                if had_keyboard:
                    self._write()
        self._fitting = False

    # --- closing

    def hold_close(self, hold: bool) -> None:
        """While held, closing only emits :attr:`close_requested`: the app finishes its work and closes."""
        self._closable = not hold

    def closeEvent(self, event: QCloseEvent) -> None:
        self.chat.system.flush()
        self.conversations.undo.settle()
        self.close_requested.emit()
        event.setAccepted(self._closable)

    # --- actions

    def _set_tab_order(self) -> None:
        """Reading order: header, list, chat from top to bottom, inspector."""
        stops: list[QWidget] = [self.header.model_button, self.header.menu_button]
        stops += [*self.conversations.tab_stops, *self.chat.tab_stops, self.inspector]
        for before, after in pairwise(stops):
            QWidget.setTabOrder(before, after)

    def _connect_actions(self) -> None:
        chat, conversations = self.chat, self.conversations
        slots: dict[str, Callable[[], object]] = {
            "newChat": conversations.new_requested.emit,
            "searchChats": self._search,
            "send": self._send,
            "stop": self._stop_or_clear,
            "regenerateLast": self._regenerate_last,
            "continueLast": self._continue_last,
            "focusComposer": self._write,
            "toggleTokens": self._toggle_tokens,
            "rawMode": self._toggle_raw,
            "explainSelection": chat.explain_selection,
            "toEnd": chat.scroll_to_end,
            "showConversations": self.conversation_dock.toggle,
            "showInspector": self.inspector_dock.toggle,
            "showMonitor": self.monitor_dock.toggle,
            "resetLayout": self.reset_layout,
            "quit": self.close,
        }
        conversations.new_requested.connect(self._write)
        for name, slot in slots.items():
            self.actions_by_name[name].triggered.connect(slot)
        for number in range(9):
            shortcut = QShortcut(QKeySequence(f"Alt+{number + 1}"), self)
            shortcut.setObjectName(f"inspectorTab{number + 1}")
            shortcut.activated.connect(self._show_tab(number))

    def _menu(self) -> QMenu:
        menu = QMenu(self)
        menu.setObjectName("mainMenu")
        for group in _MENU:
            for name in group:
                menu.addAction(self.actions_by_name[name])
            menu.addSeparator()
        return menu

    def _show_tab(self, number: int) -> Callable[[], None]:
        def show() -> None:
            self.inspector_dock.show()
            self.inspector.show_number(number)

        return show

    def _search(self) -> None:
        self.show_mode("chat")
        self.conversation_dock.show()
        self.conversations.start_search()

    def _write(self) -> None:
        self.show_mode("chat")
        chat = self.chat
        (chat.raw.editor if chat.view == "raw" else chat.composer.field).setFocus()

    def _send(self) -> None:
        if self.mode != "chat":
            return
        if self.chat.view == "raw":
            self.chat.raw.send()
        else:
            self.chat.composer.send()

    def _stop_or_clear(self) -> None:
        """Esc: stop the reply if one is being written, else take the focus away."""
        if self.chat.composer.busy:
            self._intents.stop_requested.emit()
        else:
            self.chat.focus_model.clear()

    def _regenerate_last(self) -> None:
        reply = self.chat.model.last_reply
        if self.mode == "chat" and reply is not None and not self.chat.composer.busy:
            self._intents.regenerate_requested.emit(reply.id)

    def _continue_last(self) -> None:
        reply = self.chat.model.last_reply
        if self.mode == "chat" and reply is not None and not self.chat.composer.busy:
            self._intents.continue_requested.emit(reply.id)

    def _toggle_tokens(self) -> None:
        self.show_mode("chat")
        self.chat.toggle_tokens()

    def _toggle_raw(self) -> None:
        self.show_mode("chat")
        self.chat.show_view("text" if self.chat.view == "raw" else "raw")

    # --- dropped files

    def dragEnterEvent(self, event: QDragEnterEvent) -> None:
        if local_paths(event.mimeData()):
            event.acceptProposedAction()
            self._drop_hint.setGeometry(self._middle.geometry().adjusted(16, 16, -16, -16))
            self._drop_hint.raise_()
            self._drop_hint.show()

    def dragLeaveEvent(self, event: QDragLeaveEvent) -> None:
        self._drop_hint.hide()

    def dropEvent(self, event: QDropEvent) -> None:
        self._drop_hint.hide()
        paths = local_paths(event.mimeData())
        if paths:
            event.acceptProposedAction()
            self._intents.paths_dropped.emit(paths)


class _Bottom(QStatusBar):
    """A status bar that its one widget fills to the edges."""

    def __init__(self, status: StatusLine, parent: QWidget) -> None:
        super().__init__(parent)
        self._status = status
        self.setSizeGripEnabled(False)
        self.setFixedHeight(status.height())
        status.setParent(self)

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._status.setGeometry(self.rect())


def first_size(room: QSize) -> QSize:
    """As large as the layout was made for, or as the screen allows with the desktop's frame around."""
    return QSize(1280, 800).boundedTo(room - QSize(*_FRAME))


def local_paths(data: QMimeData) -> list[str]:
    """Files and folders in dragged data."""
    return [url.toLocalFile() for url in data.urls() if url.isLocalFile()]
