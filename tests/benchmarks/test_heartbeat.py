"""The heartbeat that the benchmarks of the window go by."""

from __future__ import annotations

import time
from typing import Any

from app.bench.heartbeat import Heartbeat


def test_a_blocked_gui_thread_is_seen_as_a_late_tick(qtbot: Any) -> None:
    heart = Heartbeat()
    heart.start()
    qtbot.waitUntil(lambda: len(heart._late) > 5)
    time.sleep(0.2)
    qtbot.waitUntil(lambda: max(heart._late) > 0.1)
    stalls = heart.stop()
    assert stalls.longest >= 190
    assert stalls.p50 < stalls.longest
    assert stalls.ticks > 6
