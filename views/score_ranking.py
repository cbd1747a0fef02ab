"""The segments as a list, the strongest supporter first; opponents at its end."""

from __future__ import annotations

from PySide6.QtCore import QEvent, QPoint, QRect, QRectF, QSize, Qt, Signal
from PySide6.QtGui import QMouseEvent, QPainter, QPaintEvent
from PySide6.QtWidgets import QSizePolicy, QWidget

from views.models.explaining import ExplanationModel
from views.models.explanation_scores import ExplanationScores, format_score, one_line, relative, short
from views.paint import diverging
from views.theme import CAPTION, GRID, Theme
from views.throttle import Throttle

_ROW = 22
_FEW = 10


class ScoreRanking(QWidget):
    """Ten segments, or all of them: place, text, and a bar with the exact score.

    Signals:
        count_changed: How many segments there are in all.
    """

    count_changed = Signal(int)

    def __init__(self, model: ExplanationModel, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("explanationRanking")
        self.setAccessibleName("Segments by score")
        self.setMouseTracking(True)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self._model, self._theme = model, theme
        self._order: list[int] = []
        self._ranked: ExplanationScores | None = None
        self._places: dict[int, int] = {}
        self._all = False
        self._throttle = Throttle(self.refresh, 150, self)
        model.result_changed.connect(self.refresh)
        model.scores_changed.connect(self._throttle.call)
        model.pointed_changed.connect(self.update)
        theme.changed.connect(self.update)
        self.refresh()

    @property
    def order(self) -> list[int]:
        """The segments that are listed, from the top."""
        return self._order if self._all else _strongest(self._order, self._values())

    def show_all(self, on: bool) -> None:
        """List every segment."""
        self._all = on
        self.refresh()

    def refresh(self) -> None:
        """Sort anew."""
        result = self._ranked = self._model.result
        self._order = [] if result is None else result.ranking(self._model.row, self._model.post)
        self._places = {segment: place for place, segment in enumerate(self._order, start=1)}
        self.count_changed.emit(len(self._order))
        self._describe()
        self.setFixedHeight(max(1, len(self.order) * _ROW))
        self.update()

    def sizeHint(self) -> QSize:
        """One line a segment."""
        return QSize(300, max(1, len(self.order) * _ROW))

    def words(self, segment: int) -> str:
        """A segment's text and exact score."""
        result = self._model.result
        assert result is not None
        value = result.value(segment, self._model.row, self._model.post)
        note = " (preview)" if segment in result.preview else ""
        text = one_line(short(result.segments[segment].text, 200))
        return f"{text}: {format_score(value, result.spec.unit)}{note}"

    def _describe(self) -> None:
        """Screen readers hear the strongest ones."""
        self.setAccessibleDescription("; ".join(self.words(segment) for segment in self.order[:5]))

    def _values(self) -> list[float | None]:
        result = self._model.result
        return [] if result is None else result.values(self._model.row, self._model.post)

    def paintEvent(self, event: QPaintEvent) -> None:
        """Rows that are seen."""
        result = self._model.result
        if result is None or result is not self._ranked:
            return
        painter = QPainter(self)
        painter.setFont(self._theme.mono(CAPTION))
        order, values, scale = self.order, self._values(), result.scale(self._model.post)
        first = max(0, event.rect().top() // _ROW)
        for place in range(first, min(len(order), event.rect().bottom() // _ROW + 1)):
            self._paint_row(painter, place, order[place], values[order[place]], scale)

    def _paint_row(
        self, painter: QPainter, place: int, segment: int, value: float | None, scale: float
    ) -> None:
        result = self._model.result
        assert result is not None
        box = QRect(0, place * _ROW, self.width(), _ROW)
        if segment == self._model.segment:
            painter.fillRect(box, self._theme.color("hover"))
        metrics = painter.fontMetrics()
        number = metrics.horizontalAdvance("000 ")
        score = format_score(value, scale=scale)
        wide = metrics.horizontalAdvance("+0.00e-00") + GRID
        bar = max(24, int(self.width() * 0.22))
        painter.setPen(self._theme.color("faint"))
        middle = Qt.AlignmentFlag.AlignVCenter
        painter.drawText(
            QRect(0, box.top(), number - GRID, _ROW),
            middle | Qt.AlignmentFlag.AlignRight,
            str(self._places[segment]),
        )
        text = QRect(number, box.top(), self.width() - number - wide - bar - 2 * GRID, _ROW)
        painter.setPen(self._theme.color("text"))
        fitted = metrics.elidedText(
            one_line(result.segments[segment].text), Qt.TextElideMode.ElideRight, text.width()
        )
        painter.drawText(text, middle | Qt.AlignmentFlag.AlignLeft, fitted)
        painter.setPen(self._theme.color("muted" if segment in result.preview else "text"))
        at = QRect(text.right() + GRID, box.top(), wide, _ROW)
        painter.drawText(at, middle | Qt.AlignmentFlag.AlignRight, score)
        self._paint_bar(painter, QRectF(self.width() - bar, box.top() + 6, bar, _ROW - 12), value, scale)

    def _paint_bar(self, painter: QPainter, track: QRectF, value: float | None, scale: float) -> None:
        result = self._model.result
        assert result is not None
        share = relative(value, scale)
        painter.fillRect(track, self._theme.color("hover"))
        signed = result.spec.signed and self._model.post == "none"
        tint = diverging(share, self._theme.colors.window, self._theme.colors.text)
        if signed:
            half = track.width() / 2
            left = track.left() + half + min(0.0, share) * half
            painter.fillRect(QRectF(left, track.top(), abs(share) * half, track.height()), tint.underline)
            painter.fillRect(
                QRectF(track.left() + half, track.top() - 2, 1, track.height() + 4),
                self._theme.color("faint"),
            )
        else:
            painter.fillRect(
                QRectF(track.left(), track.top(), share * track.width(), track.height()), tint.underline
            )

    def segment_at(self, point: QPoint) -> int | None:
        """The segment of the line below a point."""
        place, order = point.y() // _ROW, self.order
        return order[place] if 0 <= place < len(order) else None

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        """Point at the segment."""
        segment = self.segment_at(event.position().toPoint())
        self._model.hover(segment)
        self.setToolTip("" if segment is None else self.words(segment))

    def mousePressEvent(self, event: QMouseEvent) -> None:
        """Choose the segment."""
        if event.button() == Qt.MouseButton.LeftButton:
            self._model.choose(self.segment_at(event.position().toPoint()))

    def leaveEvent(self, event: QEvent) -> None:
        """Nothing is pointed at from here."""
        self._model.hover(None)
        super().leaveEvent(event)


def _strongest(order: list[int], values: list[float | None]) -> list[int]:
    """The :data:`_FEW` largest by absolute score, still from supporters to opponents."""
    if len(order) <= _FEW:
        return order
    kept = set(sorted(order, key=lambda index: -abs(values[index] or 0.0))[:_FEW])
    return [index for index in order if index in kept]
