"""Passages that were found: place, score, and the words that match."""

from __future__ import annotations

from typing import cast

from PySide6.QtCore import QModelIndex, QPersistentModelIndex, QPoint, QPointF, QRect, QSize, Qt
from PySide6.QtGui import QFontMetrics, QPainter, QTextLayout, QTextOption
from PySide6.QtWidgets import QFrame, QListView, QStyle, QStyledItemDelegate, QStyleOptionViewItem, QWidget

from inference.events import Source
from views.document_intents import DocumentIntents
from views.models.answers import SentenceInfluence
from views.models.sources import SourceRow, SourcesModel, place_words
from views.paint import diverging
from views.theme import BODY, CAPTION, GRID, Theme

_LINES = 2  # of a passage
_LEFT = 34
_BAR = 49  # px: of a sentence's influence


class SourceList(QListView):
    """A click or Enter opens the passage's page."""

    def __init__(
        self, model: SourcesModel, intents: DocumentIntents, theme: Theme, parent: QWidget | None = None
    ) -> None:
        super().__init__(parent)
        self.setObjectName("sourceList")
        self.setAccessibleName("Passages")
        self._sources, self._intents = model, intents
        self.setModel(model)
        self.setItemDelegate(_SourceDelegate(theme, self))
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setVerticalScrollMode(QListView.ScrollMode.ScrollPerPixel)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setMouseTracking(True)
        self.clicked.connect(self._open)
        self.activated.connect(self._open)
        theme.changed.connect(self.viewport().update)

    def _open(self, index: QModelIndex) -> None:
        row = cast("SourceRow", self._sources.data(index, self._sources.row_role))
        self._intents.source_opened.emit(row.source)


