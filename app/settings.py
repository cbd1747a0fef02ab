"""What the app remembers between starts: one JSON file, written whole or not at all.

A value that cannot be read costs that value only, keys that this version does not know are kept, and a file
that is no JSON is set aside. Older files are migrated.
"""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from app.plain import read_fields
from app.reporting import Report
from inference.events import Device, Quantization, SamplingControls, to_json
from views.models.controls import Preset
from views.models.settings import Settings

#: Step N (counted from 1) turns the values of version N into those of version N + 1.
MIGRATIONS: tuple[Callable[[dict[str, Any]], dict[str, Any]], ...] = ()
VERSION = len(MIGRATIONS) + 1

#: Fields of the settings page that are found anew at each start and not stored.
_FOUND_AT_START = ("model_cache", "data_folder", "log_file")


@dataclass(frozen=True, slots=True, kw_only=True)
class Remembered:
    """Everything that is stored.

    Attributes:
        page: What the settings page shows.
        controls: The sampling controls that a new conversation begins with.
        presets: The user's own presets.
        controls_chosen: Whether the user set a preset or a value by hand: what suits a model is not put in
            its place then.
        quantization, device, context_length: How the last model was loaded.
        system_prompts: The user's own system prompts, name and text.
        layout: Qt's own description of the window and its docks.
        conversation: The conversation that was open.
        mode, panel: What the middle and the inspector showed; they come back after a crash.
        library: The library of documents that was open.
        templates: The user's own chat templates, by the source of their model.
        unsent: What was written and not sent, by conversation (0: one that has not begun); the last one
            changed is the last.
    """

    page: Settings = field(default_factory=Settings)
    controls: SamplingControls = field(default_factory=SamplingControls)
    presets: tuple[Preset, ...] = ()
    controls_chosen: bool = False
    quantization: Quantization = "none"
    device: Device = "auto"
    context_length: int | None = None
    system_prompts: tuple[tuple[str, str], ...] = ()
    layout: bytes = b""
    conversation: int | None = None
    mode: str = ""
    panel: str = ""
    library: str = ""
    templates: tuple[tuple[str, str], ...] = ()
    unsent: tuple[tuple[int, str], ...] = ()


class SettingsFile:
    """Reads and writes :class:`Remembered`.

    Args:
        path: The file.
        report: Told when it is damaged or cannot be written.
        read_only: Never write (another window does).
    """

    def __init__(self, path: Path, report: Report, *, read_only: bool = False) -> None:
        self._path = path
        self._report = report
        self._read_only = read_only
        self._unknown: dict[str, Any] = {}
        self._written = ""

    def load(self) -> Remembered:
        """Read the file; never fails."""
        values = self._read()
        page_values = values.pop("page", {})
        page, bad_page = read_fields(Settings, page_values if isinstance(page_values, dict) else {})
        remembered, bad = read_fields(Remembered, values)
        known = {item.name for item in fields(Remembered)}
        self._unknown = {key: value for key, value in values.items() if key not in known}
        if bad or bad_page:
            self._report(
                kind="settings-damaged",
                message="Some settings could not be read and are back at their defaults.",
                hint="Look through the settings once; all others were kept.",
                details=f"{self._path}: {', '.join((*bad, *bad_page))}",
            )
        return replace(remembered, page=page)

    def save(self, remembered: Remembered) -> bool:
        """Write the file if anything has changed; returns whether it is up to date on disk."""
        values = to_json(remembered)
        for name in _FOUND_AT_START:
            values["page"].pop(name, None)
        text = json.dumps(self._unknown | values | {"version": VERSION}, indent=1)
        if self._read_only or text == self._written:
            return not self._read_only
        try:
            write_whole(self._path, text)
        except OSError as error:
            self._report(
                kind="settings-unwritable",
                message="The settings could not be saved.",
                hint="Check that the disk is not full and that the folder can be written.",
                details=f"{self._path}\n{error}",
            )
            return False
        self._written = text
        return True

    def _read(self) -> dict[str, Any]:
        try:
            values = json.loads(self._path.read_text("utf-8"))
            if not isinstance(values, dict):
                raise ValueError("not an object")
            return _migrated(values)
        except FileNotFoundError:
            return {}
        except (ValueError, TypeError, KeyError) as error:
            self._set_aside(error)
        except OSError as error:
            self._report(
                kind="settings-unreadable",
                message="The settings could not be read; the defaults hold.",
                hint="Check the file's permissions.",
                details=f"{self._path}\n{error}",
            )
        return {}

    def _set_aside(self, error: Exception) -> None:
        target = self._path.with_name(f"{self._path.stem}.damaged-{time.strftime('%Y%m%d-%H%M%S')}.json")
        if not self._read_only:
            with contextlib.suppress(OSError):
                self._path.replace(target)
        self._report(
            kind="settings-damaged",
            message="The settings file was damaged; the defaults hold.",
            hint="The file is left as it is."
            if self._read_only
            else f"The damaged file is kept as {target.name}.",
            details=f"{self._path}\n{error}",
        )


def _migrated(values: dict[str, Any]) -> dict[str, Any]:
    version = values.pop("version", 1)
    if not isinstance(version, int) or version < 1:
        raise ValueError(f"version {version!r}")
    for migrate in MIGRATIONS[version - 1 :]:
        values = migrate(values)
    return values


def write_whole(path: Path, text: str) -> None:
    """Write a file so that a crash leaves either the old or the new one, never half of it.

    Raises:
        OSError: It cannot be written; the old one is still there.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    number, name = tempfile.mkstemp(dir=path.parent, prefix=path.name)
    try:
        with os.fdopen(number, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
