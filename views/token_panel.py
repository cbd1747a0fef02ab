"""The Token tab: one token's facts and candidates, and surprisal along its text."""

from __future__ import annotations

import math

from PySide6.QtCore import Signal
from PySide6.QtGui import QHideEvent, QShowEvent
from PySide6.QtWidgets import QGridLayout, QHBoxLayout, QPushButton, QStackedWidget, QVBoxLayout, QWidget

from inference.events import Candidate, RemoteModel
from views.candidate_table import CandidateTable
from views.color_legend import ColorLegend
from views.legend import Legend, LegendItem
from views.models.candidates import CandidatesModel, TokenPlace, format_probability, token_name
from views.models.focus import FocusModel, MessageId, TokenSpan
from views.models.running_perplexity import RunningPerplexity
from views.models.tokens import surprisal, was_guessed
from views.models.transcript import TranscriptModel
from views.panel_parts import EmptyPage, Ink, ScrollPage, heading, note, tool_button
from views.rest_bar import RestBar
from views.server_facts import branch_note, server_note, unknown_raw
from views.surprisal_plot import SurprisalPlot
from views.theme import CAPTION, GRID, TITLE, Theme
from views.throttle import Throttle

#: Facts in the order in which they are read: name, title, what it means.
_FACTS = (
    ("raw", "Raw", "The model's own probability, before any control"),
    ("sampled", "Sampled", "The probability it was drawn with, after every control"),
    ("rank", "Rank", "Place among all tokens by raw probability; 1 is the most likely"),
    (
        "surprisal",
        "Surprisal",
        "Minus the logarithm of the raw probability: 0 nats is certain, 6.9 one in 1000",
    ),
    ("entropy", "Entropy", "How undecided the model was before this token: 0 nats is certain"),
    ("id", "Id", "Number in the vocabulary"),
    ("bytes", "Bytes", "The token's bytes in UTF-8, hexadecimal"),
)


_BRANCH = "Click one to write the reply anew from there."


