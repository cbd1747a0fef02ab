"""The one place for errors: a bar with the newest, and the list of all."""

from __future__ import annotations

from PySide6.QtCore import QModelIndex, Qt, Signal
from PySide6.QtGui import QGuiApplication, QResizeEvent
from PySide6.QtWidgets import (
    QFrame,
    QHBoxLayout,
    QLabel,
    QListView,
    QPlainTextEdit,
    QPushButton,
    QSizePolicy,
    QStackedWidget,
    QVBoxLayout,
    QWidget,
)

from views.models.faults import Fault, FaultRole, FaultsModel
from views.panel_parts import EmptyPage, Ink, tool_button
from views.sheet import Sheet
from views.theme import CAPTION, GRID, READING, Theme


class FaultsBar(QFrame):
    """The newest failure, until it is dismissed: what happened, what to do. Never takes the keyboard.

    Args:
        faults: The failures.
        theme: Colours and fonts.

    Signals:
        details_requested: Open the list.
        action_requested: (action, :class:`~views.models.faults.Fault`): the remedy that the fault offers.
    """

    details_requested = Signal()
    action_requested = Signal(str, object)

    def __init__(self, faults: FaultsModel, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("faultsBar")
        self.setAccessibleName("Problem")
        self.setAttribute(Qt.WidgetAttribute.WA_StyledBackground)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Maximum)
        self._faults = faults
        sign = QLabel()
        theme.set_icon(sign, "error", "danger", size=20)
        self.message = Ink("", theme, bold=True, wrap=True)
        self.message.setObjectName("faultMessage")
        self.hint = Ink("", theme, wrap=True)
        self.hint.setObjectName("faultHint")
        words = QVBoxLayout()
        words.setSpacing(2)
        words.addWidget(self.message)
        words.addWidget(self.hint)
        self.remedy = QPushButton()
        self.remedy.setObjectName("faultAction")
        details = QPushButton("Details")
        details.setObjectName("faultDetails")
        details.setProperty("kind", "quiet")
        close = tool_button(theme, "close", "Dismiss", "dismissFault")
        self._row = row = QHBoxLayout(self)
        row.setContentsMargins(4 * GRID, 2 * GRID, 2 * GRID, 2 * GRID)
        row.setSpacing(3 * GRID)
        row.addWidget(sign, 0, Qt.AlignmentFlag.AlignTop)
        row.addLayout(words, 1)
        for button in (self.remedy, details, close):
            row.addWidget(button, 0, Qt.AlignmentFlag.AlignVCenter)
        self.remedy.clicked.connect(self._act)
        details.clicked.connect(self.details_requested)
        close.clicked.connect(faults.dismiss)
        faults.latest_changed.connect(self._show)
        self._show(faults.latest)

    def _show(self, fault: Fault | None) -> None:
        if fault is None:
            self.hide()
            return
        if self.parentWidget() is not None:  # without a parent it would be a window of its own
            self.show()
        times = f" ({fault.times} times)" if fault.times > 1 else ""
        self.message.setText(f"{fault.message}{times}")
        self.hint.setText(fault.hint)
        self.hint.setVisible(bool(fault.hint))
        self.remedy.setText(fault.action_label)
        self.remedy.setVisible(bool(fault.action))
        self.setAccessibleDescription(f"{fault.message} {fault.hint}")
        self._fit()

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._fit()

    def _fit(self) -> None:
        """Words are shown whole, whatever room the rest of a small window would like."""
        if not self.isHidden() and self._row.hasHeightForWidth():
            self.setFixedHeight(self._row.totalHeightForWidth(self.width()))

    def _act(self) -> None:
        fault = self._faults.latest
        if fault is not None:
            self.action_requested.emit(fault.action, fault)
            self._faults.dismiss()


