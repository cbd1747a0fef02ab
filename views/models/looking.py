"""What the Lens tab shows: layers by positions, and the attention weights of one layer's heads."""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from typing import Literal

from PySide6.QtCore import QObject, Signal

from inference.events import AttentionMap, AttentionStarted, Event, LensRow, LensStarted

LookState = Literal["empty", "working", "result", "failed"]
LensMeasure = Literal["top", "followed", "rank", "entropy"]


class LookModel(QObject):
    """State of one kind of look: it is working, has a result, or failed.

    ``focused`` is the position of the conversation's focused token in what the model read.

    Signals:
        changed: The result is another.
        state_changed: The look began, ended or failed.
        focused_changed: Another token is in focus.
    """

    changed = Signal()
    state_changed = Signal()
    focused_changed = Signal()

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.state: LookState = "empty"
        self.problem = ""
        self.focused: int | None = None

    def set_focused(self, position: int | None) -> None:
        """The conversation's focus is on this token."""
        if position != self.focused:
            self.focused = position
            self.focused_changed.emit()

    def set_state(self, state: LookState, problem: str = "") -> None:
        """Tell where the look stands."""
        self.state, self.problem = state, problem
        self.state_changed.emit()


class LensModel(LookModel):
    """The logit lens: for each layer (row) and position (column) what the model would say there."""

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.started: LensStarted | None = None
        self.rows: dict[int, LensRow] = {}
        self.measure: LensMeasure = "top"
        self.vocabulary = 1
        #: The token whose rank is followed at every position, and its text; None: the one that comes next.
        self.followed: tuple[int, str] | None = None

    def follow(self, token: tuple[int, str] | None) -> None:
        """Follow a token's rank; None: that of the token that really comes next."""
        if token != self.followed:
            self.followed = token
            self.changed.emit()

    def column(self, position: int | None) -> int | None:
        """The column of a position; None if it is not shown."""
        if position is None or self.started is None or position not in self.started.positions:
            return None
        return self.started.positions.index(position)

    @property
    def deciding(self) -> int | None:
        """The column where the focused token is decided: the one before its own."""
        return None if self.focused is None else self.column(self.focused - 1)

    def clear(self) -> None:
        """Forget everything."""
        self.started, self.rows, self.followed = None, {}, None
        self.set_state("empty")
        self.changed.emit()

    def set_measure(self, measure: LensMeasure) -> None:
        """Colour by another figure."""
        self.measure = measure
        self.changed.emit()

    def take(self, event: Event) -> None:
        """Take what a run says."""
        if isinstance(event, LensStarted):
            self.started, self.rows = event, {}
        elif isinstance(event, LensRow):
            self.rows[event.layer] = event
        else:
            return
        self.changed.emit()

    @property
    def layers(self) -> list[int]:
        """The rows from the top: the last layer first, as the model's own output."""
        return sorted(self.started.layers, reverse=True) if self.started is not None else []

    def words(self, layer: int, column: int) -> str:
        """All exact figures of a cell."""
        row, started = self.rows.get(layer), self.started
        if row is None or started is None:
            return ""
        where = "embedding" if layer == 0 else f"layer {layer}"
        words = f"{where}, after {started.tokens[column]!r}\n"
        words += f"would say {row.top_texts[column]!r}, {row.top_probs[column]:.4f}\n"
        if row.ranks[column]:
            name = repr(self.followed[1]) if self.followed is not None else "the token that comes"
            words += f"{name}: rank {row.ranks[column]:,}, {row.followed_probs[column]:.4g}\n"
        return words + f"entropy {row.entropies[column]:.3f} nats"

    def share(self, layer: int, column: int) -> float | None:
        """A cell's place on the colour scale, 0 to 1; None where it is not known."""
        row = self.rows.get(layer)
        if row is None:
            return None
        if self.measure == "top":
            return row.top_probs[column]
        if self.measure == "entropy":
            return min(1.0, row.entropies[column] / math.log(max(2, self.vocabulary)))
        if not row.ranks[column]:
            return None
        if self.measure == "followed":
            return row.followed_probs[column]
        return 1.0 - min(1.0, math.log(row.ranks[column]) / math.log(max(2, self.vocabulary)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """One head's weights: rows are queries from ``first`` on, columns keys from 0 (or cells of a grid)."""

    first: int
    columns: int
    rows: tuple[tuple[float, ...], ...]


class AttentionModel(LookModel):
    """Thumbnails of a layer's heads, and the whole matrix of one of them."""

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.tokens: tuple[str, ...] = ()
        self.layer, self.head = 0, 0
        self.layer_count = 1
        self.thumbnails: dict[int, Weights] = {}
        self.matrix: Weights | None = None
        self._thumbnails_wanted = False

    def clear(self) -> None:
        """Forget everything."""
        self.tokens, self.thumbnails, self.matrix = (), {}, None
        self.set_state("empty")
        self.changed.emit()

    def begin(self, *, thumbnails: bool) -> None:
        """The next maps are thumbnails of all heads, or the matrix of one."""
        self._thumbnails_wanted = thumbnails
        if thumbnails:
            self.thumbnails = {}
        self.matrix = None
        self.set_state("working")

    def take(self, event: Event) -> None:
        """Take what a run says; a matrix comes in several parts."""
        if isinstance(event, AttentionStarted):
            self.tokens = event.tokens
        elif isinstance(event, AttentionMap):
            part = decoded(event)
            if self._thumbnails_wanted:
                self.thumbnails[event.head] = part
            elif self.matrix is None:
                self.matrix = part
            else:
                before = self.matrix
                self.matrix = Weights(
                    first=before.first,
                    columns=max(before.columns, part.columns),
                    rows=before.rows + part.rows,
                )
        else:
            return
        self.changed.emit()

    def weight(self, row: int, column: int) -> float | None:
        """The weight of a query on a key; None for keys behind it."""
        if self.matrix is None or not 0 <= row < len(self.matrix.rows):
            return None
        values = self.matrix.rows[row]
        return values[column] if 0 <= column < len(values) else None

    def looks_from(self, position: int | None) -> tuple[float, ...]:
        """The weights of the token at a position on all before it and itself; empty if they are not known."""
        if self.matrix is None or position is None:
            return ()
        row = position - self.matrix.first
        return self.matrix.rows[row][: position + 1] if 0 <= row < len(self.matrix.rows) else ()

    def words(self, row: int, column: int) -> str:
        """A weight with its two tokens."""
        weight = self.weight(row, column)
        if weight is None or self.matrix is None:
            return ""
        query = self.matrix.first + row
        return f"{self.tokens[query]!r} looks at {self.tokens[column]!r}: {weight:.4f}"


def decoded(event: AttentionMap) -> Weights:
    """Weights of an event as numbers."""
    values = struct.unpack(f"<{event.rows * event.columns}e", event.weights)
    rows = tuple(values[at * event.columns : (at + 1) * event.columns] for at in range(event.rows))
    return Weights(first=event.first, columns=event.columns, rows=rows)
