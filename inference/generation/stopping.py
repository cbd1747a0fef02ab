"""Stop strings, found exactly although they may begin in one token and end in another."""

from __future__ import annotations

from collections.abc import Sequence


class StopStrings:
    """Passes text on, but holds back what may be the beginning of a stop string until that is ruled out.

    The strings may change between two pushes. Where two strings end at the same place the one that begins
    first wins, so the text that is passed on never contains any part of a match.
    """

    def __init__(self, stops: Sequence[str] = ()) -> None:
        self._stops: tuple[str, ...] = ()
        self._held = ""
        self.change(stops)

    def change(self, stops: Sequence[str]) -> None:
        """Look for other strings from now on; text that was already passed on stays."""
        self._stops = tuple(stop for stop in stops if stop)

    @property
    def held(self) -> str:
        """The text that is held back."""
        return self._held

    def push(self, text: str) -> tuple[str, bool]:
        """Add text.

        Returns:
            The text that may be shown, and whether a stop string was found. After a match the rest is
            dropped.
        """
        text = self._held + text
        self._held = ""
        if not self._stops:
            return text, False
        found = _first_match(text, self._stops)
        if found is not None:
            return text[:found], True
        kept = _unfinished(text, self._stops)
        self._held = text[len(text) - kept :]
        return text[: len(text) - kept], False

    def finish(self) -> str:
        """Nothing follows: what was held back is no stop string after all."""
        held, self._held = self._held, ""
        return held


def _first_match(text: str, stops: Sequence[str]) -> int | None:
    """Where the earliest-ending stop string begins, as if the text had come character by character."""
    matches = [(start + len(stop), start) for stop in stops if (start := text.find(stop)) >= 0]
    return min(matches)[1] if matches else None


def _unfinished(text: str, stops: Sequence[str]) -> int:
    """Length of the longest end of the text that begins a stop string."""
    longest = min(len(text), max(len(stop) for stop in stops) - 1)
    for length in range(longest, 0, -1):
        end = text[len(text) - length :]
        if any(stop.startswith(end) for stop in stops):
            return length
    return 0
