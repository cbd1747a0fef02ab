"""Score -> colour: one sequential map, one diverging map, text that stays readable on both.

Sequential: cividis (Nunez, Anderton, Renslow 2018, doi:10.1371/journal.pone.0199239), which reads the same
with and without colour blindness. Diverging: teal supports, orange opposes. Tints are mixed into the theme's
surface only as far as the theme's text keeps a contrast of 4.5:1 on them (WCAG 2.1, 1.4.3), and strength is
also shown by the weight of an underline, so that colour alone never carries a value.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from PySide6.QtGui import QColor

#: Contrast that text keeps on every tint.
MIN_CONTRAST = 4.5
#: Steps of a scale; neighbours cannot be told apart by eye.
LEVELS = 64

_CIVIDIS_HEX = (
    "00204d 002559 002b68 00306f 05366e 1e3b6d 2c416c 37476b 404d6b 49526b 51586c "
    "595e6d 60646f 676970 6e6f73 757575 7c7b78 848179 8b8779 938e78 9b9477 a39a76 "
    "aca174 b4a871 bcaf6f c5b56b cebc67 d7c463 e0cb5d e9d357 f2da4f fbe247 ffea46"
)
_CIVIDIS = tuple(QColor(f"#{_CIVIDIS_HEX[at : at + 6]}") for at in range(0, len(_CIVIDIS_HEX), 7))
_TEAL = "#0b8f87"
_ORANGE = "#d9700d"


@dataclass(frozen=True, slots=True)
class Tint:
    """How one value is shown: the colour behind the text, that of its underline, and the underline's width
    in px.
    """

    background: QColor
    underline: QColor
    weight: float


def luminance(color: QColor) -> float:
    """Relative luminance of a colour, 0 to 1 (WCAG 2.1)."""

    def linear(value: float) -> float:
        return value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4

    return 0.2126 * linear(color.redF()) + 0.7152 * linear(color.greenF()) + 0.0722 * linear(color.blueF())


def contrast(first: QColor, second: QColor) -> float:
    """Contrast ratio of two colours, 1 to 21 (WCAG 2.1)."""
    light, dark = sorted((luminance(first), luminance(second)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def mix(base: QColor, color: QColor, share: float) -> QColor:
    """``base`` with ``share`` (0 to 1) of ``color`` in it."""
    return QColor.fromRgbF(
        *(
            low + (high - low) * share
            for low, high in zip(base.getRgbF()[:3], color.getRgbF()[:3], strict=True)  # type: ignore[index]
        )
    )


def cividis(position: float) -> QColor:
    """The map's colour at ``position``, 0 (dark blue) to 1 (yellow)."""
    place = min(max(position, 0.0), 1.0) * (len(_CIVIDIS) - 1)
    left = min(int(place), len(_CIVIDIS) - 2)
    return mix(_CIVIDIS[left], _CIVIDIS[left + 1], place - left)


def readable(surface: QColor, color: QColor, share: float, text: QColor) -> QColor:
    """``surface`` with at most ``share`` of ``color``: as much as leaves ``text`` readable on it."""
    tint = mix(surface, color, share)
    while contrast(tint, text) < MIN_CONTRAST and share > 0.0:
        share = max(0.0, share - 0.02)
        tint = mix(surface, color, share)
    return tint


@lru_cache(maxsize=8)
def sequential_scale(surface: str, text: str) -> tuple[Tint, ...]:
    """:data:`LEVELS` tints from "as expected" to "unexpected" for a theme's surface and text colours.

    The loud end is the map's end that stands out from the surface: dark blue on light, yellow on dark, where
    the part of the map that is darker than the surface is left out.
    """
    base, ink = QColor(surface), QColor(text)
    dark = luminance(base) < 0.2
    tints = []
    for level in range(LEVELS):
        t = level / (LEVELS - 1)
        color = cividis(0.25 + 0.75 * t if dark else 1.0 - t)
        share = 0.06 + 0.30 * t if dark else 0.06 + 0.44 * t
        tints.append(Tint(readable(base, color, share, ink), _underline(base, color), _weight(t)))
    return tuple(tints)


@lru_cache(maxsize=8)
def diverging_scale(surface: str, text: str) -> tuple[Tint, ...]:
    """``2 * LEVELS - 1`` tints from -1 (orange, opposes) over 0 (nothing) to +1 (teal, supports)."""
    base, ink = QColor(surface), QColor(text)
    tints = []
    for level in range(1 - LEVELS, LEVELS):
        t = abs(level) / (LEVELS - 1)
        color = QColor(_TEAL if level > 0 else _ORANGE)
        tints.append(Tint(readable(base, color, 0.75 * t, ink), _underline(base, color), _weight(t)))
    return tuple(tints)


def sequential(prominence: float, surface: str, text: str) -> Tint:
    """The tint of a value, 0 (as expected) to 1 (unexpected)."""
    level = round(min(max(prominence, 0.0), 1.0) * (LEVELS - 1))
    return sequential_scale(surface, text)[level]


def diverging(score: float, surface: str, text: str) -> Tint:
    """The tint of a signed score, -1 to 1; positive supports."""
    level = round(min(max(score, -1.0), 1.0) * (LEVELS - 1))
    return diverging_scale(surface, text)[level + LEVELS - 1]


def _weight(t: float) -> float:
    """Width of the underline: none below an eighth of the scale, then up to 3 px."""
    return 0.0 if t < 0.125 else 1.0 + 2.0 * t


def _underline(surface: QColor, color: QColor) -> QColor:
    """The colour at a strength that can be seen as a line on the surface (3:1, WCAG 2.1, 1.4.11)."""
    toward = QColor("white") if luminance(surface) < 0.2 else QColor("black")
    share = 0.0
    line = color
    while contrast(line, surface) < 3.0 and share < 1.0:
        share += 0.05
        line = mix(color, toward, share)
    return line
