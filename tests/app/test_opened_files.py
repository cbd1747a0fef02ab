"""Files that the desktop asks the running program to open, as macOS does it."""

from __future__ import annotations

import subprocess
import sys

# A process has one QApplication for good, and the other tests have theirs.
_CODE = """
from PySide6.QtCore import QCoreApplication
from PySide6.QtGui import QFileOpenEvent
from app.opened_files import Application

qt = Application(["model-loupe"])
told = []
qt.files_opened.connect(told.append)
for path in ("/a b.pdf", "/modèle.gguf"):
    QCoreApplication.sendEvent(qt, QFileOpenEvent(path))
assert told == [], told
qt.window_is_ready()
assert told == [["/a b.pdf", "/modèle.gguf"]], told
QCoreApplication.sendEvent(qt, QFileOpenEvent("/c.pdf"))
assert told[1:] == [["/c.pdf"]], told
"""


def test_files_are_told_when_there_is_a_window_to_open_them() -> None:
    done = subprocess.run([sys.executable, "-c", _CODE], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