class _SourceDelegate(QStyledItemDelegate):
    def __init__(self, theme: Theme, parent: QWidget) -> None:
        super().__init__(parent)
        self._theme = theme

    def sizeHint(self, option: QStyleOptionViewItem, index: QModelIndex | QPersistentModelIndex) -> QSize:
        line = QFontMetrics(self._theme.font(CAPTION)).lineSpacing()
        if cast("SourceRow", index.data(SourcesModel.row_role)).sentence is not None:
            return QSize(120, line + GRID)
        return QSize(120, QFontMetrics(self._theme.font(BODY)).lineSpacing() + _LINES * line + 4 * GRID)

    def paint(
        self, painter: QPainter, option: QStyleOptionViewItem, index: QModelIndex | QPersistentModelIndex
    ) -> None:
        row = cast("SourceRow", index.data(SourcesModel.row_role))
        rect, state = option.rect, option.state
        painter.save()
        if state & QStyle.StateFlag.State_Selected:
            painter.fillRect(rect, self._theme.color("selection"))
        elif state & QStyle.StateFlag.State_MouseOver:
            painter.fillRect(rect, self._theme.color("hover"))
        if row.sentence is not None:
            self._sentence(painter, rect.adjusted(_LEFT, 0, -3 * GRID, 0), row.sentence)
            painter.restore()
            return
        rows = cast("SourcesModel", index.model()).rows[: index.row()]
        self._number(painter, rect, row, sum(above.sentence is None for above in rows))
        inner = rect.adjusted(_LEFT, 2 * GRID - 2, -3 * GRID, -2 * GRID)
        self._place(painter, inner, row)
        self._snippet(painter, inner, row)
        painter.restore()

    def _number(self, painter: QPainter, rect: QRect, row: SourceRow, at: int) -> None:
        """[n] of a source that the model reads, else the rank of the hit."""
        read = row.kind == "read"
        painter.setFont(self._theme.mono(CAPTION))
        painter.setPen(self._theme.color("accent" if row.source.cited else "text" if read else "faint"))
        words = f"[{row.source.number}]" if read else f"{at + 1}"
        place = QRect(rect.left(), rect.top() + 2 * GRID - 2, _LEFT - GRID, 18)
        painter.drawText(place, Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter, words)

    def _place(self, painter: QPainter, rect: QRect, row: SourceRow) -> None:
        right = _right_words(row)
        small, body = self._theme.mono(CAPTION), self._theme.font(BODY, bold=True)
        taken = QFontMetrics(small).horizontalAdvance(right)
        metrics = QFontMetrics(body)
        line = QRect(rect.left(), rect.top(), rect.width(), metrics.lineSpacing())
        painter.setFont(small)
        flagged = row.source.cited and row.influence is not None and row.influence.weak
        painter.setPen(self._theme.color("warning" if flagged else "muted"))
        painter.drawText(line, Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter, right)
        painter.setFont(body)
        painter.setPen(self._theme.color("muted" if row.kind == "left-out" else "text"))
        words = metrics.elidedText(
            place_words(row.source), Qt.TextElideMode.ElideMiddle, line.width() - taken - 3 * GRID
        )
        painter.drawText(line, Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter, words)

    def _sentence(self, painter: QPainter, rect: QRect, sentence: SentenceInfluence) -> None:
        """Its influence in nats, a bar on the scale of the strongest one, and its words."""
        mono, font = self._theme.mono(CAPTION), self._theme.font(CAPTION)
        wide = QFontMetrics(mono).horizontalAdvance("+00.00")
        painter.setFont(mono)
        painter.setPen(self._theme.color("text"))
        right = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
        painter.drawText(QRect(rect.left(), rect.top(), wide, rect.height()), right, f"{sentence.nats:+.2f}")
        track = QRect(rect.left() + wide + 2 * GRID, rect.center().y() - 3, _BAR, 7)
        painter.fillRect(track, self._theme.color("hover"))
        tint = diverging(sentence.share, self._theme.colors.window, self._theme.colors.text)
        half = _BAR // 2
        length = round(abs(sentence.share) * half)
        left = track.left() + half - (length if sentence.share < 0 else 0)
        painter.fillRect(QRect(left, track.top(), length, track.height()), tint.underline)
        painter.fillRect(
            QRect(track.left() + half, track.top() - 1, 1, track.height() + 2), self._theme.color("faint")
        )
        words = QRect(track.right() + 2 * GRID, rect.top(), 0, rect.height())
        words.setRight(rect.right())
        painter.setFont(font)
        painter.setPen(self._theme.color("muted"))
        fitted = QFontMetrics(font).elidedText(sentence.text, Qt.TextElideMode.ElideRight, words.width())
        painter.drawText(words, Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter, fitted)

    def _snippet(self, painter: QPainter, rect: QRect, row: SourceRow) -> None:
        font = self._theme.font(CAPTION)
        metrics = QFontMetrics(font)
        top = rect.top() + QFontMetrics(self._theme.font(BODY)).lineSpacing() + 2
        painter.setFont(font)
        painter.setPen(self._theme.color("muted"))
        for number, line in enumerate(_lines(snippet(row.source), metrics, rect.width(), font)):
            y = top + number * metrics.lineSpacing()
            painter.drawText(QPoint(rect.left(), y + metrics.ascent()), line)


def snippet(source: Source) -> str:
    """The sentences that match, on one line."""
    return " ".join((source.marked or source.text).split())


def _right_words(row: SourceRow) -> str:
    if row.kind == "left-out":
        return "not read" if not row.source.number else ""
    if row.influence is not None:
        flag = "cited, no influence" if row.source.cited and row.influence.weak else ""
        cited = flag or ("cited" if row.source.cited else "")
        return f"{cited}  rank {row.influence.rank}  {row.influence.nats:+.2f} nats".strip()
    if row.source.cited:
        return f"cited  {row.source.score:.3f}"
    return f"{row.source.score:.3f}"


def _lines(text: str, metrics: QFontMetrics, width: int, font: object) -> list[str]:
    """The text in at most :data:`_LINES` lines, the last one cut with an ellipsis."""
    layout = QTextLayout(text, font)  # type: ignore[call-overload]
    layout.setTextOption(QTextOption(Qt.AlignmentFlag.AlignLeft))
    layout.beginLayout()
    lines: list[str] = []
    while len(lines) < _LINES:
        line = layout.createLine()
        if not line.isValid():
            break
        line.setLineWidth(width)
        line.setPosition(QPointF(0, 0))
        start, length = line.textStart(), line.textLength()
        last = len(lines) == _LINES - 1
        rest = text[start:] if last else text[start : start + length]
        lines.append(metrics.elidedText(rest, Qt.TextElideMode.ElideRight, width) if last else rest)
    layout.endLayout()
    return lines
