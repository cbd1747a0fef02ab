"""Where a layer's heads look: a thumbnail each, and the matrix of the chosen one."""

from __future__ import annotations

import math

from PySide6.QtCore import QEvent, QPoint, QRect, QRectF, QSize, Qt, Signal
from PySide6.QtGui import QHelpEvent, QImage, QMouseEvent, QPainter, QPaintEvent, QPen
from PySide6.QtWidgets import QSizePolicy, QToolTip, QWidget

from views.models.looking import AttentionModel, Weights
from views.paint import LEVELS, mix, sequential_scale
from views.theme import CAPTION, GRID, Theme
from views.throttle import Throttle

_THUMB = 52


class HeadThumbnails(QWidget):
    """All heads of the layer; a click chooses one.

    Signals:
        head_chosen: Number of the head.
    """

    head_chosen = Signal(int)

    def __init__(self, model: AttentionModel, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("attentionHeads")
        self.setAccessibleName("Heads of the layer")
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self._model, self._theme = model, theme
        self._pictures: dict[int, QImage] = {}
        self._throttle = Throttle(self._refresh, 60, self)
        model.changed.connect(self._throttle.call)
        theme.changed.connect(self._refresh)

    def _columns(self) -> int:
        return max(1, self.width() // (_THUMB + GRID))

    def _refresh(self) -> None:
        self._pictures = {head: picture(part, self._theme) for head, part in self._model.thumbnails.items()}
        rows = math.ceil(len(self._pictures) / self._columns())
        self.setFixedHeight(max(1, rows * (_THUMB + 4 * GRID)))
        self.update()

    def box(self, place: int) -> QRect:
        """Where a thumbnail is."""
        row, column = divmod(place, self._columns())
        return QRect(column * (_THUMB + GRID), row * (_THUMB + 4 * GRID), _THUMB, _THUMB)

    def paintEvent(self, event: QPaintEvent) -> None:
        """Each head with its number."""
        painter = QPainter(self)
        painter.setFont(self._theme.font(CAPTION))
        for place, (head, image) in enumerate(sorted(self._pictures.items())):
            box = self.box(place)
            painter.drawImage(box, image)
            chosen = head == self._model.head and self._model.matrix is not None
            painter.setPen(QPen(self._theme.color("accent" if chosen else "border"), 2 if chosen else 1))
            painter.drawRect(box)
            painter.setPen(self._theme.color("muted"))
            words = QRect(box.left(), box.bottom() + 1, _THUMB, 3 * GRID)
            painter.drawText(words, Qt.AlignmentFlag.AlignHCenter, str(head))

    def mousePressEvent(self, event: QMouseEvent) -> None:
        """Choose the head."""
        for place, head in enumerate(sorted(self._pictures)):
            if self.box(place).contains(event.position().toPoint()):
                self.head_chosen.emit(head)


class AttentionView(QWidget):
    """One head's weights: a row a query, a column a key."""

    def __init__(self, model: AttentionModel, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("attentionView")
        self.setAccessibleName("Attention weights, queries by keys")
        self.setMouseTracking(True)
        policy = QSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setSizePolicy(policy)
        self._model, self._theme = model, theme
        self._picture: QImage | None = None
        self._throttle = Throttle(self._refresh, 60, self)
        model.changed.connect(self._throttle.call)
        theme.changed.connect(self._refresh)

    def sizeHint(self) -> QSize:
        """Square, as wide as the panel."""
        return QSize(300, 300)

    def cell_at(self, point: QPoint) -> tuple[int, int] | None:
        """Row (query) and column (key) at a point."""
        matrix = self._model.matrix
        if matrix is None or not self.rect().contains(point):
            return None
        row = point.y() * len(matrix.rows) // max(1, self.height())
        return row, point.x() * matrix.columns // max(1, self.width())

    def _refresh(self) -> None:
        matrix = self._model.matrix
        self._picture = picture(matrix, self._theme) if matrix is not None else None
        self.update()

    def paintEvent(self, event: QPaintEvent) -> None:
        """The matrix, stretched to the panel."""
        painter = QPainter(self)
        if self._picture is None:
            return
        painter.drawImage(QRectF(self.rect()), self._picture)
        painter.setPen(self._theme.color("border"))
        painter.drawRect(self.rect().adjusted(0, 0, -1, -1))

    def event(self, event: QEvent) -> bool:
        """The exact weight as a tool tip."""
        if event.type() == QEvent.Type.ToolTip and isinstance(event, QHelpEvent):
            cell = self.cell_at(event.pos())
            QToolTip.showText(event.globalPos(), self._model.words(*cell) if cell else "", self)
            return True
        return super().event(event)


def picture(weights: Weights, theme: Theme) -> QImage:
    """Weights as a picture; the colour goes with the square root, so that small weights can be seen."""
    columns = weights.columns
    stride = (columns + 3) // 4 * 4
    data = bytearray(stride * len(weights.rows))
    top = LEVELS - 1
    for number, row in enumerate(weights.rows):
        levels = bytes(min(top, int(math.sqrt(value) * top + 0.5)) if value > 0 else 0 for value in row)
        data[number * stride : number * stride + len(levels)] = levels
    image = QImage(bytes(data), columns, len(weights.rows), stride, QImage.Format.Format_Indexed8)
    colors = theme.colors
    scale = sequential_scale(colors.window, colors.text)
    window = theme.color("window")
    image.setColorTable([mix(window, tint.underline, at / top).rgb() for at, tint in enumerate(scale)])
    return image.copy()
