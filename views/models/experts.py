"""What the experts view shows: which experts each layer sends each token to, and what one is worth."""

from __future__ import annotations

import math
from typing import Literal

from PySide6.QtCore import QObject, Signal

from inference.events import Event, ExpertsChanged, ExpertsLayer, ExpertsStarted
from views.models.looking import LookModel

ExpertsMeasure = Literal["weight", "entropy", "expert"]


class ExpertsModel(LookModel):
    """A mixture's routing: for each layer (row) and position (column) the experts and their shares.

    ``layer`` and ``expert`` are those whose load is shown and that can be switched off. ``available`` is
    whether the loaded model is a mixture. ``in_replies`` leaves experts that are off out of replies, too.
    """

    #: Other experts act in replies.
    acting_changed = Signal()

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.started: ExpertsStarted | None = None
        self.rows: dict[int, ExpertsLayer] = {}
        self.changes: ExpertsChanged | None = None
        self.measure: ExpertsMeasure = "weight"
        self.layer = 0
        self.expert: int | None = None
        self.off: tuple[tuple[int, int], ...] = ()
        self.available = False
        self.in_replies = False

    @property
    def off_in_replies(self) -> tuple[tuple[int, int], ...]:
        """What replies are written without."""
        return self.off if self.in_replies else ()

    def set_in_replies(self, on: bool) -> None:
        """Whether experts that are off are left out of replies, too."""
        if on != self.in_replies:
            self.in_replies = on
            self.changed.emit()
            self.acting_changed.emit()

    def clear(self) -> None:
        """Forget everything but whether there are experts, and those that replies are written without."""
        self.started, self.rows, self.changes, self.expert = None, {}, None, None
        self.off = self.off_in_replies
        self.set_state("empty")
        self.changed.emit()

    def set_available(self, available: bool) -> None:
        """Whether the loaded model is a mixture of experts."""
        self.available, self.in_replies, self.off = available, False, ()
        self.changed.emit()
        self.acting_changed.emit()

    def set_measure(self, measure: ExpertsMeasure) -> None:
        """Colour by another figure."""
        self.measure = measure
        self.changed.emit()

    def choose(self, layer: int, expert: int | None) -> None:
        """Look at this layer's load, and at one of its experts."""
        self.layer, self.expert = layer, expert
        self.changed.emit()

    def switch(self, layer: int, expert: int, on: bool) -> None:
        """An expert is to be left out, or to take part again, when the text is read the next time."""
        left = tuple(each for each in self.off if each != (layer, expert))
        self.off = left if on else (*left, (layer, expert))
        self.changed.emit()
        if self.in_replies:
            self.acting_changed.emit()

    def take(self, event: Event) -> None:
        """Take what a run says."""
        if isinstance(event, ExpertsStarted):
            self.started, self.rows, self.changes = event, {}, None
            if self.layer not in event.layers:
                self.layer, self.expert = event.layers[-1], None
        elif isinstance(event, ExpertsLayer):
            self.rows[event.layer] = event
        elif isinstance(event, ExpertsChanged):
            self.changes = event
        else:
            return
        self.changed.emit()

    @property
    def layers(self) -> list[int]:
        """The rows from the top: the last layer first."""
        return sorted(self.started.layers, reverse=True) if self.started is not None else []

    def share(self, layer: int, column: int) -> float | None:
        """A cell's place on the colour scale, 0 to 1; None where it is not known."""
        row, started = self.rows.get(layer), self.started
        if row is None or started is None:
            return None
        if self.measure == "entropy":
            return min(1.0, row.entropies[column] / math.log(started.experts))
        if self.measure == "expert" and self.expert is not None:
            chosen = row.experts[column]
            return self._part(row, column, chosen.index(self.expert)) if self.expert in chosen else 0.0
        return self._part(row, column, 0)

    @staticmethod
    def _part(row: ExpertsLayer, column: int, place: int) -> float:
        """One choice's part of all shares; routers differ in what their shares add up to."""
        weights = row.weights[column]
        return weights[place] / (sum(weights) or 1.0)

    def words(self, layer: int, column: int) -> str:
        """All exact figures of a cell."""
        row, started = self.rows.get(layer), self.started
        if row is None or started is None:
            return ""
        pairs = zip(row.experts[column], row.weights[column], strict=True)
        parts = "\n".join(f"expert {expert}: {weight:.3f}" for expert, weight in pairs)
        entropy = f"router's entropy {row.entropies[column]:.3f} of {math.log(started.experts):.3f} nats"
        return f"layer {layer}, {started.tokens[column]!r}\n{parts}\n{entropy}"

    def load_words(self, layer: int, expert: int) -> str:
        """An expert's load in words."""
        row = self.rows.get(layer)
        if row is None or self.started is None:
            return ""
        even = 1 / self.started.experts
        return f"expert {expert}: {row.load[expert]:.1%} of the choices (evenly {even:.1%})"

    def summary(self) -> str:
        """What switching experts off changes, in a sentence or two."""
        changes, started = self.changes, self.started
        if changes is None or started is None:
            return ""
        known = range(len(changes.before) - 1) if len(changes.before) > 1 else range(0)
        lost = sum(changes.before[i] - changes.after[i] for i in known) / max(1, len(known))
        other = sum(one != two for one, two in zip(changes.top_before, changes.top_after, strict=True))
        names = ", ".join(f"{expert} of layer {layer}" for layer, expert in changes.off)
        worst = max(range(len(changes.divergences)), key=lambda i: changes.divergences[i])
        before, after = changes.top_before[worst], changes.top_after[worst]
        after = f"{before!r} becomes {after!r}" if before != after else f"still {after!r}"
        return (
            f"Without expert {names}: {lost:+.3f} nats of surprisal a token, another likeliest token at "
            f"{other} of {len(changes.divergences)} places. Most changed behind {started.tokens[worst]!r}: "
            f"{after} ({changes.divergences[worst]:.3f} nats)."
        )
