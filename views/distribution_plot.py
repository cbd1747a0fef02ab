"""How one step's distribution flows through the stages of sampling, and what each stage takes away.

One bar a stage, each as wide as the whole probability (100 %). A token's segment is as wide as its
probability and keeps its place, so that bands between the bars show what grew and what shrank; hatched
segments are what the next stage removes.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise, zip_longest

from PySide6.QtCore import QEvent, QPointF, QRectF, QSize, Qt, Signal
from PySide6.QtGui import (
    QBrush,
    QColor,
    QFocusEvent,
    QFontMetricsF,
    QHelpEvent,
    QHideEvent,
    QKeyEvent,
    QMouseEvent,
    QPainter,
    QPainterPath,
    QPaintEvent,
    QPen,
    QPolygonF,
    QShowEvent,
)
from PySide6.QtWidgets import QSizePolicy, QToolTip, QWidget

from inference.events import Token
from views.models.candidates import StepModel, format_probability, visible_token
from views.models.stages import OTHERS, STAGE_TITLES, StageRow, cut_next, effect_of, stage_rows
from views.paint import contrast, mix
from views.theme import CAPTION, GRID, Theme
from views.throttle import Throttle

_BAR, _LINE, _GAP = 5 * GRID, 4 * GRID + 2, 2 * GRID
_MILLISECONDS = 333
#: Bars that there is always room for: raw, penalties, temperature, one cut.
_USUAL_BARS = 4
#: A narrower box has no room for a word, px.
_WORD = 2.5 * GRID
#: A band that is nowhere as wide as this can't be seen, px; there are many of them.
_BAND = 2.0


@dataclass(frozen=True, slots=True)
class _Placed:
    """A row with its place: text baseline box and bar box; ``bar`` is None for a stage that is off."""

    row: StageRow
    line: QRectF
    bar: QRectF | None


class DistributionPlot(QWidget):
    """Paints the stages of one step; hovering or left/right follows one candidate through them.

    While a reply is written it shows about three steps a second: more cannot be read and would cost the
    reply speed. A stage that acted once in a reply keeps its bar, so that nothing below jumps.

    Args:
        step: The step to show.
        theme: Colours and fonts.

    Signals:
        step_shown: The :class:`~inference.events.Token` whose step is painted now, or None.
    """

    step_shown = Signal(object)

    def __init__(self, step: StepModel, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("distributionPlot")
        self.setAccessibleName("Distribution of this step, stage by stage")
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.setMouseTracking(True)
        # Painted some times a second: its parents' backgrounds are not painted below it.
        self.setAttribute(Qt.WidgetAttribute.WA_OpaquePaintEvent)
        self._step, self._theme = step, theme
        self._token: Token | None = None
        self._rows: tuple[StageRow, ...] = ()
        self._with_bar: set[str] = set()
        self._bars = _USUAL_BARS
        self._marked: int | None = None
        self._throttle = Throttle(self._update_rows, _MILLISECONDS, self)
        step.changed.connect(self._step_changed)
        theme.changed.connect(self._take_theme)
        self._take_theme()
        self._update_rows()

    @property
    def rows(self) -> tuple[StageRow, ...]:
        """The stages that are shown."""
        return self._rows

    @property
    def with_bar(self) -> frozenset[str]:
        """Names of the stages that have a bar: those that act, or acted in this reply."""
        return frozenset(self._with_bar)

    @property
    def token(self) -> Token | None:
        """The token whose step is shown."""
        return self._token

    @property
    def marked(self) -> int | None:
        """Number of the candidate that is followed through the stages."""
        return self._marked

    def sizeHint(self) -> QSize:
        """As high as the stages that act need, and never lower than before: the controls below keep their
        place.
        """
        return QSize(260, self._bars * (_LINE + _BAR + _GAP) + _LINE)

    def minimumSizeHint(self) -> QSize:
        """The height cannot shrink."""
        return QSize(120, self.sizeHint().height())

    def describe(self) -> str:
        """The plot in words, for screen readers and tooltips."""
        return "; ".join(
            f"{STAGE_TITLES.get(row.name, row.name)}: {effect_of(row, self._rows)}" for row in self._rows
        )

    # --- following one candidate ----------------------------------------------------------------------------

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        """Follow the candidate under the pointer."""
        self._mark(self._candidate_at(event.position()))

    def hideEvent(self, event: QHideEvent) -> None:
        """Nothing to catch up with while hidden."""
        super().hideEvent(event)
        self._throttle.stop()

    def showEvent(self, event: QShowEvent) -> None:
        """Show the step as it is now."""
        super().showEvent(event)
        self._update_rows()

    def leaveEvent(self, event: QEvent) -> None:
        """Stop following."""
        if not self.hasFocus():
            self._mark(None)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Left and right walk the candidates."""
        token = self._token
        step = {Qt.Key.Key_Left: -1, Qt.Key.Key_Right: 1}.get(Qt.Key(event.key()))
        if step is None or token is None or not token.candidates:
            super().keyPressEvent(event)
            return
        last = len(token.candidates) - 1
        self._mark(min(max((self._marked if self._marked is not None else -1) + step, 0), last))

    def focusInEvent(self, event: QFocusEvent) -> None:
        """Start with the chosen token."""
        super().focusInEvent(event)
        self.setAccessibleDescription(self.describe())
        token = self._token
        by_key = event.reason() in (Qt.FocusReason.TabFocusReason, Qt.FocusReason.BacktabFocusReason)
        if by_key and self._marked is None and token is not None:
            ids = [candidate.id for candidate in token.candidates]
            self._mark(ids.index(token.id) if token.id in ids else None)

    def focusOutEvent(self, event: QFocusEvent) -> None:
        """Stop following."""
        super().focusOutEvent(event)
        self._mark(None)

    def event(self, event: QEvent) -> bool:
        """Explain what is under the pointer."""
        if isinstance(event, QHelpEvent) and event.type() == QEvent.Type.ToolTip:
            QToolTip.showText(event.globalPos(), self._explain(QPointF(event.pos())), self)
            return True
        return super().event(event)

    # --- painting -------------------------------------------------------------------------------------------

    def paintEvent(self, event: QPaintEvent) -> None:
        """Paint bands first, bars over them, words last."""
        token = self._token
        painter = QPainter(self)
        painter.fillRect(event.rect(), self._theme.color("window"))
        if token is None:
            return
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setFont(self._font)
        placed = self._place()
        acting = [(place.row, self._segments(place.row, place.bar)) for place in placed if place.bar]
        painter.setPen(Qt.PenStyle.NoPen)
        for (_, upper), (_, lower) in pairwise(acting):
            self._paint_bands(painter, token, upper, lower)
        for (row, boxes), following in zip_longest(acting, acting[1:]):
            self._paint_bar(painter, token, boxes, cut_next(row, following[0]) if following else ())
        self._paint_words(painter, placed)
        if self.hasFocus():
            painter.setPen(QPen(self._theme.color("accent"), 1))
            painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.drawRoundedRect(QRectF(self.rect()).adjusted(0.5, 0.5, -0.5, -0.5), 4, 4)

    def _place(self) -> list[_Placed]:
        placed, y = [], 0.0
        width = float(self.width())
        idle = [row for row in self._rows if row.name not in self._with_bar]
        for row in self._rows:
            if row.name in self._with_bar:
                placed.append(_Placed(row, QRectF(0, y, width, _LINE), QRectF(0, y + _LINE, width, _BAR)))
                y += _LINE + _BAR + _GAP
        placed += [_Placed(row, QRectF(0, y, width, _LINE), None) for row in idle]
        return placed

    def _segments(self, row: StageRow, bar: QRectF) -> list[tuple[int, QRectF]]:
        """Boxes of the candidates that are left, in their order, then of all other tokens."""
        boxes, x = [], bar.left()
        for number, probability in (*enumerate(row.probs), (OTHERS, row.others)):
            width = probability * bar.width()
            boxes.append((number, QRectF(x, bar.top(), width, bar.height())))
            x += width
        return boxes

    def _shade(self, token: Token, number: int) -> int:
        """Which of the fills a segment has."""
        if number == OTHERS:
            return 0
        if token.candidates[number].id == token.id:
            return 1
        return 3 if number % 2 else 2

    def _paint_bar(
        self, painter: QPainter, token: Token, boxes: list[tuple[int, QRectF]], cut: tuple[int, ...]
    ) -> None:
        """Segments of one fill are painted in one call: each call lets the decode loop's thread in, and
        waits for it.
        """
        shown = {
            number: box.adjusted(0, 0, -1 if box.width() > 3 else 0, 0)
            for number, box in boxes
            if box.width() > 0
        }
        groups: dict[tuple[int, bool], list[QRectF]] = {}
        for number, box in shown.items():
            groups.setdefault((self._shade(token, number), number in cut), []).append(box)
        for (shade, removed), rects in groups.items():
            fill = self._fills[shade]
            painter.setBrush(mix(self._theme.color("window"), fill, 0.35) if removed else fill)
            painter.drawRects(rects)
        removed_boxes = [box for number, box in shown.items() if number in cut]
        if removed_boxes:
            painter.setBrush(QBrush(self._theme.color("text"), Qt.BrushStyle.BDiagPattern))
            painter.drawRects(removed_boxes)
        if OTHERS in shown and OTHERS not in cut:
            painter.fillRect(shown[OTHERS], QBrush(self._theme.color("faint"), Qt.BrushStyle.Dense7Pattern))
        self._paint_tokens(painter, token, {n: box for n, box in shown.items() if n not in cut})
        if self._marked is not None and self._marked in shown:
            painter.setPen(QPen(self._theme.color("text"), 2))
            painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.drawRect(shown[self._marked].adjusted(1, 1, -1, -1))
            painter.setPen(Qt.PenStyle.NoPen)

    def _paint_tokens(self, painter: QPainter, token: Token, boxes: dict[int, QRectF]) -> None:
        """Name the candidates whose segments have room for it."""
        painter.setFont(self._mono)
        for number, box in boxes.items():
            if number == OTHERS or box.width() < _WORD:
                continue
            text = visible_token(token.candidates[number].text, token.candidates[number].id)
            if self._measure.horizontalAdvance(text) + GRID <= box.width():
                painter.setPen(self._inks[self._shade(token, number)])
                painter.drawText(box, Qt.AlignmentFlag.AlignCenter, text)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setFont(self._font)

    def _paint_bands(
        self,
        painter: QPainter,
        token: Token,
        upper: list[tuple[int, QRectF]],
        lower: list[tuple[int, QRectF]],
    ) -> None:
        bands: dict[tuple[int, int], QPainterPath] = {}
        for (number, top), (_, bottom) in zip(upper, lower, strict=True):
            marked = number == self._marked
            if min(top.width(), bottom.width()) <= 0:
                continue
            if max(top.width(), bottom.width()) < _BAND and not marked:
                continue
            corners = [top.bottomLeft(), top.bottomRight(), bottom.topRight(), bottom.topLeft()]
            look = self._shade(token, number), 130 if marked else 45
            bands.setdefault(look, QPainterPath()).addPolygon(QPolygonF(corners))
        for (shade, alpha), path in bands.items():
            color = QColor(self._fills[shade])
            color.setAlpha(alpha)
            painter.fillPath(path, color)

    def _paint_words(self, painter: QPainter, placed: list[_Placed]) -> None:
        muted, text = self._theme.color("muted"), self._theme.color("text")
        idle = [STAGE_TITLES.get(p.row.name, p.row.name) for p in placed if p.bar is None]
        for place in placed:
            if place.bar is None:
                continue
            painter.setPen(text)
            title = STAGE_TITLES.get(place.row.name, place.row.name)
            painter.drawText(place.line, Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter, title)
            painter.setPen(text if place.row.removed > 0 else muted)
            effect = self._marked_effect(place.row) or effect_of(place.row, self._rows)
            painter.drawText(place.line, Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter, effect)
        if idle:
            painter.setPen(self._theme.color("muted"))
            words = f"Without effect: {', '.join(idle)}"
            line = next(p.line for p in placed if p.bar is None)
            fitted = painter.fontMetrics().elidedText(words, Qt.TextElideMode.ElideRight, int(line.width()))
            painter.drawText(line, Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter, fitted)

    def _marked_effect(self, row: StageRow) -> str:
        token = self._token
        if self._marked is None or token is None or self._marked >= len(row.probs):
            return ""
        candidate = token.candidates[self._marked]
        text = visible_token(candidate.text, candidate.id)
        probability = row.probs[self._marked]
        return f"{text}  {format_probability(probability) if probability else 'removed'}"

    # --- what is where --------------------------------------------------------------------------------------

    def _candidate_at(self, point: QPointF) -> int | None:
        for place in self._place():
            if place.bar is not None and place.bar.contains(point):
                for number, box in self._segments(place.row, place.bar):
                    if box.contains(point):
                        return number if number != OTHERS else None
        return None

    def _explain(self, point: QPointF) -> str:
        token = self._token
        number = self._candidate_at(point)
        if token is None or number is None:
            return self.describe().replace("; ", "\n")
        candidate = token.candidates[number]
        lines = [f"{visible_token(candidate.text, candidate.id)}  (id {candidate.id})"]
        for row in self._rows:
            probability = row.probs[number]
            lines.append(f"{STAGE_TITLES.get(row.name, row.name)}: {format_probability(probability)}")
        return "\n".join(lines)

    def _mark(self, number: int | None) -> None:
        if number != self._marked:
            self._marked = number
            self.update()

    def _take_theme(self) -> None:
        surface, text = self._theme.color("window"), self._theme.color("text")
        self._font, self._mono = self._theme.font(CAPTION), self._theme.mono(CAPTION)
        #: All other tokens, the chosen one, and two shades by turns for the other candidates.
        self._fills = (
            mix(surface, text, 0.06),
            self._theme.color("accent"),
            mix(surface, text, 0.24),
            mix(surface, text, 0.34),
        )
        inks = (text, self._theme.color("on_accent"))
        self._inks = [max(inks, key=lambda ink: contrast(ink, fill)) for fill in self._fills]
        self._measure = QFontMetricsF(self._mono)
        self.update()

    def _step_changed(self) -> None:
        if self._step.pinned or self._step.token is None:
            self._throttle.stop()
            self._update_rows()
        else:
            self._throttle.call()

    def _update_rows(self) -> None:
        token, before = self._step.token, self._token
        height = self.sizeHint().height()
        if token is None or before is None or token.run_id != before.run_id:
            self._with_bar = set()
        self._token = token
        self._rows = stage_rows(token.stages if token is not None else ())
        self._with_bar |= {row.name for row in self._rows if row.acts}
        self._bars = max(self._bars, len(self._with_bar))
        if self._marked is not None and (token is None or self._marked >= len(token.candidates)):
            self._marked = None
        if self.sizeHint().height() != height:
            self.updateGeometry()
        if self.hasFocus():
            self.setAccessibleDescription(self.describe())
        self.update()
        self.step_shown.emit(token)
