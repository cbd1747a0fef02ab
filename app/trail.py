"""The trail: what happened, without a word of the user's; the part of the log that a crash report holds.

Of a log record it keeps the sentence that the program's author wrote, numbers that were filled into it, the
kind of a fault, and of an exception its type and where it was raised. Texts that were filled in are left out,
and so is everything that other packages say.
"""

from __future__ import annotations

import logging
import logging.handlers
import time
import traceback
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

_BYTES = 200_000
_OWN = ("app", "inference", "views")
_HIDDEN = "…"


def start_trail(path: Path) -> logging.Handler | None:
    """Begin to write the trail; None where it cannot be written."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handler = logging.handlers.RotatingFileHandler(path, maxBytes=_BYTES, backupCount=1, encoding="utf-8")
    except OSError:
        return None
    handler.setFormatter(TrailFormatter())
    logging.getLogger().addHandler(handler)
    return handler


class TrailFormatter(logging.Formatter):
    """One line a record, and a line a frame of an exception."""

    def format(self, record: logging.LogRecord) -> str:
        when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(record.created))
        head = f"{when} {record.levelname} {record.threadName} {record.name}:{record.lineno}"
        lines = [f"{head} {said(record)}".rstrip()]
        if record.exc_info and record.exc_info[0] is not None:
            lines += frames(record.exc_info[0], record.exc_info[2])
        return "\n".join(lines)


def said(record: logging.LogRecord) -> str:
    """The record's sentence without what the user may have written; empty for other packages."""
    if record.name.split(".")[0] not in _OWN:
        return ""
    if trail := getattr(record, "trail", ""):
        return str(trail)
    arguments = record.args or ()
    hidden = (
        {name: _harmless(value) for name, value in arguments.items()}
        if isinstance(arguments, Mapping)
        else tuple(_harmless(value) for value in arguments)
    )
    try:
        text = str(record.msg) % hidden if hidden else str(record.msg)
    except (TypeError, ValueError):
        text = str(record.msg)
    return " ".join(text.split())


def frames(kind: type[BaseException], trace: TracebackType | None) -> list[str]:
    """The type of an exception and the functions that it went through; not its text."""
    places = [
        f"  {place(frame.f_code.co_filename)}:{line} {frame.f_code.co_name}"
        for frame, line in traceback.walk_tb(trace)
    ]
    return [f"  {kind.__module__}.{kind.__qualname__}", *places]


def place(file: str) -> str:
    """A source file by its place in its package, without the folders that it is installed in."""
    parts = file.replace("\\", "/").split("/")
    for marker in ("site-packages", "_internal"):
        if marker in parts:
            return "/".join(parts[parts.index(marker) + 1 :])
    for number, part in enumerate(parts[:-1]):
        if part in _OWN:
            return "/".join(parts[number:])
    return "/".join(parts[-2:])


def _harmless(value: object) -> object:
    return value if isinstance(value, (bool, int, float)) else _HIDDEN
