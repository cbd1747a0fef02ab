"""What is remembered between starts: collected from the models, written a moment after a change and at the
end.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from PySide6.QtCore import QObject, QTimer, Slot

from app.settings import Remembered, SettingsFile
from inference.events import SamplingControls
from views.models.controls import ControlsModel
from views.models.model_choice import LoadChoice
from views.models.settings import Settings, SettingsModel

_PAUSE_MS = 800
#: Conversations whose unsent texts are kept.
_MOST_UNSENT = 50


class RememberingController(QObject):
    """Keeps the settings file in step with the models of the window.

    Args:
        file: Where it is written.
        remembered: What was read from it.
        settings: The settings page.
        controls: The sampling controls and presets.
        layout: Gives the window's layout when it is written.
    """

    def __init__(
        self,
        *,
        file: SettingsFile,
        remembered: Remembered,
        settings: SettingsModel,
        controls: ControlsModel,
        layout: Callable[[], bytes],
        parent: QObject | None = None,
    ) -> None:
        super().__init__(parent)
        self._file = file
        self._remembered = remembered
        self._layout = layout
        self._stopped = False
        self._pause = QTimer(self)
        self._pause.setSingleShot(True)
        self._pause.setInterval(_PAUSE_MS)
        self._pause.timeout.connect(self.save)
        settings.changed.connect(self._on_page)
        controls.changed.connect(self._on_controls)
        controls.presets_changed.connect(self._on_presets)
        controls.set_chosen(remembered.controls_chosen)
        controls.chosen_changed.connect(self._on_chosen)

    @property
    def remembered(self) -> Remembered:
        """What will be written."""
        return self._remembered

    @Slot()
    def save(self) -> None:
        """Write now, if anything has changed."""
        self._pause.stop()
        self._remembered = replace(self._remembered, layout=self._layout())
        self._file.save(self._remembered)

    def stop(self) -> None:
        """Take no more notes: what the window does while it closes is not what the user arranged."""
        self._stopped = True
        self._pause.stop()

    @Slot()
    def note_layout(self, *_: object) -> None:
        """The user moved or hid a part of the window."""
        self._note()

    @Slot(str)
    def note_mode(self, name: str) -> None:
        """Remember what the middle shows."""
        self._note(mode=name)

    @Slot(str)
    def note_panel(self, name: str) -> None:
        """Remember what the inspector shows."""
        self._note(panel=name)

    @Slot(object)
    def note_load(self, choice: LoadChoice) -> None:
        """Remember how the last model was loaded."""
        self._note(
            quantization=choice.quantization, device=choice.device, context_length=choice.context_length
        )

    def note_conversation(self, conversation: int | None) -> None:
        """Remember which conversation is open."""
        self._note(conversation=conversation)

    def note_library(self, name: str) -> None:
        """Remember which library of documents is open; an empty name: none was opened."""
        if name:
            self._note(library=name)

    @Slot(str, str)
    def save_system_prompt(self, name: str, text: str) -> None:
        """Remember one of the user's own system prompts."""
        kept = dict(self._remembered.system_prompts) | {name: text}
        self._note(system_prompts=tuple(kept.items()))

    @Slot(str)
    def delete_system_prompt(self, name: str) -> None:
        """Forget one of the user's own system prompts."""
        kept = dict(self._remembered.system_prompts)
        kept.pop(name, None)
        self._note(system_prompts=tuple(kept.items()))

    def template_of(self, source: str) -> str:
        """The user's own chat template for a model; "" if there is none."""
        return dict(self._remembered.templates).get(source, "")

    def keep_template(self, source: str, template: str) -> None:
        """Remember the user's own chat template for a model; "" forgets it."""
        kept = dict(self._remembered.templates) | {source: template}
        self._note(templates=tuple((each, text) for each, text in kept.items() if text))

    def unsent_of(self, conversation: int | None) -> str:
        """What was written in a conversation (None: one that has not begun) and not sent."""
        return dict(self._remembered.unsent).get(conversation or 0, "")

    def keep_unsent(self, conversation: int | None, text: str) -> None:
        """Remember what is written in a conversation; "" forgets it. It is on disk within a second, however
        fast one types.
        """
        number = conversation or 0
        if self._stopped or self.unsent_of(conversation) == text:
            return
        others = [kept for kept in self._remembered.unsent if kept[0] != number]
        mine = [(number, text)] if text else []
        self._remembered = replace(self._remembered, unsent=(*others, *mine)[-_MOST_UNSENT:])
        if not self._pause.isActive():
            self._pause.start()

    @Slot(object)
    def _on_page(self, page: Settings) -> None:
        self._note(page=page)

    @Slot(object)
    def _on_controls(self, controls: SamplingControls) -> None:
        self._note(controls=replace(controls, attention=()))

    @Slot(object)
    def _on_presets(self, presets: tuple[Any, ...]) -> None:
        self._note(presets=presets)

    @Slot(bool)
    def _on_chosen(self, chosen: bool) -> None:
        self._note(controls_chosen=chosen)

    def _note(self, **changes: Any) -> None:
        if self._stopped:
            return
        self._remembered = replace(self._remembered, **changes)
        self._pause.start()
