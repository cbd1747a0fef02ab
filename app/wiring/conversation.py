"""The chat and its conversations."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from app.bootstrap import App


def connect(app: App) -> None:
    """Connect this corner."""
    _connect_chat(app)
    _connect_conversations(app)


def _connect_chat(app: App) -> None:
    intents, chat = app.widgets.intents, app.chat
    intents.send_requested.connect(app.documents.attaching.send)
    app.documents.attaching.send_wanted.connect(chat.send)
    app.documents.attaching.told.connect(app.shell.tell)
    intents.attachment_removed.connect(app.documents.attaching.remove)
    intents.send_raw_requested.connect(chat.send_raw)
    intents.stop_requested.connect(chat.stop)
    intents.regenerate_requested.connect(chat.regenerate)
    intents.continue_requested.connect(chat.continue_reply)
    intents.edit_requested.connect(chat.edit)
    intents.branch_step_requested.connect(chat.step_branch)
    intents.candidate_requested.connect(chat.branch_from_row)
    intents.system_prompt_changed.connect(chat.set_system_prompt)
    system = app.widgets.chat.system
    system.set_presets(dict(app.remembering.remembered.system_prompts))
    system.preset_saved.connect(app.remembering.save_system_prompt)
    system.preset_deleted.connect(app.remembering.delete_system_prompt)
    intents.tokens_wanted.connect(app.tracks.wanted)
    intents.raw_text_wanted.connect(app.raw.render)
    app.raw.rendered.connect(app.widgets.chat.raw.set_rendered)
    app.generation.raw_wrote.connect(app.widgets.chat.raw.append_text)
    chat.returned.connect(app.widgets.chat.composer.restore)
    chat.opened.connect(app.shell.show_conversation)
    chat.opened.connect(app.unsent.show)
    app.widgets.chat.composer.field.textChanged.connect(app.unsent.note)
    transcript = app.models.transcript
    for signal in (
        transcript.was_reset,
        transcript.message_appended,
        transcript.tail_replaced,
        transcript.reply_finished,
        transcript.message_changed,
    ):
        signal.connect(app.shell.show_busy)


def _connect_conversations(app: App) -> None:
    listing, controller = app.widgets.conversations, app.conversations
    listing.new_requested.connect(app.chat.new_chat)
    listing.opened.connect(app.chat.open)
    listing.delete_requested.connect(controller.delete)
    listing.undo_delete_requested.connect(controller.undo_delete)
    listing.search_changed.connect(controller.search)
    listing.export_requested.connect(app.shell.export)
