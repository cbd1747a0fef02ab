"""The one focus that all panels share: a token, or a run of tokens, of one message."""

from __future__ import annotations

from dataclasses import dataclass

from PySide6.QtCore import QObject, Signal

MessageId = str | int


@dataclass(frozen=True, slots=True)
class TokenSpan:
    """Tokens ``start`` to ``end`` (exclusive) of the message ``message_id``, counted within that message."""

    message_id: MessageId
    start: int
    end: int


class FocusModel(QObject):
    """What is looked at: ``preview`` while the pointer hovers, ``focus`` once it was set; the preview wins.

    ``candidate`` is the row, in the focused token's ``candidates``, that the up and down keys walk; None
    when no candidate is chosen. It is forgotten when the focus moves.
    """

    focus_changed = Signal(object)  # TokenSpan | None
    preview_changed = Signal(object)  # TokenSpan | None
    current_changed = Signal(object)  # TokenSpan | None: the preview if there is one, else the focus
    candidate_changed = Signal(object)  # int | None

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._focus: TokenSpan | None = None
        self._preview: TokenSpan | None = None
        self._candidate: int | None = None

    @property
    def focus(self) -> TokenSpan | None:
        """What was clicked or reached with the arrow keys."""
        return self._focus

    @property
    def preview(self) -> TokenSpan | None:
        """What the pointer is over."""
        return self._preview

    @property
    def current(self) -> TokenSpan | None:
        """What panels show: the preview if there is one, else the focus."""
        return self._preview or self._focus

    @property
    def candidate(self) -> int | None:
        """The chosen row of the focused token's candidates."""
        return self._candidate

    def set_focus(self, span: TokenSpan | None) -> None:
        """Put the focus on ``span``; None takes it away."""
        if span == self._focus:
            return
        before = self.current
        self._focus = span
        self.set_candidate(None)
        self.focus_changed.emit(span)
        self._tell(before)

    def set_preview(self, span: TokenSpan | None) -> None:
        """Show ``span`` for as long as the pointer is on it; None ends the preview."""
        if span == self._preview:
            return
        before = self.current
        self._preview = span
        self.preview_changed.emit(span)
        self._tell(before)

    def set_candidate(self, row: int | None) -> None:
        """Choose a candidate of the focused token."""
        if row != self._candidate:
            self._candidate = row
            self.candidate_changed.emit(row)

    def clear(self) -> None:
        """Forget focus, preview and candidate (the Esc key)."""
        self.set_preview(None)
        self.set_focus(None)
        self.set_candidate(None)

    def _tell(self, before: TokenSpan | None) -> None:
        if self.current != before:
            self.current_changed.emit(self.current)
