"""What token healing does at the end of the raw text: what is cut back, and the tokens that fit there."""

from __future__ import annotations

from PySide6.QtCore import QEvent, QPoint, QRect, QSize, Qt
from PySide6.QtGui import QHelpEvent, QPainter, QPaintEvent, QResizeEvent
from PySide6.QtWidgets import QSizePolicy, QToolTip, QVBoxLayout, QWidget

from inference.events import Candidate
from views.models.candidates import visible_token
from views.models.healing import HealingModel
from views.paint import LEVELS, sequential_scale
from views.panel_parts import note
from views.theme import BODY, GRID, Theme


class HealingView(QWidget):
    """Shown while healing is on."""

    def __init__(self, model: HealingModel, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("healingView")
        self.setAccessibleName("Boundary of token healing")
        self._model = model
        self._words = note("", theme)
        self._words.setObjectName("healingWords")
        self.chips = CandidateChips(theme)
        column = QVBoxLayout(self)
        column.setContentsMargins(4 * GRID, 2 * GRID, 4 * GRID, 0)
        column.setSpacing(GRID)
        column.addWidget(self._words)
        column.addWidget(self.chips)
        model.changed.connect(self._show)
        model.switched.connect(self._show)
        self._show()

    def _show(self, *_: object) -> None:
        self.setVisible(self._model.on)
        self._words.setText(self._model.words)
        found = self._model.boundary
        self.chips.set_candidates(found.candidates if found is not None else ())
        self.chips.setVisible(bool(self.chips.candidates))


class CandidateChips(QWidget):
    """Tokens with their share of the probability, likeliest first, in lines; the tint follows the share."""

    def __init__(self, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("healingCandidates")
        self.setAccessibleName("Tokens that fit")
        self.setFont(theme.mono(BODY))
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self._theme = theme
        self.candidates: tuple[Candidate, ...] = ()
        theme.changed.connect(self.update)

    def set_candidates(self, candidates: tuple[Candidate, ...]) -> None:
        """Show these."""
        self.candidates = candidates
        words = ", ".join(f"{visible_token(each.text, each.id)} {_share(each)}" for each in candidates)
        self.setAccessibleDescription(words)
        self._fit()
        self.update()

    def sizeHint(self) -> QSize:
        """As high as its lines."""
        boxes = self.boxes()
        return QSize(200, boxes[-1].bottom() + GRID if boxes else 0)

    def boxes(self) -> list[QRect]:
        """Where each chip is."""
        found, x, y = [], 0, 0
        high = self.fontMetrics().height() + 2 * GRID
        for each in self.candidates:
            wide = self.fontMetrics().horizontalAdvance(_text(each)) + 4 * GRID
            if x and x + wide > self.width():
                x, y = 0, y + high + GRID
            found.append(QRect(x, y, wide, high))
            x += wide + GRID
        return found

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._fit()

    def _fit(self) -> None:
        self.setFixedHeight(self.sizeHint().height())

    def paintEvent(self, event: QPaintEvent) -> None:
        """A tinted box with an underline, the token, its share."""
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        colors = self._theme.colors
        scale = sequential_scale(colors.surface, colors.text)
        for each, box in zip(self.candidates, self.boxes(), strict=True):
            tint = scale[round((each.sampled_prob or 0.0) * (LEVELS - 1))]
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(tint.background)
            painter.drawRoundedRect(box, 4, 4)
            painter.setPen(self._theme.color("text"))
            painter.drawText(box, Qt.AlignmentFlag.AlignCenter, _text(each))

    def event(self, event: QEvent) -> bool:
        """Exact probabilities as a tool tip."""
        if event.type() == QEvent.Type.ToolTip and isinstance(event, QHelpEvent):
            QToolTip.showText(event.globalPos(), self.words_at(event.pos()), self)
            return True
        return super().event(event)

    def words_at(self, point: QPoint) -> str:
        """What is told of the chip at a point."""
        for each, box in zip(self.candidates, self.boxes(), strict=True):
            if box.contains(point):
                share = each.sampled_prob or 0.0
                return f"{each.text!r}: {share:.4f} of what fits, {_nats(each)} by the model itself"
        return ""


def _text(each: Candidate) -> str:
    return f"{visible_token(each.text, each.id)}  {_share(each)}"


def _share(each: Candidate) -> str:
    share = each.sampled_prob or 0.0
    return f"{share:.0%}" if share >= 0.005 else "<1%"


def _nats(each: Candidate) -> str:
    return f"{each.logprob:.2f} nats"
