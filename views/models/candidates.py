"""What could have come at one place: a token's candidates, and the step that is plotted."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from PySide6.QtCore import QAbstractTableModel, QModelIndex, QObject, QPersistentModelIndex, Qt, Signal

from inference.events import Candidate, ScoredToken, Stage, Token, TokenOrigin
from views.models.focus import FocusModel, MessageId
from views.models.tokens import AnyToken, token_label
from views.models.transcript import TranscriptModel

_Index = QModelIndex | QPersistentModelIndex

_VISIBLE = {" ": "␣", "\n": "⏎", "\t": "⇥", "\r": "␍"}


def visible_token(text: str, token_id: int) -> str:
    """A token's text on one line, with marks for white space; ``<id>`` for a token without text."""
    if not text:
        return f"<{token_id}>" if token_id >= 0 else "<?>"
    return "".join(_VISIBLE.get(char, char if char.isprintable() else f"\\u{ord(char):04x}") for char in text)


def token_name(token: AnyToken) -> str:
    """A recorded token on one line: its visible text, or what is known of it without one."""
    return visible_token(token.text, token.id) if token.text else token_label(token)


class Column(IntEnum):
    """Columns of :class:`CandidatesModel`."""

    RANK = 0
    TOKEN = 1
    RAW = 2
    SAMPLED = 3
    ID = 4


class CandidateRole(IntEnum):
    """Roles of :class:`CandidatesModel`."""

    CANDIDATE = Qt.ItemDataRole.UserRole + 1
    CHOSEN = Qt.ItemDataRole.UserRole + 2
    PROBABILITY = Qt.ItemDataRole.UserRole + 3


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenPlace:
    """A token and where it is: ``message_id`` as in the transcript, ``index`` counts the message's tokens."""

    message_id: MessageId
    index: int
    token: Token | ScoredToken

    @property
    def candidates(self) -> tuple[Candidate, ...]:
        """The recorded alternatives, in the order in which they were recorded: most likely (raw) first."""
        return self.token.candidates

    @property
    def rank(self) -> int | None:
        """1 for the most likely token by the raw distribution; None where it was not recorded."""
        own = next((c.logprob for c in self.candidates if c.id == self.token.id), None)
        return None if own is None else 1 + sum(c.logprob > own for c in self.candidates)

    @property
    def origin(self) -> TokenOrigin:
        """Who worked out the probabilities."""
        return self.token.origin if isinstance(self.token, Token) else "local"

    @property
    def sampled_prob(self) -> float | None:
        """Probability in the distribution that the token was drawn from; None for text that was only read."""
        return self.token.sampled_prob if isinstance(self.token, Token) else None


