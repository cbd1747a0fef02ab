"""A page as PDFium drew it, with the cited passage marked."""

from __future__ import annotations

from PySide6.QtCore import QEvent, QObject, QPointF, QRectF, QSize, Qt, QTimer, Signal
from PySide6.QtGui import (
    QColor,
    QImage,
    QMouseEvent,
    QPainter,
    QPaintEvent,
    QPen,
    QPixmap,
    QPolygonF,
    QResizeEvent,
    QTransform,
)
from PySide6.QtWidgets import QFrame, QScrollArea, QWidget

from inference.events import PageRendered
from views.models.page import PageModel
from views.theme import GRID, Theme

_MARK = "#ffd84d"  # a text marker's yellow: the paper is white in both themes
_FOUND, _FOUND_HERE = "#ffd9a8", "#ff9f40"  # places of the words that are looked for, and the one shown
_SELECTED = "#a8cbff"
_REACH = 12.0  # points from a character within which the mouse selects it
_PAUSE_MS = 120


class PageCanvas(QScrollArea):
    """Scrolls over the page; asks for a sharper picture when it is shown larger.

    Signals:
        picture_wanted: A picture of the page that is so many pixels wide.
    """

    picture_wanted = Signal(int)

    def __init__(self, model: PageModel, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setAlignment(Qt.AlignmentFlag.AlignHCenter | Qt.AlignmentFlag.AlignTop)
        self._model = model
        self._paper = _Paper(model, theme)
        self.setWidget(self._paper)
        self._pause = QTimer(self)
        self._pause.setSingleShot(True)
        self._pause.setInterval(_PAUSE_MS)
        self._pause.timeout.connect(self._sharpen)
        self._to_show = self._found_to_show = False
        model.changed.connect(self._show)
        model.opened.connect(self._opened)
        model.found_shown.connect(self._show_found)
        for signal in (model.selected, model.found_changed):
            signal.connect(self._paper.update)
        model.zoom_changed.connect(self._resize_paper)
        self.viewport().installEventFilter(self)

    def wanted_width(self) -> int:
        """Pixels across the page as it is shown now."""
        return max(64, round(self._width() * self.devicePixelRatioF()))

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._resize_paper()

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        if event.type() == QEvent.Type.Wheel and watched is self.viewport():
            modifiers = event.modifiers()  # type: ignore[attr-defined]
            if modifiers & Qt.KeyboardModifier.ControlModifier:
                self._model.zoom_by(1 if event.angleDelta().y() > 0 else -1)  # type: ignore[attr-defined]
                return True
        return False

    def _width(self) -> int:
        room = self.width() - self.verticalScrollBar().sizeHint().width() - 2 * GRID
        return round(max(100, room) * self._model.zoom)

    def _opened(self) -> None:
        self._to_show = True
        self._show()

    def _show(self) -> None:
        self._paper.show_page()
        self._resize_paper()
        if self._model.state == "picture" and self._to_show:
            self._to_show = False
            self._show_area(self._paper.marked_area())
        if self._model.state == "picture" and self._found_to_show:
            self._show_found()

    def _show_found(self) -> None:
        """Bring the place that was found into sight, once its page is there."""
        area = self._paper.found_area()
        self._found_to_show = area.isEmpty()
        if not area.isEmpty():
            self._to_show = False
            self._show_area(area)

    def _resize_paper(self, *_: object) -> None:
        self._paper.set_width(self._width())
        picture = self._model.picture
        if picture is not None and abs(picture.width - self.wanted_width()) > 0.05 * picture.width:
            self._pause.start()

    def _sharpen(self) -> None:
        if self._model.state == "picture" and self.isVisible():
            self.picture_wanted.emit(self.wanted_width())

    def _show_area(self, area: QRectF) -> None:
        """Bring a part of the page into sight, with some of what stands above it."""
        if area.isEmpty():
            self.verticalScrollBar().setValue(0)
            return
        room = self.viewport().height()
        self.verticalScrollBar().setValue(
            round(area.top() - max(0.0, min((room - area.height()) / 2, room / 3)))
        )
        self.horizontalScrollBar().setValue(round(area.left() - 4 * GRID))


class _Paper(QWidget):
    def __init__(self, model: PageModel, theme: Theme) -> None:
        super().__init__()
        self.setObjectName("pagePaper")
        self._model, self._theme = model, theme
        self._picture: PageRendered | None = None
        self._pixmap = QPixmap()
        self._anchor: int | None = None
        self.setMouseTracking(True)

    def show_page(self) -> None:
        """Take over the model's picture."""
        picture = self._model.picture
        if picture is not self._picture:
            self._picture = picture
            self._pixmap = QPixmap() if picture is None else QPixmap.fromImage(_image(picture))
        self.update()

    def set_width(self, width: int) -> None:
        """Show the page so wide."""
        picture = self._picture
        ratio = picture.height / max(picture.width, 1) if picture is not None else 1.414
        size = QSize(width, round(width * ratio))
        if size != self.size():
            self.resize(size)

    def marked_area(self) -> QRectF:
        """Where the marked sentences are."""
        area = QRectF()
        for shape in self._on_paper(self._model.marks()[0]):
            area = area.united(shape.boundingRect())
        return area

    def found_area(self) -> QRectF:
        """Where the words are that are looked for."""
        area = QRectF()
        for shape in self._on_paper(self._model.found_shapes()[1]):
            area = area.united(shape.boundingRect())
        return area

    # --- selecting

    def mousePressEvent(self, event: QMouseEvent) -> None:
        if event.button() == Qt.MouseButton.LeftButton:
            self._anchor = self._character_at(event.position())
            self._model.select(0, 0)

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        if self._anchor is not None and event.buttons() & Qt.MouseButton.LeftButton:
            here = self._character_at(event.position(), within=float("inf"))
            if here is not None:
                self._model.select(min(self._anchor, here), max(self._anchor, here) + 1)
        elif not event.buttons():
            over = self._character_at(event.position()) is not None
            self.setCursor(Qt.CursorShape.IBeamCursor if over else Qt.CursorShape.ArrowCursor)

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        self._anchor = None

    def mouseDoubleClickEvent(self, event: QMouseEvent) -> None:
        here = self._character_at(event.position())
        characters = self._model.characters
        if here is not None and characters is not None:
            self._model.select(*characters.word_at(here))

    def _character_at(self, place: QPointF, within: float = _REACH) -> int | None:
        """The character under the mouse."""
        characters = self._model.characters
        if characters is None or not self.width() or not self.height():
            return None
        point = self._model.point_at(place.x() / self.width(), place.y() / self.height())
        return characters.nearest(*point, within)

    # --- painting

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform)
        painter.fillRect(self.rect(), Qt.GlobalColor.white)
        if not self._pixmap.isNull():
            painter.drawPixmap(self.rect(), self._pixmap)
        strong, passage = self._model.marks()
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setCompositionMode(QPainter.CompositionMode.CompositionMode_Multiply)
        painter.setBrush(QColor(_MARK))
        for shape in self._on_paper(strong):
            painter.drawPolygon(shape)
        others, shown = self._model.found_shapes()
        for color, shapes in (
            (_FOUND, others),
            (_FOUND_HERE, shown),
            (_SELECTED, self._model.selected_shapes()),
        ):
            painter.setBrush(QColor(color))
            for shape in self._on_paper(shapes):
                painter.drawPolygon(shape)
        painter.setCompositionMode(QPainter.CompositionMode.CompositionMode_SourceOver)
        self._paint_passage(painter, self._on_paper(passage))
        painter.setBrush(Qt.BrushStyle.NoBrush)
        painter.setPen(QPen(self._theme.color("border")))
        painter.drawRect(self.rect().adjusted(0, 0, -1, -1))

    def _paint_passage(self, painter: QPainter, shapes: list[QPolygonF]) -> None:
        """A line in the margin, beside everything that the model read."""
        painter.setBrush(self._theme.color("accent"))
        areas = [shape.boundingRect() for shape in shapes]
        for at, area in enumerate(areas):
            # At the edge of the lines, also where the passage begins or ends within one.
            near = (
                o for o in areas[max(at - 4, 0) : at + 5] if abs(o.top() - area.top()) < 3 * area.height()
            )
            edge = min(other.left() for other in near)
            painter.drawRect(QRectF(edge - 8, area.top() - 1, 2, area.height() + 2))

    def _on_paper(self, shapes: list[QPolygonF]) -> list[QPolygonF]:
        scale = QTransform.fromScale(self.width(), self.height())
        return [scale.map(shape) for shape in shapes]


def _image(picture: PageRendered) -> QImage:
    image = QImage(picture.rgb, picture.width, picture.height, 3 * picture.width, QImage.Format.Format_RGB888)
    return image.copy()
