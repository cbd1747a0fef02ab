"""The real app with the built-in model."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from PySide6.QtWidgets import QApplication

from app.bootstrap import App, Options
from app.profile import Profile
from inference.events import SamplingControls
from resources import BUILTIN_MODEL


@pytest.fixture(autouse=True)
def _tidy(nothing_left_running: None) -> None:
    """Every test leaves no thread and no timer."""


@pytest.fixture
def open_app(qapp: QApplication, qtbot: Any, tmp_path: Path) -> Iterator[Callable[[], App]]:
    """Open the window with the built-in model; on the same profile each time."""
    if not (BUILTIN_MODEL / "model.safetensors").exists():
        pytest.skip("the built-in model is not there")
    apps: list[App] = []

    def make() -> App:
        app = App(qapp, Options(profile=Profile.under(tmp_path / "profile")))
        apps.append(app)
        app.show()
        qtbot.waitUntil(lambda: app.models.models.loaded is not None, timeout=120_000)
        app.models.controls.set_controls(SamplingControls(temperature=0.0, max_new_tokens=24, seed=3))
        return app

    yield make
    for app in apps:
        app.widgets.window.close()
        app.engine.shut_down(60)
        app.theme.deleteLater()
        app.widgets.window.deleteLater()
