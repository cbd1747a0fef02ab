"""The settings that the user can change; the app stores them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

from PySide6.QtCore import QObject, Signal

from inference.events import Overflow, Server

Theme = Literal["system", "light", "dark"]
SendKey = Literal["enter", "ctrl-enter"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything that the settings page shows.

    Attributes:
        theme: "system" follows the desktop.
        send_key: "enter" sends with Enter (Shift+Enter breaks the line); "ctrl-enter" the other way round.
        overflow: What happens when the context is full.
        candidates: How many alternatives are recorded for each token.
        score_prompt: Whether the prompt's tokens get probabilities as well.
        prompt_lookup: Whether tokens are guessed ahead from what the text has said before.
        token_healing: Whether the end of a raw prompt is cut back to where tokens fit; set in raw mode.
        model_folders: Folders that are searched for models.
        load_last_model: Whether the model of last time is loaded at start.
        last_model: Source of that model; not shown.
        servers: Models on servers; entered in the model picker. Their keys are kept elsewhere.
        library_store: Where new libraries of documents keep their passages: a folder, the URI of an object
            store or of a LanceDB server; empty: in the app's data folder.
        model_cache: The Hugging Face cache; shown, not changed here.
        data_folder: Where conversations and settings are; shown, not changed here.
        log_file: The log; shown, not changed here.
    """

    theme: Theme = "system"
    send_key: SendKey = "enter"
    overflow: Overflow = "stop"
    candidates: int = 20
    score_prompt: bool = True
    prompt_lookup: bool = False
    token_healing: bool = False
    model_folders: tuple[str, ...] = ()
    load_last_model: bool = True
    last_model: str = "builtin"
    servers: tuple[Server, ...] = ()
    library_store: str = ""
    model_cache: str = ""
    data_folder: str = ""
    log_file: str = ""


class SettingsModel(QObject):
    """Holds one immutable :class:`Settings`.

    Signals:
        changed: The new :class:`Settings`.
    """

    changed = Signal(object)

    def __init__(self, settings: Settings | None = None, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._settings = settings if settings is not None else Settings()

    @property
    def settings(self) -> Settings:
        """The settings that hold now."""
        return self._settings

    def set_settings(self, settings: Settings) -> None:
        """Replace all settings; nothing is announced when they are equal."""
        if settings != self._settings:
            self._settings = settings
            self.changed.emit(settings)

    def update(self, **changes: Any) -> None:
        """Change single fields by name."""
        self.set_settings(replace(self._settings, **changes))
