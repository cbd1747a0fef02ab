"""A profile that a newer version of the app has written: opened to be read, and copied if wanted."""

from __future__ import annotations

import contextlib
import json
import shutil
from pathlib import Path

from app.history import History, schema
from app.profile import Profile
from app.settings import VERSION, Remembered, SettingsFile


def is_newer(profile: Profile) -> bool:
    """Whether settings or conversations were written by a later version of the app; nothing is changed."""
    return _settings_version(profile.settings_file) > VERSION or schema.version_of(
        profile.history_file
    ) > len(schema.MIGRATIONS)


def copy_for(profile: Profile) -> Path:
    """Where the copy for this version is, or is to be: a folder beside the profile."""
    return profile.data.with_name(f"{profile.data.name}-v{VERSION}.{len(schema.MIGRATIONS)}")


def copy_profile(remembered: Remembered, history: History, target: Path) -> None:
    """Make a profile that this version can write: settings and conversations as far as it knows them.

    Libraries of documents stay where they are.

    Args:
        remembered: The settings as they were read.
        history: The conversations as they were read.
        target: The folder of the new profile.

    Raises:
        OSError: It cannot be written.
    """
    part = target.with_name(f"{target.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    place = Profile.under(part)
    history.copy_to(place.history_file)

    SettingsFile(place.settings_file, _refuse).save(remembered)
    part.rename(target)


def _refuse(
    *, kind: str, message: str, hint: str, details: str = "", action: str = "", action_label: str = ""
) -> None:
    raise OSError(details or message)


def _settings_version(path: Path) -> int:
    with contextlib.suppress(OSError, ValueError):
        values = json.loads(path.read_text(encoding="utf-8"))
        version = values.get("version", 1) if isinstance(values, dict) else 1
        return version if isinstance(version, int) else 1
    return 1