class TokenPanel(QStackedWidget):
    """Everything about the token in focus.

    Args:
        candidates: The candidates of the token in focus; follows the focus by itself.
        transcript: Where tokens are.
        focus: The one focus.
        theme: Colours and fonts.

    Signals:
        branch_requested: (message id, token number, candidate id): write the reply anew from there.
        bias_requested: (token id, text, bias in logits), from the context menu of a candidate.
        contrast_requested: (message id, token number, candidate): why that token and not this candidate?
        tokens_requested: Message id whose tokens have no probabilities; the user wants them.
        example_requested: The user wants to see the panel on an example.
    """

    branch_requested = Signal(object, int, int)
    bias_requested = Signal(int, str, float)
    contrast_requested = Signal(object, int, object)
    tokens_requested = Signal(object)
    example_requested = Signal()

    def __init__(
        self,
        candidates: CandidatesModel,
        transcript: TranscriptModel,
        focus: FocusModel,
        theme: Theme,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self.setObjectName("tokenPanel")
        self._candidates, self._transcript, self._focus, self._theme = candidates, transcript, focus, theme
        self._perplexity = RunningPerplexity(transcript)
        self._stale = True
        self._server: RemoteModel | None = None
        # Four times a second is enough for figures that grow with the reply.
        self._throttle = Throttle(self._refresh, 250, self)
        self.table = CandidateTable(candidates, theme)
        self.plot = SurprisalPlot(transcript, focus, theme)
        self._facts: dict[str, Ink] = {}
        empty = EmptyPage(
            "Every token, and what else it could have been",
            "Click a token of a reply, or walk with the arrow keys, to see its candidates as bars: what the "
            "model itself gave them, and what was left after sampling. A click on a candidate writes the "
            "reply anew from there.",
            "Show an example",
            "tokenExample",
            theme,
        )
        empty.clicked.connect(self.example_requested)
        self.addWidget(empty)
        self.addWidget(self._build_page())
        self._connect()
        self._refresh()

    def _build_page(self) -> QWidget:
        page = ScrollPage()
        page.column.addWidget(heading("Surprisal along the text, in nats", self._theme))
        page.column.addWidget(self.plot)
        page.column.addWidget(ColorLegend(self._theme, ground="window", wide=True))
        self._perplexity_text = note("", self._theme)
        self._perplexity_text.setToolTip(
            "exp of the mean surprisal: as undecided as between so many equal tokens."
        )
        page.column.addWidget(self._perplexity_text)
        page.column.addSpacing(2 * GRID)
        self._nothing = note("Click a token, or a bar above, to see its candidates.", self._theme)
        page.column.addWidget(self._nothing)
        self._token_box = QWidget()
        self._build_token(self._token_box)
        page.column.addWidget(self._token_box)
        page.column.addStretch(1)
        return page

    def _build_token(self, box: QWidget) -> None:
        column = QVBoxLayout(box)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(2 * GRID)
        self._name = Ink("", self._theme, size=TITLE, mono=True)
        self._where = Ink("", self._theme, tone="muted", size=CAPTION)
        self._back = tool_button(self._theme, "previous", "Part before", "partBack")
        self._on = tool_button(self._theme, "next", "Next part", "partOn")
        row = QHBoxLayout()
        row.addWidget(self._name)
        row.addStretch(1)
        row.addWidget(self._where)
        row.addWidget(self._back)
        row.addWidget(self._on)
        column.addLayout(row)
        column.addLayout(self._build_facts())
        self._legend = Legend((LegendItem("raw", "raw"), LegendItem("sampled", "sampled")), self._theme)
        column.addWidget(self._legend)
        column.addWidget(self.table)
        self._rest = RestBar(self._theme)
        column.addWidget(self._rest)
        self._recorded = note("", self._theme)
        column.addWidget(self._recorded)
        self._score = QPushButton("Work out the probabilities of this text")
        self._score.setObjectName("scoreTokens")
        column.addWidget(self._score)

    def _build_facts(self) -> QGridLayout:
        grid = QGridLayout()
        grid.setHorizontalSpacing(3 * GRID)
        grid.setVerticalSpacing(GRID)
        for number, (name, title, meaning) in enumerate(_FACTS):
            label = Ink(title, self._theme, tone="muted", size=CAPTION)
            fact = Ink("", self._theme, mono=True)
            fact.setObjectName(f"fact-{name}")
            fact.setAccessibleName(title)
            for part in (label, fact):
                part.setToolTip(meaning)
            self._facts[name] = fact
            row, column = divmod(number, 2)
            wide = name == "bytes"
            grid.addWidget(label, row, column * 2)
            grid.addWidget(fact, row, column * 2 + 1, 1, 3 if wide else 1)
        grid.setColumnStretch(1, 1)
        grid.setColumnStretch(3, 1)
        return grid

    def _connect(self) -> None:
        self._candidates.place_changed.connect(self._refresh)
        self._transcript.was_reset.connect(self._refresh)
        self._transcript.tail_replaced.connect(self._refresh)
        self._transcript.tokens_changed.connect(self._throttle.call)
        self._focus.candidate_changed.connect(self.table.choose_row)
        self.table.row_reached.connect(self._row_reached)
        self.table.candidate_activated.connect(self._candidate_activated)
        self.table.bias_requested.connect(self.bias_requested)
        self.table.contrast_requested.connect(self._ask_contrast)
        self._back.clicked.connect(lambda: self._walk_part(-1))
        self._on.clicked.connect(lambda: self._walk_part(1))
        self._score.clicked.connect(self._ask_tokens)

    def set_server(self, server: RemoteModel | None) -> None:
        """The model is on this server (None: on this machine)."""
        self._server = server
        self._refresh()

    # --- showing --------------------------------------------------------------------------------------------

    def showEvent(self, event: QShowEvent) -> None:
        """Catch up with what happened while hidden."""
        super().showEvent(event)
        if self._stale:
            self._refresh()

    def hideEvent(self, event: QHideEvent) -> None:
        """Nothing to do while hidden."""
        super().hideEvent(event)
        self._throttle.stop()
        self._stale = True

    def _refresh(self) -> None:
        self._stale = not self.isVisible()
        if self._stale:
            return
        message_id = self._shown_message()
        self.setCurrentIndex(0 if message_id is None else 1)
        self.plot.set_message(message_id)
        if message_id is not None:
            self._show_perplexity(message_id)
        self._show_place(self._candidates.place)

    def _shown_message(self) -> MessageId | None:
        """The message in focus; else the newest one that has tokens."""
        span = self._focus.current
        if span is not None and self._transcript.token(span.message_id, span.end - 1) is not None:
            return span.message_id
        for message in reversed(self._transcript.messages):
            if len(message.track):
                return message.id
        return None

    def _show_perplexity(self, message_id: MessageId) -> None:
        value, count = self._perplexity.of(message_id)
        if value is None:
            track = self._transcript.message(message_id).track.tokens
            told = any(getattr(token, "origin", "local") != "local" for token in track)
            self._perplexity_text.setText(
                "The server gave no probabilities of its own distribution; a bar is a piece of text."
                if told
                else "These tokens have no probabilities yet."
            )
        else:
            self._perplexity_text.setText(f"Perplexity {value:.2f} over {count} tokens (raw distribution)")

    def _show_place(self, place: TokenPlace | None) -> None:
        if place is None and self._token_box.isAncestorOf(self.focusWidget()):
            self.setFocus()  # else Qt gives the keyboard to whatever comes next in the window
        self._nothing.setVisible(place is None)
        self._token_box.setVisible(place is not None)
        if place is None:
            return
        token = place.token
        known = token.raw_logprob is not None
        self._name.setText(token_name(token))
        self._name.setAccessibleName(f"Token {token.text or token_name(token)!r}")
        parts = self._parts(place)
        place_words = f"token {place.index + 1}"
        if was_guessed(token):
            place_words += ", guessed ahead"
        if len(parts) > 1:
            place_words += f", part {parts.index(place.index) + 1} of {len(parts)}"
        self._where.setText(place_words)
        for button, end in ((self._back, parts[0]), (self._on, parts[-1])):
            button.setVisible(len(parts) > 1)
            button.setEnabled(place.index != end)
        self._show_facts(place)
        shown = bool(token.candidates)
        far = place.origin != "local"
        self._legend.setVisible(shown and not far)
        self.table.setVisible(shown)
        self._recorded.setVisible(shown or far)
        self._score.setVisible(not shown and not known and not far and place.index > 0)
        mass = self._candidates.recorded_mass()
        self._rest.setVisible(shown and far)
        self._rest.set_share(1.0 - mass)
        if far:
            self._recorded.setText(server_note(place, self._server))
        else:
            self._recorded.setText(
                f"These {len(token.candidates)} hold {format_probability(mass)} of the raw probability. "
                + (branch_note(self._server) if self._server else _BRANCH)
            )
        self.table.choose_row(
            self._focus.candidate if self._focus.candidate is not None else self._candidates.chosen_row()
        )

    def _show_facts(self, place: TokenPlace) -> None:
        token = place.token
        value = surprisal(token)
        rank = place.rank
        last = rank is not None and rank == len(place.candidates)
        sampled = place.sampled_prob
        words = {
            "raw": unknown_raw(place) if value is None else format_probability(math.exp(-value)),
            "sampled": "—" if sampled is None else format_probability(sampled),
            "rank": "—" if rank is None else f"{rank} or later" if last and rank > 1 else str(rank),
            "surprisal": "—" if value is None else f"{value:.2f} nats",
            "entropy": "—" if token.entropy is None else f"{token.entropy:.2f} nats",
            "id": (str(token.id) if token.id >= 0 else "—") + (" (special)" if token.special else ""),
            "bytes": token.data.hex(" ").upper() or "none",
        }
        for name, text in words.items():
            self._facts[name].setText(text)

    def _parts(self, place: TokenPlace) -> list[int]:
        if place.message_id not in self._transcript:
            return [place.index]
        track = self._transcript.message(place.message_id).track
        if place.index >= len(track):
            return [place.index]
        first, end = track.span_of(place.index)
        return list(range(first, end))

    # --- what the user does ---------------------------------------------------------------------------------

    def _walk_part(self, step: int) -> None:
        place = self._candidates.place
        if place is not None:
            self._focus.set_focus(TokenSpan(place.message_id, place.index + step, place.index + step + 1))

    def _row_reached(self, row: int) -> None:
        if self.table.hasFocus():
            self._focus.set_candidate(row)

    def _candidate_activated(self, candidate: Candidate) -> None:
        place = self._candidates.place
        if place is not None:
            self.branch_requested.emit(place.message_id, place.index, candidate.id)

    def _ask_contrast(self, candidate: Candidate) -> None:
        place = self._candidates.place
        if place is not None:
            self.contrast_requested.emit(place.message_id, place.index, candidate)

    def _ask_tokens(self) -> None:
        place = self._candidates.place
        if place is not None:
            self.tokens_requested.emit(place.message_id)
