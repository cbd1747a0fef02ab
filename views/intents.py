"""What the user meant in the chat, as signals in one place: views emit them, controllers connect to them."""

from __future__ import annotations

from PySide6.QtCore import QObject, Signal


class ChatIntents(QObject):
    """Everything that can be asked for in the chat. Message ids are those of the ``TranscriptModel``."""

    #: Send this text as the next message.
    send_requested = Signal(str)
    #: Continue this raw text, as it stands in raw mode.
    send_raw_requested = Signal(str)
    stop_requested = Signal()
    #: Write another reply in the place of this one: message id.
    regenerate_requested = Signal(object)
    #: Go on writing this reply: message id.
    continue_requested = Signal(object)
    #: Give a message another text; makes a branch: message id, text.
    edit_requested = Signal(object, str)
    #: Show the branch so many further on (-1 or +1): message id, step.
    branch_step_requested = Signal(object, int)
    #: Branch the reply at a token: message id, token number, row in that token's candidates.
    candidate_requested = Signal(object, int, int)
    #: The token view shows a message that has no tokens: message id.
    tokens_wanted = Signal(object)
    #: Explain this selection: a TokenSpan.
    explain_requested = Signal(object)
    #: Text is selected with the mouse: a TextRange, or None when nothing is.
    text_selected = Signal(object)
    #: A link in a reply was clicked: address.
    link_activated = Signal(str)
    #: Files or folders were dropped on the window: list of paths.
    paths_dropped = Signal(list)
    #: Take this document away from the message: path.
    attachment_removed = Signal(str)
    #: The attach button was pressed: let the user choose files.
    attach_requested = Signal()
    #: Raw mode was opened or needs fresh text: render the template.
    raw_text_wanted = Signal()
    #: The raw text is now this one; None: it is no longer shown.
    raw_edited = Signal(object)
    #: The system prompt is now this text.
    system_prompt_changed = Signal(str)
    #: Something small happened that the status line should say.
    told = Signal(str)
