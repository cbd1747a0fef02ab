"""What this program is, which versions it runs with, and its licence."""

from __future__ import annotations

import platform
from collections.abc import Callable
from importlib import metadata

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QGuiApplication
from PySide6.QtWidgets import QHBoxLayout, QLabel, QPushButton, QWidget

from views.panel_parts import Ink, note
from views.sheet import Sheet
from views.theme import CAPTION, GRID, TITLE, Theme

_PACKAGES = ("model-loupe", "torch", "transformers", "bitsandbytes", "accelerate", "PySide6-Essentials")


def versions() -> list[tuple[str, str]]:
    """Names and versions of what matters in a report; nothing is imported for it."""
    found = [("Python", platform.python_version()), ("System", platform.platform())]
    for name in _PACKAGES:
        try:
            found.append((name, metadata.version(name)))
        except metadata.PackageNotFoundError:
            found.append((name, "not installed"))
    return found


class AboutView(Sheet):
    """Name, purpose, licence, versions to copy.

    Args:
        theme: Colours and fonts.
        parent: The window that it opens over.
        read_versions: Where the versions come from.

    Signals:
        licence_requested: The user wants to read the licence.
    """

    licence_requested = Signal()

    def __init__(
        self,
        theme: Theme,
        parent: QWidget | None = None,
        *,
        read_versions: Callable[[], list[tuple[str, str]]] = versions,
    ) -> None:
        super().__init__("About", theme, width=110 * GRID, height=100 * GRID, parent=parent)
        self.setObjectName("aboutView")
        self._read = read_versions
        self.column.addWidget(Ink("Model Loupe", theme, size=TITLE))
        self.column.addWidget(
            Ink(
                "Runs language models on your own machine and shows why they say what they say.",
                theme,
                wrap=True,
            )
        )
        self.column.addWidget(
            note(
                "Nothing leaves this machine but what you send to a server that you entered; else the "
                "network is used only for downloads that you start.",
                theme,
            )
        )
        self.text = QLabel()
        self.text.setObjectName("versions")
        self.text.setFont(theme.mono(CAPTION))
        self.text.setWordWrap(True)
        self.text.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.column.addWidget(self.text)
        self.column.addStretch(1)
        copy, licence = QPushButton("Copy versions"), QPushButton("Licence: Apache-2.0")
        copy.setObjectName("copyVersions")
        licence.setObjectName("showLicence")
        licence.setProperty("kind", "quiet")
        copy.clicked.connect(self._copy)
        licence.clicked.connect(self.licence_requested)
        row = QHBoxLayout()
        row.addWidget(copy)
        row.addWidget(licence)
        row.addStretch(1)
        self.column.addLayout(row)

    def open_sheet(self, anchor: QWidget | None = None) -> None:
        """Read the versions when they are looked at."""
        self.text.setText("\n".join(f"{name}  {version}" for name, version in self._read()))
        super().open_sheet(anchor)

    def _copy(self) -> None:
        QGuiApplication.clipboard().setText(self.text.text())
