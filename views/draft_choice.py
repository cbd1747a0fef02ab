"""Which model guesses ahead for the loaded one."""

from __future__ import annotations

from PySide6.QtCore import QSignalBlocker, Signal
from PySide6.QtWidgets import QComboBox, QHBoxLayout, QLabel, QVBoxLayout, QWidget

from views.models.format import format_bytes
from views.models.model_choice import ModelChoiceModel
from views.panel_parts import Ink
from views.theme import CAPTION, GRID, Theme

_WHY = "A small model of the same vocabulary writes ahead and the loaded one checks it: same text, sooner."


class DraftChoice(QWidget):
    """A list of models beside the loaded one, and what became of the choice; hidden while none is loaded.

    Args:
        model: The models, the loaded one, and its draft model.
        theme: Colours and fonts.

    Signals:
        draft_requested: Source of the model that shall guess ahead; "" for none.
    """

    draft_requested = Signal(str)

    def __init__(self, model: ModelChoiceModel, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._model = model
        self.box = QComboBox()
        self.box.setObjectName("draftModel")
        self.box.setAccessibleName("Draft model")
        self.box.setToolTip(_WHY)
        self.box.setMinimumContentsLength(12)
        self.box.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self._words = Ink("", theme, tone="muted", size=CAPTION, wrap=True)
        self._words.setObjectName("draftState")
        label = QLabel("Guesses ahead")
        label.setBuddy(self.box)
        row = QHBoxLayout()
        row.setSpacing(4 * GRID)
        row.addWidget(label)
        row.addWidget(self.box, 1)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(GRID)
        column.addLayout(row)
        column.addWidget(self._words)
        self.box.activated.connect(self._chosen)
        model.draft.changed.connect(self._show)
        model.loaded_changed.connect(self._show)
        model.modelReset.connect(self._show)
        self._show()

    def _show(self) -> None:
        loaded, draft = self._model.loaded, self._model.draft
        self.setVisible(loaded is not None and loaded.info.remote is None)
        if loaded is None:
            return
        with QSignalBlocker(self.box):
            self.box.clear()
            self.box.addItem("No draft model", "")
            for entry in self._model.entries:
                if not entry.problem and entry.source != loaded.info.source:
                    self.box.addItem(entry.name, entry.source)
            if draft.source and self.box.findData(draft.source) < 0:
                self.box.addItem(draft.loaded.name if draft.loaded else draft.source, draft.source)
            self.box.setCurrentIndex(max(0, self.box.findData(draft.source)))
        self._words.set_tone("muted" if draft.fault is None else "danger")
        self._words.setText(self._state())

    def _state(self) -> str:
        draft = self._model.draft
        if draft.fault is not None:
            return f"{draft.fault.message} {draft.fault.hint}"
        if draft.loading:
            return "Loading, as soon as nothing else is going on …"
        if draft.loaded is not None:
            weights = format_bytes(draft.loaded.memory.weights)
            return f"{draft.loaded.name} guesses ahead; its weights take {weights}."
        return _WHY

    def _chosen(self) -> None:
        self.draft_requested.emit(self.box.currentData())