class CandidatesModel(QAbstractTableModel):
    """The candidates of one token, most likely (raw) first.

    Args:
        transcript: Where tokens are looked up.
        focus: What is looked at; without these two, :meth:`set_place` says what is shown.

    Signals:
        place_changed: The :class:`TokenPlace` that is shown, or None.
    """

    place_changed = Signal(object)

    HEADERS = ("#", "Token", "Raw", "Sampled", "Id")
    TOOLTIPS = (
        "Rank by the model's own probability",
        "The token's text; ␣ is a space, ⏎ a line break",
        "The model's own probability, before any control",
        "The probability it was drawn with, after every control",
        "The token's number in the vocabulary",
    )

    def __init__(
        self,
        transcript: TranscriptModel | None = None,
        focus: FocusModel | None = None,
        parent: QObject | None = None,
    ) -> None:
        super().__init__(parent)
        self._place: TokenPlace | None = None
        self._rows: tuple[Candidate, ...] = ()
        self._transcript, self._focus = transcript, focus
        if transcript is not None and focus is not None:
            focus.current_changed.connect(self._follow)
            transcript.was_reset.connect(self._follow)
            transcript.tail_replaced.connect(self._follow)
            transcript.tokens_changed.connect(self._follow_tokens)
            self._follow()

    @property
    def place(self) -> TokenPlace | None:
        """The token that is shown."""
        return self._place

    def set_place(self, place: TokenPlace | None) -> None:
        """Show another token; None empties the table."""
        if place == self._place:
            return
        self.beginResetModel()
        self._place = place
        self._rows = place.candidates if place is not None else ()
        self.endResetModel()
        self.place_changed.emit(place)

    @property
    def raw_name(self) -> str:
        """What the first column of probabilities is called: a server may not say which ones it tells."""
        return "server’s" if self._place is not None and self._place.origin == "server-unknown" else "raw"

    def candidate(self, row: int) -> Candidate:
        """The candidate in a row."""
        return self._rows[row]

    def chosen_row(self) -> int | None:
        """The row of the token that was chosen; None where it was not recorded."""
        place = self._place
        if place is None:
            return None
        return next((row for row, c in enumerate(self._rows) if c.id == place.token.id), None)

    def recorded_mass(self) -> float:
        """Probability of all candidates together, raw where it is known; the rest belongs to tokens that were
        not recorded.
        """
        return min(1.0, math.fsum(math.exp(candidate.logprob) for candidate in self._rows))

    def rowCount(self, parent: _Index = QModelIndex()) -> int:  # noqa: B008 - Qt's own signature
        """Number of candidates."""
        return 0 if parent.isValid() else len(self._rows)

    def columnCount(self, parent: _Index = QModelIndex()) -> int:  # noqa: B008 - Qt's own signature
        """Number of columns; see :class:`Column`."""
        return 0 if parent.isValid() else len(Column)

    def headerData(
        self, section: int, orientation: Qt.Orientation, role: int = Qt.ItemDataRole.DisplayRole
    ) -> Any:
        """Titles and what they mean."""
        if orientation != Qt.Orientation.Horizontal:
            return None
        if role == Qt.ItemDataRole.DisplayRole and section == Column.RAW:
            return self.raw_name.capitalize()
        if role == Qt.ItemDataRole.DisplayRole:
            return self.HEADERS[section]
        if role == Qt.ItemDataRole.ToolTipRole:
            return self.TOOLTIPS[section]
        if role == Qt.ItemDataRole.TextAlignmentRole:
            side = Qt.AlignmentFlag.AlignLeft if section == Column.TOKEN else Qt.AlignmentFlag.AlignRight
            return int(side | Qt.AlignmentFlag.AlignVCenter)
        return None

    def data(self, index: _Index, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        """Text, probability in 0..1, whether it is the chosen one, and the :class:`Candidate` itself."""
        if not index.isValid() or self._place is None:
            return None
        candidate = self._rows[index.row()]
        if role == Qt.ItemDataRole.DisplayRole:
            return self._text(index.row(), Column(index.column()), candidate)
        if role == CandidateRole.CANDIDATE:
            return candidate
        if role == CandidateRole.CHOSEN:
            return candidate.id == self._place.token.id
        if role == CandidateRole.PROBABILITY:
            return self._probability(Column(index.column()), candidate)
        if role in (Qt.ItemDataRole.ToolTipRole, Qt.ItemDataRole.AccessibleTextRole):
            return self._sentence(index.row(), candidate)
        return None

    def _follow(self) -> None:
        if self._transcript is None or self._focus is None:
            return
        span = self._focus.current
        token = None if span is None else self._transcript.token(span.message_id, span.end - 1)
        if span is None or token is None:
            self.set_place(None)
        else:
            self.set_place(TokenPlace(message_id=span.message_id, index=span.end - 1, token=token))

    def _follow_tokens(self, message_id: MessageId, first: int) -> None:
        span = None if self._focus is None else self._focus.current
        if span is not None and span.message_id == message_id and span.end > first:
            self._follow()

    def _text(self, row: int, column: Column, candidate: Candidate) -> str:
        if column == Column.RANK:
            return str(row + 1)
        if column == Column.TOKEN:
            return visible_token(candidate.text, candidate.id)
        if column == Column.ID:
            return str(candidate.id) if candidate.id >= 0 else "—"
        probability = self._probability(column, candidate)
        return "" if probability is None else format_probability(probability)

    def _probability(self, column: Column, candidate: Candidate) -> float | None:
        if column == Column.RAW:
            return None if candidate.raw_logprob is None else math.exp(candidate.raw_logprob)
        if column == Column.SAMPLED and isinstance(self._place and self._place.token, Token):
            return candidate.sampled_prob
        return None

    def _sentence(self, row: int, candidate: Candidate) -> str:
        words = [f"{row + 1}. {visible_token(candidate.text, candidate.id)}"]
        if candidate.id >= 0:
            words[0] += f", id {candidate.id}"
        if (raw := self._probability(Column.RAW, candidate)) is not None:
            words.append(f"{self.raw_name} {format_probability(raw)}")
        if (sampled := self._probability(Column.SAMPLED, candidate)) is not None:
            words.append(f"sampled {format_probability(sampled)}")
        if candidate.raw_logprob is not None:
            words.append(f"{-candidate.raw_logprob:.2f} nats of surprisal")
        return ", ".join(words)


def format_probability(probability: float) -> str:
    """A probability in percent; tiny ones are not shown as nothing."""
    percent = probability * 100
    if percent == 0:
        return "0 %"
    return "<0.01 %" if percent < 0.01 else f"{percent:.2f} %" if percent < 10 else f"{percent:.1f} %"


class StepModel(QObject):
    """The decoding step whose distribution the Sampling panel plots.

    While a reply is written it is the newest step; a token in focus takes its place until the focus is
    cleared. With ``transcript`` and ``focus`` it follows both by itself.

    Signals:
        changed: No argument; read :attr:`token`.
    """

    changed = Signal()

    def __init__(
        self,
        transcript: TranscriptModel | None = None,
        focus: FocusModel | None = None,
        parent: QObject | None = None,
    ) -> None:
        super().__init__(parent)
        self._live: Token | None = None
        self._pinned: Token | None = None
        self._transcript, self._focus = transcript, focus
        if transcript is not None and focus is not None:
            focus.current_changed.connect(self._follow_focus)
            transcript.was_reset.connect(self._follow_reset)
            transcript.tail_replaced.connect(self._follow_reset)
            transcript.tokens_changed.connect(self._follow_tokens)
            self._follow_reset()

    @property
    def token(self) -> Token | None:
        """The step that is plotted."""
        return self._pinned if self._pinned is not None else self._live

    @property
    def pinned(self) -> bool:
        """Whether the step is that of a token in focus."""
        return self._pinned is not None

    @property
    def stages(self) -> tuple[Stage, ...]:
        """The distribution after each stage, over the candidates of :attr:`token`."""
        return self.token.stages if self.token is not None else ()

    def set_live(self, token: Token | None) -> None:
        """Show the newest step of a running reply."""
        if token is not self._live:
            self._live = token
            if self._pinned is None:
                self.changed.emit()

    def pin(self, token: Token | None) -> None:
        """Show the step of a token in focus; None goes back to the newest."""
        if token is not self._pinned:
            self._pinned = token
            self.changed.emit()

    def _follow_focus(self) -> None:
        if self._transcript is None or self._focus is None:
            return
        span = self._focus.current
        token = None if span is None else self._transcript.token(span.message_id, span.end - 1)
        self.pin(token if isinstance(token, Token) else None)

    def _follow_reset(self) -> None:
        reply = None if self._transcript is None else self._transcript.last_reply
        last = reply.track[len(reply.track) - 1] if reply is not None and len(reply.track) else None
        self.set_live(last if isinstance(last, Token) else None)
        self._follow_focus()

    def _follow_tokens(self, message_id: MessageId, first: int) -> None:
        reply = None if self._transcript is None else self._transcript.last_reply
        if reply is not None and reply.id == message_id:
            self._follow_reset()
