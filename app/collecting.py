"""When Python looks for cyclic garbage.

Left alone, it looks through every object now and then, on whichever thread is making one: with torch loaded
and a long conversation open that is up to 0.7 s in which no thread does anything. Here the look through
everything is left out. Young objects are looked through as usual; what has lived for a while is set aside
for good (``gc.freeze``), except that everything is looked through once when a model goes, whose memory may
hang in cycles.
"""

from __future__ import annotations

import gc

from PySide6.QtCore import QObject, QTimer, Slot

_YOUNG, _MIDDLE, _NEVER = 2000, 20, 1_000_000
_WHILE_WRITING_MS, _WHILE_IDLE_MS = 1000, 60_000


class Collector(QObject):
    """Takes over the timing from Python while it is started."""

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._before: tuple[int, int, int] | None = None
        self._writing = QTimer(self)
        self._writing.setInterval(_WHILE_WRITING_MS)
        self._writing.timeout.connect(self.set_aside)
        self._idle = QTimer(self)
        self._idle.setInterval(_WHILE_IDLE_MS)
        self._idle.timeout.connect(self._look_through)

    def start(self) -> None:
        """Take over."""
        self._before = gc.get_threshold()
        gc.set_threshold(_YOUNG, _MIDDLE, _NEVER)
        self._idle.start()

    def stop(self) -> None:
        """Leave it to Python again."""
        self._writing.stop()
        self._idle.stop()
        if self._before is not None:
            gc.set_threshold(*self._before)
            gc.unfreeze()
            self._before = None

    @Slot(object)
    def note_busy(self, conversation: object) -> None:
        """A reply is being written (it makes some 30 objects a token), or none is (None)."""
        if conversation is None:
            self._writing.stop()
            self.set_aside()
        else:
            self._writing.start()

    @Slot(object)
    def note_model(self, loaded: object) -> None:
        """A model came: it and the libraries that it needed stay. Or it went (None): everything is looked
        through.
        """
        if self._before is None:
            return
        if loaded is None:
            gc.unfreeze()
            gc.collect()
        gc.freeze()

    @Slot()
    def set_aside(self) -> None:
        """Collect what was made since the last time and set the rest aside: a few milliseconds."""
        if self._before is not None:
            gc.collect()
            gc.freeze()

    @Slot()
    def _look_through(self) -> None:
        if not self._writing.isActive():
            gc.collect()
