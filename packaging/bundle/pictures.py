"""Whether two pictures of the window show the same.

The same stop of the tour never gives the same bytes twice: clocks, seconds, memory and a caret are in it. The
rule: both pictures in grey, averaged over blocks of 16 x 16 pixels; at most 2 % of the blocks differ by more
than 24 of 255 grey levels. Where words depend on the moment (the temperature is moved while the reply is
written; its picture is taken while it grows), or seconds are drawn as bars, it is 15 %.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageChops

_BLOCK = 16
_LEVELS = 24
_MOST = 0.02
_MOST_OF_TIMED = 0.15
_TIMED = ("chat", "tokens", "branch", "methods")  # as the names of these stops begin


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """How far two pictures of one name are apart: the share of blocks that differ; 1 where one is missing."""

    name: str
    share: float

    @property
    def same(self) -> bool:
        """Whether they show the same."""
        timed = self.name.partition("-")[2].startswith(_TIMED)
        return self.share <= (_MOST_OF_TIMED if timed else _MOST)


def differences(one: Path, other: Path) -> list[Difference]:
    """Compare the pictures of two folders, by name."""
    names = sorted({file.name for folder in (one, other) for file in folder.glob("*.png")})
    return [Difference(name=name, share=difference(one / name, other / name)) for name in names]


def difference(one: Path, other: Path) -> float:
    """The share of blocks that differ; 1 where a picture is missing or of another size."""
    if not (one.exists() and other.exists()):
        return 1.0
    with Image.open(one) as left, Image.open(other) as right:
        if left.size != right.size:
            return 1.0
        size = (max(1, left.width // _BLOCK), max(1, left.height // _BLOCK))
        grey = [picture.convert("L").resize(size, Image.Resampling.BOX) for picture in (left, right)]
    counts = ImageChops.difference(*grey).histogram()
    return sum(counts[_LEVELS + 1 :]) / (size[0] * size[1])
