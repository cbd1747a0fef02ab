"""A result in three linked views: tinted text, heat map, ranking; and how methods compare."""

from __future__ import annotations

from PySide6.QtCore import QSignalBlocker, Signal
from PySide6.QtGui import QPixmap
from PySide6.QtWidgets import QComboBox, QHBoxLayout, QMenu, QPushButton, QVBoxLayout, QWidget

from inference.events import Postprocessing
from views.heat_map import HeatMap
from views.method_comparison import MethodComparison
from views.models.explaining import ExplanationModel
from views.models.explanation_scores import ExplanationScores, format_score, one_line, short
from views.models.format import format_seconds
from views.panel_parts import heading, note, tool_button
from views.score_legend import ScoreLegend
from views.score_ranking import ScoreRanking
from views.theme import GRID, Theme
from views.tinted_text import TintedText

#: Pixels.
_PICTURE_WIDTH = 720
_POSTS: dict[Postprocessing, str] = {"none": "With sign", "absolute": "Absolute", "square": "Squared"}


class ExplanationView(QWidget):
    """The result that the model shows; ``whole``: all of it without scrolling or buttons, for pictures.

    Signals:
        export_requested: Write it as "png", "csv" or "json".
    """

    export_requested = Signal(str)

    def __init__(
        self, model: ExplanationModel, theme: Theme, *, whole: bool = False, parent: QWidget | None = None
    ) -> None:
        super().__init__(parent)
        self.setObjectName("explanationPicture" if whole else "explanationView")
        self._whole = whole
        self._model, self._theme = model, theme
        self.text, self.map = TintedText(model, theme, whole=whole), HeatMap(model, theme, whole=whole)
        self.ranking = ScoreRanking(model, theme)
        self.comparison = MethodComparison(model, theme)
        self._title = heading("", theme)
        self._title.setWordWrap(True)
        self._about, self._pointed = note("", theme), note("", theme)
        self._pointed.setObjectName("pointedScore")
        self._map_title = heading("", theme)
        self._all = QPushButton("Show all")
        self._all.setObjectName("showAllSegments")
        self._all.setProperty("kind", "link")
        self._all.setCheckable(True)
        self._build()
        self._all.toggled.connect(self.ranking.show_all)
        self.ranking.count_changed.connect(self._count)
        model.result_changed.connect(self._show)
        model.scores_changed.connect(self._show_about)
        model.state_changed.connect(self._show_about)
        model.pointed_changed.connect(self._show_pointed)
        self._show()

    def _build(self) -> None:
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(2 * GRID)
        head = QHBoxLayout()
        head.addWidget(self._title, 1)
        export = tool_button(self._theme, "export", "Export this explanation", "exportExplanation")
        export.setPopupMode(export.ToolButtonPopupMode.InstantPopup)
        menu = QMenu(export)
        for kind, title in (("png", "Picture (PNG)"), ("csv", "Table (CSV)"), ("json", "Data (JSON)")):
            action = menu.addAction(title)
            action.triggered.connect(lambda _=False, kind=kind: self.export_requested.emit(kind))
        export.setMenu(menu)
        export.setVisible(not self._whole)
        head.addWidget(export)
        column.addLayout(head)
        self._shown = _box("shownMethod", "Method that is shown")
        self._shown.activated.connect(lambda _: self._model.show_method(self._shown.currentData()))
        self._post = _box("postprocessing", "Scores with or without their sign")
        for name, title in _POSTS.items():
            self._post.addItem(title, name)
        self._post.activated.connect(lambda _: self._model.set_post(self._post.currentData()))
        row = QHBoxLayout()
        row.addWidget(self._shown, 1)
        row.addWidget(self._post, 1)
        column.addLayout(row)
        column.addWidget(self._about)
        column.addWidget(ScoreLegend(self._model, self._theme))
        column.addWidget(self._pointed)
        column.addWidget(heading("What the model read", self._theme))
        column.addWidget(self.text)
        column.addSpacing(GRID)
        column.addWidget(self._map_title)
        column.addWidget(self.map)
        column.addSpacing(GRID)
        rank = QHBoxLayout()
        rank.addWidget(heading("Strongest first", self._theme))
        rank.addStretch(1)
        rank.addWidget(self._all)
        column.addLayout(rank)
        column.addWidget(self.ranking)
        column.addWidget(self.comparison)

    def picture(self) -> QPixmap:
        """All of the views, as wide as the target's tokens ask for, for export."""
        copy = ExplanationView(self._model, self._theme, whole=True)
        result = self._model.result
        columns = len(result.targets) if result is not None else 1
        width = max(_PICTURE_WIDTH, 160 + 18 * columns)
        copy.ranking.show_all(True)
        copy.setContentsMargins(4 * GRID, 4 * GRID, 4 * GRID, 4 * GRID)
        for _ in range(2):  # The text's height is known once its width is.
            copy.resize(width, copy.sizeHint().height())
            copy.grab()
        picture = copy.grab()
        copy.deleteLater()
        return picture

    def _show(self) -> None:
        result = self._model.result
        if result is None:
            return
        self._title.setText(title_of(result))
        with QSignalBlocker(self._shown):
            self._shown.clear()
            for name, each in self._model.results.items():
                self._shown.addItem(each.spec.title, name)
            self._shown.setCurrentIndex(self._shown.findData(self._model.shown))
        self._shown.setVisible(len(self._model.results) > 1 and not self._whole)
        self._post.setVisible(result.spec.signed and not self._whole)
        with QSignalBlocker(self._post):
            self._post.setCurrentIndex(self._post.findData(self._model.post))
        several = len(result.targets) > 1
        self._map_title.setText("Parts by tokens of the text" if several else "Parts of the prompt")
        self._show_about()
        self._show_pointed()

    def _show_about(self) -> None:
        result = self._model.result
        if result is not None:
            self._about.setText(about(result))

    def _show_pointed(self) -> None:
        result, segment, row = self._model.result, self._model.segment, self._model.pointed_row
        if result is None:
            return
        if segment is None or segment >= len(result.segments):
            words = "Point at a part to see its exact score."
            if self._model.row is not None:
                target = one_line(result.targets[self._model.row].text)
                words = f"Shown for “{target}” only; click it again for all."
        else:
            several = len(result.rows) > 1
            value = result.value(segment, row if several else None, self._model.post)
            toward = " for the whole text" if several and row is None else ""
            if several and row is not None:
                toward = f" for {one_line(result.targets[row].text)}"
            score = format_score(value, result.spec.unit)
            words = f"{one_line(short(result.segments[segment].text, 40))}: {score}{toward}"
        self._pointed.setText(words)

    def _count(self, count: int) -> None:
        self._all.setText(f"Show all {count}" if not self._all.isChecked() else "Show ten")
        self._all.setVisible(count > 10 and not self._whole)


