"""What panels need is fetched once, after the model, on another thread than the window's."""

from __future__ import annotations

import subprocess
import sys
import threading
from typing import Any

from app.warming import Warming

_PLOTS = """
import threading
from PySide6.QtWidgets import QApplication
from app import warming
qt = QApplication([])
thread = threading.Thread(target=warming._import_all)
thread.start()
thread.join()
import pyqtgraph
plot = pyqtgraph.PlotWidget()
plot.plot([1, 2, 3])
plot.show()
qt.processEvents()
print(plot.thread() is qt.thread())
"""


def test_the_work_is_done_once_behind_the_first_model(qtbot: Any) -> None:
    threads: list[threading.Thread] = []
    warming = Warming(work=lambda: threads.append(threading.current_thread()))
    warming._later.setInterval(1)
    warming.note_busy(7)
    assert not warming._later.isActive()
    warming.note_model(object())
    qtbot.waitUntil(lambda: len(threads) == 1)
    assert threads[0] is not threading.current_thread()
    warming.note_model(object())
    assert not warming._later.isActive()


def test_nothing_is_done_after_the_end(qtbot: Any) -> None:
    warming = Warming(work=lambda: None)
    warming.note_model(object())
    warming.stop()
    warming.note_model(object())
    assert not warming._later.isActive()


def test_plots_work_on_the_windows_thread_afterwards() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _PLOTS],
        env={"QT_QPA_PLATFORM": "offscreen", "PATH": ""},
        capture_output=True,
        text=True,
    )
    assert done.stdout.strip() == "True", done.stderr
