"""Pictures of the token view's visible pieces, so that a frame paints only what has changed."""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtCore import QPointF
from PySide6.QtGui import QColor, QPainter, QPixmap

from views.reading_column import Item
from views.token_layout import TokenPiece

Paint = Callable[[QPainter, Item, TokenPiece], None]
#: Measure, background colour, width and device pixel ratio.
Key = tuple[object, ...]
#: Underlines and frames may reach so far over the piece's right edge.
_MARGIN = 10


class PiecePictures:
    """A piece is painted directly the first time, and kept as a picture from the second time on.

    The piece that grows while a reply streams is new in each frame, so no picture is made of it in vain.
    """

    def __init__(self) -> None:
        self._seen: dict[TokenPiece, tuple[object, ...]] = {}
        self._pictures: dict[TokenPiece, QPixmap] = {}

    def paint(self, painter: QPainter, item: Item, piece: TokenPiece, key: Key, paint: Paint) -> None:
        """Paint the piece at the painter's origin, by ``paint`` or from its picture."""
        known = (piece.version, *key)
        if self._seen.get(piece) != known:
            self._seen[piece] = known
            self._pictures.pop(piece, None)
            paint(painter, item, piece)
            return
        picture = self._pictures.get(piece)
        if picture is None:
            picture = self._pictures[piece] = self._draw(item, piece, key, paint)
        painter.drawPixmap(QPointF(0, 0), picture)

    def keep_only(self, visible: set[TokenPiece]) -> None:
        """Forget the pictures of all other pieces."""
        for piece in [known for known in self._seen if known not in visible]:
            del self._seen[piece]
            self._pictures.pop(piece, None)

    @staticmethod
    def _draw(item: Item, piece: TokenPiece, key: Key, paint: Paint) -> QPixmap:
        _, ground, width, ratio = key
        assert isinstance(width, float)
        assert isinstance(ratio, float)
        picture = QPixmap(round((width + _MARGIN) * ratio), round(piece.height * ratio))
        picture.setDevicePixelRatio(ratio)
        picture.fill(QColor(str(ground)))
        painter = QPainter(picture)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        paint(painter, item, piece)
        painter.end()
        return picture