class FaultsView(Sheet):
    """All failures of this session, with details to copy.

    Args:
        faults: The failures.
        theme: Colours and fonts.
        parent: The window that it opens over.

    Signals:
        open_log_requested: The user wants to see the log file.
    """

    open_log_requested = Signal()

    def __init__(self, faults: FaultsModel, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__("Problems", theme, width=190 * GRID, height=120 * GRID, parent=parent)
        self.setObjectName("faultsView")
        self._faults = faults
        self.list = QListView()
        self.list.setObjectName("faultsList")
        self.list.setAccessibleName("Problems of this session")
        self.list.setModel(faults)
        self.list.setFixedHeight(32 * GRID)
        self.message = Ink("", theme, size=READING, bold=True, wrap=True)
        self.hint = Ink("", theme, wrap=True)
        self.when = Ink("", theme, tone="muted", size=CAPTION)
        self.details = QPlainTextEdit()
        self.details.setObjectName("faultDetailsText")
        self.details.setAccessibleName("Technical details")
        self.details.setReadOnly(True)
        self.details.setFont(theme.mono(CAPTION))
        self.copy = QPushButton("Copy details")
        self.copy.setObjectName("copyFault")
        self.log = QPushButton("Open the log")
        self.log.setObjectName("openLog")
        self.clear = QPushButton("Clear the list")
        self.clear.setObjectName("clearFaults")
        self.clear.setProperty("kind", "quiet")
        self._pages = QStackedWidget()
        self._pages.addWidget(
            EmptyPage(
                "No problems", "Whatever goes wrong is listed here, with what to do about it.", "", "", theme
            )
        )
        self._pages.addWidget(self._page())
        self.column.addWidget(self._pages, 1)
        buttons = QHBoxLayout()
        buttons.addWidget(self.copy)
        buttons.addWidget(self.log)
        buttons.addStretch(1)
        buttons.addWidget(self.clear)
        self.column.addLayout(buttons)
        self._connect()
        self._refresh()

    def _page(self) -> QWidget:
        page = QWidget()
        column = QVBoxLayout(page)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(2 * GRID)
        for part in (self.list, self.message, self.hint, self.when):
            column.addWidget(part)
        column.addWidget(self.details, 1)
        return page

    def _connect(self) -> None:
        self.copy.clicked.connect(self._copy)
        self.log.clicked.connect(self.open_log_requested)
        self.clear.clicked.connect(self._faults.clear)
        self.list.selectionModel().currentChanged.connect(self._chosen)
        for signal in (self._faults.rowsInserted, self._faults.rowsRemoved, self._faults.modelReset):
            signal.connect(self._refresh)
        self._faults.dataChanged.connect(self._refresh)

    def first_focus(self) -> QWidget:
        """The list."""
        return self.list

    def open_sheet(self, anchor: QWidget | None = None) -> None:
        """Show the newest failure."""
        if self._faults.rowCount():
            self.list.setCurrentIndex(self._faults.index(0))
        super().open_sheet(anchor)

    def report(self) -> str:
        """The chosen failure as text to copy; empty while there is none."""
        fault = self._fault()
        if fault is None:
            return ""
        return "\n".join(
            (f"{fault.when:%Y-%m-%d %H:%M:%S} {fault.kind}", fault.message, fault.hint, fault.details)
        )

    def _fault(self) -> Fault | None:
        index = self.list.currentIndex()
        fault = index.data(FaultRole.FAULT) if index.isValid() else None
        return fault if isinstance(fault, Fault) else None

    def _refresh(self) -> None:
        some = self._faults.rowCount() > 0
        self._pages.setCurrentIndex(1 if some else 0)
        self.copy.setEnabled(some)
        self.clear.setEnabled(some)
        if some and not self.list.currentIndex().isValid():
            self.list.setCurrentIndex(self._faults.index(0))
        self._chosen(self.list.currentIndex())

    def _chosen(self, index: QModelIndex) -> None:
        fault = self._fault()
        if fault is None:
            return
        self.message.setText(fault.message)
        self.hint.setText(fault.hint)
        times = f", {fault.times} times" if fault.times > 1 else ""
        self.when.setText(f"{fault.when:%d %B, %H:%M:%S}{times} · {fault.kind}")
        self.details.setPlainText(fault.details or "No further details.")

    def _copy(self) -> None:
        QGuiApplication.clipboard().setText(self.report())
