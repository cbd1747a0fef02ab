"""The seed: a fresh one for each reply, or a fixed one."""

from __future__ import annotations

from PySide6.QtCore import QSignalBlocker, Qt
from PySide6.QtWidgets import QDoubleSpinBox, QHBoxLayout, QLabel, QSizePolicy, QWidget

from inference.events import SamplingControls
from views.models.controls import ControlsModel
from views.panel_parts import Ink, tool_button
from views.theme import CAPTION, GRID, Theme

_RANDOM = -1
#: The largest whole number that a double holds exactly.
MAX_SEED = 2**53 - 1


class SeedSpinBox(QDoubleSpinBox):
    """A whole number from 0 to :data:`MAX_SEED`; -1 reads "random". (QSpinBox ends at 2**31 - 1.)"""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setDecimals(0)
        self.setRange(_RANDOM, MAX_SEED)
        self.setSpecialValueText("random")
        self.setGroupSeparatorShown(False)
        self.setAlignment(Qt.AlignmentFlag.AlignRight)

    def seed(self) -> int | None:
        """The fixed seed, or None for a fresh one."""
        return None if self.value() == _RANDOM else int(self.value())


class SeedField(QWidget):
    """Label, number, the seed that the last reply used, and buttons to keep it or to forget it.

    Args:
        controls: Where the seed is.
        theme: Icons and tones.
    """

    def __init__(self, controls: ControlsModel, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._controls = controls
        sentence = "Same seed, same settings, same machine: same text. Empty or -1 draws a fresh one."
        self.label = QLabel("Seed")
        self.label.setToolTip(sentence)
        self.number = SeedSpinBox()
        self.number.setObjectName("seed")
        self.number.setAccessibleName("Seed")
        self.number.setToolTip(sentence)
        self.label.setBuddy(self.number)
        self.last = Ink("", theme, tone="muted", size=CAPTION, mono=True)
        self.keep_button = tool_button(theme, "check", "Use the seed of the last reply again", "seedKeep")
        self.random_button = tool_button(theme, "reset", "Back to a fresh seed for each reply", "seedRandom")
        policy = self.random_button.sizePolicy()
        policy.setRetainSizeWhenHidden(True)
        self.random_button.setSizePolicy(policy)
        self.last.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        for button in (self.keep_button, self.random_button):
            button.setFixedSize(6 * GRID, 6 * GRID)
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(GRID)
        row.addWidget(self.label)
        row.addWidget(self.last, 1)
        row.addWidget(self.keep_button)
        row.addWidget(self.number)
        row.addWidget(self.random_button)
        self.number.setFixedWidth(self.fontMetrics().horizontalAdvance("0000000000") + 5 * GRID)
        self.number.valueChanged.connect(self._edited)
        self.keep_button.clicked.connect(self._keep_last)
        self.random_button.clicked.connect(self._forget)
        controls.changed.connect(self._show)
        controls.last_seed_changed.connect(self._show_last)
        self._show(controls.controls)
        self._show_last(controls.last_seed)

    def _show(self, controls: SamplingControls) -> None:
        with QSignalBlocker(self.number):
            self.number.setValue(_RANDOM if controls.seed is None else controls.seed)
        self.random_button.setVisible(controls.seed is not None)
        self._show_last(self._controls.last_seed)

    def _show_last(self, seed: int | None) -> None:
        known = seed is not None
        self.last.setText(f"was {seed}" if known else "")
        self.last.setToolTip(f"The last reply was drawn with seed {seed}." if known else "")
        self.keep_button.setVisible(known and self._controls.controls.seed != seed)

    def _edited(self) -> None:
        self._controls.set_seed(self.number.seed())

    def _keep_last(self) -> None:
        self._controls.set_seed(self._controls.last_seed)

    def _forget(self) -> None:
        self._controls.set_seed(None)