def title_of(result: ExplanationScores) -> str:
    """What was explained, in words."""
    words = f"Why “{one_line(short(result.target_text))}”"
    return words + (f" and not “{one_line(result.contrast)}”" if result.contrast else "")


def about(result: ExplanationScores) -> str:
    """How a result came about, in words."""
    parts = [result.spec.title]
    if not result.spec.exact:
        parts.append("an estimate")
    parts.append(f"{len(result.segments)} parts ({result.granularity})")
    final = result.final
    if final is not None:
        parts.append(f"{final.forward_passes:,} forward passes")
        parts.append(format_seconds(final.seconds))
    if result.broken and not result.complete:
        parts.append(f"stopped after {result.done} of {result.total}")
    if final is not None and final.preview_correlation is not None:
        parts.append(f"first estimates agreed to {final.preview_correlation:.2f} (rank correlation)")
    if final is not None and final.estimated:
        parts.append(f"{len(final.estimated)} parts share a coarser score")
    if result.steered:
        parts.append("read under the factors of the Steer tab")
    if len(result.rows) > 1:
        parts.append("text and ranking show the sum over its tokens")
    words = " · ".join(parts)
    return f"{words}. {final.note}" if final is not None and final.note else words


def _box(object_name: str, title: str) -> QComboBox:
    box = QComboBox()
    box.setObjectName(object_name)
    box.setAccessibleName(title)
    box.setToolTip(title)
    box.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
    box.setMinimumContentsLength(8)
    return box
