"""Sampling presets: choose, save the current controls, delete one's own."""

from __future__ import annotations

from PySide6.QtCore import QSignalBlocker, Qt
from PySide6.QtWidgets import QComboBox, QHBoxLayout, QLineEdit, QPushButton, QStackedWidget, QWidget

from views.models.controls import BUILTIN_PRESETS, ControlsModel
from views.panel_parts import tool_button
from views.theme import GRID, Theme

_CHANGED = "Own settings"


class PresetBar(QWidget):
    """A list of presets; shows "Own settings" when the controls equal none of them.

    Args:
        controls: Where presets and controls are.
        theme: Icons.
    """

    def __init__(self, controls: ControlsModel, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._controls = controls
        self.choice = QComboBox()
        self.choice.setObjectName("preset")
        self.choice.setAccessibleName("Preset")
        self.choice.setMinimumContentsLength(12)
        self.choice.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.choice.setToolTip("Sets all controls below at once; the seed stays.")
        self.save_button = tool_button(theme, "save", "Save these settings as a preset", "presetSave")
        self.delete_button = tool_button(theme, "delete", "Delete this preset", "presetDelete")
        self.name = QLineEdit()
        self.name.setObjectName("presetName")
        self.name.setAccessibleName("Name of the new preset")
        self.name.setPlaceholderText("Name of the preset")
        self.confirm = QPushButton("Save")
        self.confirm.setObjectName("presetConfirm")
        self.cancel = tool_button(theme, "close", "Do not save", "presetCancel")
        self._pages = QStackedWidget(self)
        self._pages.addWidget(_row(self.choice, self.save_button, self.delete_button))
        self._pages.addWidget(_row(self.name, self.confirm, self.cancel))
        outer = QHBoxLayout(self)
        outer.setContentsMargins(0, 0, 0, 0)
        outer.addWidget(self._pages)
        self.setSizePolicy(self.sizePolicy().horizontalPolicy(), self.choice.sizePolicy().verticalPolicy())
        self._connect()
        self._refill()

    def _connect(self) -> None:
        self.choice.activated.connect(self._chosen)
        self.save_button.clicked.connect(self._ask_name)
        self.delete_button.clicked.connect(self._delete)
        self.name.textChanged.connect(self._name_edited)
        self.name.returnPressed.connect(self._save)
        self.confirm.clicked.connect(self._save)
        self.cancel.clicked.connect(self._show_choice)
        self._controls.changed.connect(self._show_current)
        self._controls.presets_changed.connect(self._refill)

    def _refill(self) -> None:
        with QSignalBlocker(self.choice):
            self.choice.clear()
            for row, preset in enumerate(self._controls.presets):
                self.choice.addItem(preset.name)
                self.choice.setItemData(row, preset.explanation, Qt.ItemDataRole.ToolTipRole)
        self._show_current()

    def _show_current(self) -> None:
        name = self._controls.current_preset()
        with QSignalBlocker(self.choice):
            extra = self.choice.findText(_CHANGED)
            if name and extra >= 0:
                self.choice.removeItem(extra)
            elif not name and extra < 0:
                self.choice.addItem(_CHANGED)
            self.choice.setCurrentText(name or _CHANGED)
        self.delete_button.setEnabled(bool(name) and all(p.name != name for p in BUILTIN_PRESETS))
        self.save_button.setEnabled(not name)

    def _chosen(self) -> None:
        name = self.choice.currentText()
        if name != _CHANGED:
            self._controls.apply_preset(name)
        self._show_current()

    def _ask_name(self) -> None:
        self.name.clear()
        self._name_edited("")
        self._pages.setCurrentIndex(1)
        self.name.setFocus(Qt.FocusReason.OtherFocusReason)

    def _name_edited(self, text: str) -> None:
        taken = any(preset.name == text.strip() for preset in BUILTIN_PRESETS)
        self.confirm.setEnabled(bool(text.strip()) and not taken)
        self.name.setToolTip("A built-in preset has this name." if taken else "")

    def _save(self) -> None:
        if self._controls.save_preset(self.name.text()):
            self._show_choice()

    def _show_choice(self) -> None:
        self._pages.setCurrentIndex(0)
        self.choice.setFocus(Qt.FocusReason.OtherFocusReason)

    def _delete(self) -> None:
        self._controls.delete_preset(self.choice.currentText())


def _row(main: QWidget, *others: QWidget) -> QWidget:
    page = QWidget()
    row = QHBoxLayout(page)
    row.setContentsMargins(0, 0, 0, 0)
    row.setSpacing(GRID)
    row.addWidget(main, 1)
    for other in others:
        row.addWidget(other)
    return page
