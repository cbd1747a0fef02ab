"""Places in a text: Python counts characters, Qt counts UTF-16 units."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Edit:
    """What changed between two versions of a text: ``old[start:old_end]`` became ``new[start:new_end]``."""

    start: int
    old_end: int
    new_end: int

    def moved(self, start: int, end: int) -> tuple[int, int] | None:
        """Where characters of the old text are in the new one; None if the edit touched them."""
        if end <= self.start:
            return start, end
        if start >= self.old_end:
            shift = self.new_end - self.old_end
            return start + shift, end + shift
        return None


def edit_between(old: str, new: str) -> Edit:
    """The shortest single replacement that makes one text the other."""
    most = min(len(old), len(new))
    start = next((place for place in range(most) if old[place] != new[place]), most)
    tail = 0
    while tail < most - start and old[-1 - tail] == new[-1 - tail]:
        tail += 1
    return Edit(start, len(old) - tail, len(new) - tail)


def to_characters(text: str, *units: int) -> list[int]:
    """Qt's places in a text as Python's."""
    encoded = text.encode("utf-16-le", errors="surrogatepass")
    return [len(encoded[: 2 * unit].decode("utf-16-le", errors="ignore")) for unit in units]


def to_units(text: str, *places: int) -> list[int]:
    """Python's places in a text as Qt's."""
    return [len(text[:place].encode("utf-16-le", errors="surrogatepass")) // 2 for place in places]
