"""Where the app keeps its things, and who may write there."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import platformdirs
from PySide6.QtCore import QLockFile

_NAME = "model-loupe"


def hub_cache() -> Path:
    """Where the Hugging Face library keeps models; as it decides, but without importing it."""
    if folder := os.environ.get("HF_HUB_CACHE"):
        return Path(folder).expanduser()
    home = os.environ.get("HF_HOME") or Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")) / "huggingface"
    return Path(home).expanduser() / "hub"


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """The folders of one user of the app."""

    data: Path
    config: Path
    logs: Path

    @classmethod
    def default(cls) -> Profile:
        """The platform's own places."""
        folders = platformdirs.PlatformDirs(_NAME, appauthor=False)
        return cls(data=folders.user_data_path, config=folders.user_config_path, logs=folders.user_log_path)

    @classmethod
    def under(cls, folder: Path) -> Profile:
        """Everything in one folder (``--profile``)."""
        folder = folder.expanduser().resolve()
        return cls(data=folder, config=folder, logs=folder / "logs")

    @property
    def history_file(self) -> Path:
        """The conversations."""
        return self.data / "history.sqlite3"

    @property
    def settings_file(self) -> Path:
        """The settings."""
        return self.config / "settings.json"

    @property
    def keys_file(self) -> Path:
        """The API keys of servers; only its owner may read it."""
        return self.config / "server-keys.json"

    @property
    def log_file(self) -> Path:
        """The newest log."""
        return self.logs / "model-loupe.log"

    def claim(self) -> tuple[QLockFile, bool]:
        """Claim the profile for this process.

        Returns:
            The lock, to be held as long as the app runs, and whether another window has the profile. A lock
            that a killed process left behind is taken over. Where none can be made (the folder cannot be
            written), nobody else has it either.
        """
        with suppress(OSError):
            self.data.mkdir(parents=True, exist_ok=True)
        lock = QLockFile(str(self.data / "in-use.lock"))
        lock.setStaleLockTime(0)
        taken = not lock.tryLock(100) and lock.error() == QLockFile.LockError.LockFailedError
        return lock, taken
