"""Faults from every corner end in one list and one log."""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from PySide6.QtCore import qWarning

from app.faults import FaultReporter, Hooks, start_log
from views.models.faults import FaultsModel


@pytest.fixture
def model(qapp: object) -> FaultsModel:
    return FaultsModel()


@pytest.fixture
def reporter(model: FaultsModel) -> FaultReporter:
    return FaultReporter(model)


@pytest.fixture
def hooks(reporter: FaultReporter) -> Iterator[Hooks]:
    hooks = Hooks(reporter)
    hooks.install()
    yield hooks
    hooks.remove()


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Path]:
    handler = start_log(tmp_path / "logs" / "app.log")
    yield tmp_path / "logs" / "app.log"
    logging.getLogger().removeHandler(handler)
    handler.close()


def test_an_exception_that_nobody_caught_is_shown_in_words(hooks: Hooks, model: FaultsModel) -> None:
    try:
        raise RuntimeError("the cause")
    except RuntimeError:
        sys.excepthook(*sys.exc_info())  # type: ignore[arg-type]
    (fault,) = model.faults
    assert fault.kind == "internal"
    assert "Traceback" not in fault.message
    assert "the cause" in fault.details


def test_an_exception_on_another_thread_reaches_the_list_on_the_gui_thread(
    hooks: Hooks, model: FaultsModel, qtbot: object
) -> None:
    def fail() -> None:
        raise ValueError("on a thread")

    with qtbot.waitSignal(model.added):  # type: ignore[attr-defined]
        thread = threading.Thread(target=fail)
        thread.start()
        thread.join()
        assert model.faults == ()
    assert "on a thread" in model.faults[0].details


def test_the_same_fault_again_is_counted(reporter: FaultReporter, model: FaultsModel) -> None:
    for _ in range(3):
        reporter.report(kind="disk-full", message="The disk is full.", hint="Free some space.")
    (fault,) = model.faults
    assert fault.times == 3


def test_faults_and_qts_warnings_are_in_the_log(hooks: Hooks, reporter: FaultReporter, log: Path) -> None:
    reporter.report(
        kind="disk-full", message="The disk is full.", hint="Free some space.", details="errno 28"
    )
    qWarning("a warning of Qt")
    text = log.read_text()
    assert "disk-full: The disk is full." in text
    assert "errno 28" in text
    assert "a warning of Qt" in text


def test_the_log_goes_on_in_a_new_file_when_it_is_full(log: Path) -> None:
    for _ in range(30):
        logging.getLogger("test").warning("x" * 100_000)
    assert {file.name for file in log.parent.iterdir()} == {"app.log", "app.log.1", "app.log.2", "app.log.3"}
    assert all(file.stat().st_size <= 1_100_000 for file in log.parent.iterdir())


def test_a_log_that_cannot_be_written_does_not_stop_the_app(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    handler = start_log(tmp_path / "file" / "app.log")
    logging.getLogger().removeHandler(handler)
    assert isinstance(handler, logging.StreamHandler)
