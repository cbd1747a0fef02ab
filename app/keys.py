"""API keys of servers: in a file of the profile that only its owner may read.

A keyring would need a service that many Linux desktops and all servers lack, and may stop the window with a
password dialog; a file with the permissions of an SSH key works everywhere, and the dialog says where it is.
"""

from __future__ import annotations

import contextlib
import json
import os
import stat
from pathlib import Path

from app.reporting import Report
from app.settings import write_whole
from inference.events import Secret


class KeyStore:
    """Keys by the base URL of their server.

    Args:
        path: The file; made when the first key is kept.
        report: Told when it can't be read or written; never of a key.
        read_only: Keep nothing (another window does).
    """

    def __init__(self, path: Path, report: Report, *, read_only: bool = False) -> None:
        self.path = path
        self._report = report
        self._read_only = read_only
        self._keys: dict[str, str] | None = None

    def get(self, url: str) -> Secret:
        """The key of a server; empty if there is none."""
        return Secret(self._all().get(url, ""))

    def keep(self, url: str, key: str) -> None:
        """Keep a server's key; "" forgets it."""
        keys = {**self._all(), url: key}
        self._keys = {each: text for each, text in keys.items() if text}
        if self._read_only:
            return
        try:
            write_whole(self.path, json.dumps(self._keys, indent=1))  # made with mode 0600
        except OSError as error:
            self._report(
                kind="settings-unwritable",
                message="The API key could not be kept; it holds until the app is closed.",
                hint="Check that the disk is not full and that the folder can be written.",
                details=f"{self.path}\n{error.strerror}",
            )

    def _all(self) -> dict[str, str]:
        if self._keys is None:
            self._keys = self._read()
        return self._keys

    def _read(self) -> dict[str, str]:
        try:
            if stat.S_IMODE(self.path.stat().st_mode) & 0o077 and os.name == "posix":
                with contextlib.suppress(OSError):
                    self.path.chmod(0o600)
            values = json.loads(self.path.read_text("utf-8"))
            return {str(url): str(key) for url, key in values.items()}
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, AttributeError) as error:
            self._report(
                kind="settings-damaged",
                message="The API keys of servers could not be read.",
                hint="Enter them anew (Models, Edit the server).",
                details=f"{self.path}\n{type(error).__name__}",
            )
            return {}
