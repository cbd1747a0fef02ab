"""The adapters of the loaded model: which are attached, which are on, and what they change in a text."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

from PySide6.QtCore import QObject, Signal

from inference.events import AdapterInfo, AdapterScale, AdaptersCompared
from views.models.format import format_bytes, format_count

State = Literal["empty", "working", "result", "failed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class AdapterRow:
    """One attached adapter; ``scale`` is kept while it is off."""

    info: AdapterInfo
    on: bool = True
    scale: float = 1.0

    def words(self) -> str:
        """What it is, in a line."""
        info = self.info
        whole = f", brings {', '.join(info.replaced)} whole" if info.replaced else ""
        return (
            f"rank {info.rank}, {format_count(info.parameters)} parameters on {info.modules} layers "
            f"({', '.join(info.targets)}){whole}, {format_bytes(info.memory)}"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class AdapterOffer:
    """An adapter that was opened and can't be put on right now: why, and what could be done.

    ``base_source`` is its base model, to be loaded first; "": it is not on this computer. ``anyway`` is
    whether it may be tried on the model that is loaded.
    """

    info: AdapterInfo
    base_source: str
    anyway: bool
    words: str


class AdaptersModel(QObject):
    """What the adapters section of the Steer tab shows. The widgets switch and scale, the app attaches.

    Signals:
        changed: Adapters came or went, or one was switched or scaled.
        scales_changed: Other adapters act, or at another scale; read :attr:`active`.
        offer_changed: There is an offer, or a problem to tell, or none any more.
        comparison_changed: The comparison, or its state.
    """

    changed = Signal()
    scales_changed = Signal()
    offer_changed = Signal()
    comparison_changed = Signal()

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.rows: tuple[AdapterRow, ...] = ()
        self.offer: AdapterOffer | None = None
        self.problem = ""
        self.compared: AdaptersCompared | None = None
        self.state: State = "empty"
        self.failure = ""
        self.token: int | None = None

    @property
    def active(self) -> tuple[AdapterScale, ...]:
        """The adapters that are on, as requests take them."""
        return tuple(AdapterScale(name=row.info.name, scale=row.scale) for row in self.rows if row.on)

    def set_attached(self, attached: tuple[AdapterInfo, ...], active: tuple[AdapterScale, ...]) -> None:
        """The engine's adapters; one that was here before keeps its switch and its scale."""
        known, scales = {row.info.name: row for row in self.rows}, {each.name: each.scale for each in active}
        self.rows = tuple(
            replace(known[info.name], info=info)
            if info.name in known
            else AdapterRow(info=info, on=info.name in scales, scale=scales.get(info.name, 1.0))
            for info in attached
        )
        self.changed.emit()
        self.scales_changed.emit()

    def set_row(self, name: str, *, on: bool | None = None, scale: float | None = None) -> None:
        """Switch or scale an adapter."""
        rows = tuple(
            replace(row, on=row.on if on is None else on, scale=row.scale if scale is None else scale)
            if row.info.name == name
            else row
            for row in self.rows
        )
        if rows != self.rows:
            before, self.rows = self.active, rows
            self.changed.emit()
            if self.active != before:
                self.scales_changed.emit()

    def set_offer(self, offer: AdapterOffer | None, problem: str = "") -> None:
        """Offer what can be done with an adapter, or say why nothing can."""
        self.offer, self.problem = offer, problem
        self.offer_changed.emit()

    def set_comparison(
        self, state: State, compared: AdaptersCompared | None = None, failure: str = ""
    ) -> None:
        """How far the comparison is."""
        self.state, self.failure = state, failure
        if compared is not None or state == "empty":
            self.compared, self.token = compared, None
        self.comparison_changed.emit()

    def choose(self, token: int | None) -> None:
        """Show the candidates of a token of the reply (its place in the comparison), or what comes next."""
        if token != self.token:
            self.token = token
            self.comparison_changed.emit()

    def token_words(self, place: int) -> str:
        """A token's probability in both readings."""
        assert self.compared is not None
        token = self.compared.tokens[place]
        without, with_them = (f"{math.exp(value) * 100:.3g} %" for value in (token.base, token.adapted))
        shift = token.adapted - token.base
        return f"{token.text!r}: {without} without, {with_them} with ({shift:+.2f} nats)"
