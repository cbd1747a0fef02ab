"""Numbers as people read them, each with its unit."""

from __future__ import annotations


def format_bytes(count: float) -> str:
    """Bytes in decimal units: ``5.2 GB``, ``812 MB``."""
    for unit, size in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if abs(count) >= size:
            value = count / size
            return f"{value:.0f} {unit}" if abs(value) >= 100 else f"{value:.1f} {unit}"
    return f"{count:.0f} B"


def format_count(count: float) -> str:
    """A large count: ``8.0 B`` parameters, ``27.5 M``, ``128 k``."""
    for unit, size in (("T", 1e12), ("B", 1e9), ("M", 1e6), ("k", 1e3)):
        if abs(count) >= size:
            value = count / size
            return f"{value:.0f} {unit}" if abs(value) >= 100 else f"{value:.1f} {unit}"
    return f"{count:.0f}"


def format_seconds(seconds: float) -> str:
    """A duration: ``35 ms``, ``1.4 s``, ``2 min 5 s``, ``3 h 20 min``."""
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"
