"""The Lens tab: what each layer would say, where each head looks, and which experts do the work."""

from __future__ import annotations

from typing import Any

from PySide6.QtCore import QSignalBlocker, Signal
from PySide6.QtWidgets import (
    QCheckBox,
    QComboBox,
    QHBoxLayout,
    QProgressBar,
    QPushButton,
    QSpinBox,
    QStackedWidget,
    QVBoxLayout,
    QWidget,
)

from views.attention_arrows import AttentionArrows
from views.attention_view import AttentionView, HeadThumbnails
from views.experts_view import ExpertsPage
from views.lens_grid import LensGrid
from views.models.experts import ExpertsModel
from views.models.looking import AttentionModel, LensMeasure, LensModel, LookModel
from views.panel_parts import EmptyPage, Ink, ScrollPage, heading, note
from views.segments import Segments
from views.theme import GRID, Theme

_MEASURES: dict[LensMeasure, str] = {
    "top": "Probability of what it would say",
    "followed": "Probability of the token that comes",
    "rank": "Rank of the token that comes",
    "entropy": "Entropy",
}


class LensPanel(ScrollPage):
    """Three looks inside: the logit lens, attention maps and the routing of experts.

    Signals:
        look_requested: Run the lens on the conversation.
        layer_requested: Show the heads of this layer.
        head_requested: Show this head's matrix.
        cancel_requested: Stop.
        follow_requested: Run the lens again for the rank of the focused token (or of the chosen candidate)
            everywhere: whether on or off.
        position_hovered: The pointer is on the token at this position; None.
        position_chosen: The token at this position was clicked.
        experts_requested: Tell the routing of the conversation.
    """

    experts_requested = Signal()

    follow_requested = Signal(bool)
    position_hovered = Signal(object)
    position_chosen = Signal(int)
    look_requested = Signal()
    layer_requested = Signal(int)
    head_requested = Signal(int)
    cancel_requested = Signal()

    def __init__(
        self,
        lens: LensModel,
        attention: AttentionModel,
        theme: Theme,
        parent: QWidget | None = None,
        *,
        experts: ExpertsModel | None = None,
    ) -> None:
        super().__init__(parent)
        self.setObjectName("lensPanel")
        self._lens, self._attention, self._theme = lens, attention, theme
        mixture = experts if experts is not None else ExpertsModel(self)
        self._pages = QStackedWidget()
        self.looks = Segments(theme)
        self.looks.setAccessibleName("Look at")
        self.looks.add("layers", "Layers", "What the model would say after each layer")
        self.looks.add("heads", "Attention", "Where each head looks")
        self.looks.add("experts", "Experts", "Which experts of a mixture each token is sent to")
        names = ("layers", "heads", "experts")
        self.looks.chosen.connect(lambda name: self._pages.setCurrentIndex(names.index(name)))
        row = QHBoxLayout()
        row.addWidget(self.looks)
        row.addStretch(1)
        self.column.addLayout(row)
        self.column.addWidget(self._pages)
        self.column.addStretch(1)
        self.grid, self.heads = LensGrid(lens, theme), HeadThumbnails(attention, theme)
        self.map = AttentionView(attention, theme)
        self.arrows = AttentionArrows(attention, theme)
        for view in (self.grid, self.arrows):
            view.hovered.connect(self.position_hovered)
            view.chosen.connect(self.position_chosen)
        self._pages.addWidget(self._lens_page())
        self._pages.addWidget(self._attention_page())
        self.experts = ExpertsPage(mixture, theme, _State(mixture, theme, self.cancel_requested))
        self.experts.look_requested.connect(self.experts_requested)
        self._pages.addWidget(self.experts)

    def _lens_page(self) -> QWidget:
        page, column = _page()
        empty = EmptyPage(
            "What would it say if it stopped half-way?",
            "Each layer's state is read as if it were the last. A row is a layer, a column a token of the "
            "text, a cell the token that the model would say next from there.",
            "Look at this conversation",
            "lookNow",
            self._theme,
        )
        empty.layout().setContentsMargins(0, GRID, 0, GRID)  # type: ignore[union-attr]
        empty.clicked.connect(self.look_requested)
        measure = QComboBox()
        measure.setObjectName("lensMeasure")
        measure.setAccessibleName("Colour by")
        measure.setToolTip("Colour by; the louder, the more (for ranks: the better).")
        measure.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        measure.setMinimumContentsLength(12)
        for name, title in _MEASURES.items():
            measure.addItem(title, name)
        measure.activated.connect(lambda _: self._lens.set_measure(measure.currentData()))
        self.follow = QCheckBox()
        self.follow.setObjectName("lensFollow")
        self.follow.setToolTip(
            "Ranks of one token at every position: the one in focus, or the candidate that is chosen in the "
            "Token tab. Otherwise those of the token that really comes."
        )
        self.follow.clicked.connect(self.follow_requested)
        again = QPushButton("Look again")
        again.setObjectName("lookAgain")
        again.clicked.connect(self.look_requested)
        shown = QWidget()
        result = QVBoxLayout(shown)
        result.setContentsMargins(0, 0, 0, 0)
        result.setSpacing(2 * GRID)
        result.addWidget(heading("Colour: from nothing (pale) to certain", self._theme))
        result.addWidget(measure)
        result.addWidget(self.follow)
        result.addWidget(self.grid)
        result.addWidget(
            note(
                "The last layer is on top: it is what the model says. Point at a cell; framed is where the "
                "focused token is decided, a click puts the focus there.",
                self._theme,
            )
        )
        result.addWidget(again)
        column.addWidget(empty)
        column.addWidget(_State(self._lens, self._theme, self.cancel_requested))
        column.addWidget(shown)
        column.addStretch(1)

        def show() -> None:
            known = self._lens.started is not None
            shown.setVisible(known)
            empty.setVisible(not known and self._lens.state != "working")
            again.setEnabled(self._lens.state != "working")
            self._show_follow()

        self._lens.focused_changed.connect(self._show_follow)
        self._lens.state_changed.connect(show)
        self._lens.changed.connect(show)
        show()
        return page

    def _show_follow(self) -> None:
        lens = self._lens
        token = f"“{lens.followed[1]}”" if lens.followed is not None else "the focused token"
        self.follow.setText(f"Rank of {token} everywhere")
        self.follow.setChecked(lens.followed is not None)
        possible = lens.followed is not None or lens.focused is not None
        self.follow.setEnabled(possible and lens.state != "working")

    def _attention_page(self) -> QWidget:
        page, column = _page()
        layer = QSpinBox()
        layer.setObjectName("attentionLayer")
        layer.setAccessibleName("Layer")
        read = QPushButton("Show its heads")
        read.setObjectName("readLayer")
        read.clicked.connect(lambda: self.layer_requested.emit(layer.value()))
        row = QHBoxLayout()
        row.addWidget(Ink("Layer", self._theme))
        row.addWidget(layer)
        row.addWidget(read)
        row.addStretch(1)
        column.addWidget(
            note(
                "Each head's attention: rows are the tokens that look, columns those looked at.", self._theme
            )
        )
        column.addLayout(row)
        column.addWidget(_State(self._attention, self._theme, self.cancel_requested))
        column.addWidget(self.heads)
        arrows = note("Point at a token to see what this head looks at from there.", self._theme)
        hint = note("Click a head to see its matrix; point at it for exact weights.", self._theme)
        column.addWidget(hint)
        column.addWidget(self.map)
        column.addWidget(arrows)
        column.addWidget(self.arrows)
        column.addStretch(1)
        self.heads.head_chosen.connect(self.head_requested)

        def show() -> None:
            with QSignalBlocker(layer):
                layer.setRange(0, max(0, self._attention.layer_count - 1))
                if not self._attention.thumbnails:
                    layer.setValue(self._attention.layer)
            hint.setVisible(bool(self._attention.thumbnails))
            for part in (self.map, arrows, self.arrows):
                part.setVisible(self._attention.matrix is not None)
            read.setEnabled(self._attention.state != "working")

        self._attention.state_changed.connect(show)
        self._attention.changed.connect(show)
        show()
        return page


class _State(QWidget):
    """Progress with a stop button while a look goes on, and what went wrong."""

    def __init__(self, model: LookModel, theme: Theme, cancel: Any) -> None:
        super().__init__()
        self._model = model
        self._bar = QProgressBar()
        self._bar.setRange(0, 0)
        self._bar.setTextVisible(False)
        self._stop = QPushButton("Stop")
        self._stop.clicked.connect(cancel)
        self._problem = Ink("", theme, tone="danger", wrap=True)
        row = QHBoxLayout()
        row.addWidget(self._bar, 1)
        row.addWidget(self._stop)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addLayout(row)
        column.addWidget(self._problem)
        model.state_changed.connect(self._show)
        self._show()

    def _show(self) -> None:
        working = self._model.state == "working"
        self._bar.setVisible(working)
        self._stop.setVisible(working)
        self._problem.setText(self._model.problem)
        self._problem.setVisible(self._model.state == "failed")
        self.setVisible(working or self._model.state == "failed")


def _page() -> tuple[QWidget, QVBoxLayout]:
    page = QWidget()
    column = QVBoxLayout(page)
    column.setContentsMargins(0, 0, 0, 0)
    column.setSpacing(2 * GRID)
    return page, column
