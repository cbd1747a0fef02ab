"""The Documents tab."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from app.bootstrap import App


def connect(app: App) -> None:
    """Connect this corner."""
    intents, documents = app.widgets.document_intents, app.documents
    libraries, asking, pages = documents.libraries, documents.asking, documents.pages
    app.widgets.window.mode_shown.connect(documents.note_mode)
    intents.add_requested.connect(documents.add)
    intents.choose_files_requested.connect(app.shell.choose_documents)
    intents.choose_folder_requested.connect(app.shell.choose_document_folder)
    intents.sample_requested.connect(documents.add_sample)
    intents.remove_requested.connect(libraries.remove)
    intents.library_chosen.connect(libraries.choose)
    intents.library_made.connect(libraries.make)
    intents.library_renamed.connect(libraries.rename)
    intents.library_deleted.connect(libraries.delete)
    intents.undo_delete_requested.connect(libraries.undo_delete)
    intents.delete_settled.connect(libraries.settle_delete)
    intents.choose_embedder_requested.connect(app.shell.choose_embedder)
    intents.pause_requested.connect(libraries.pause)
    intents.resume_requested.connect(libraries.resume)
    intents.cancel_requested.connect(libraries.cancel)
    intents.password_given.connect(libraries.unlock)
    intents.password_given.connect(pages.unlock)
    intents.query_changed.connect(asking.type_query)
    intents.ask_requested.connect(asking.ask)
    intents.answer_anyway_requested.connect(asking.answer_anyway)
    intents.stop_requested.connect(asking.stop)
    intents.new_thread_requested.connect(asking.begin_anew)
    intents.explain_requested.connect(documents.influence.toggle)
    intents.ask_requested.connect(documents.influence.stop)
    libraries.opened.connect(documents.influence.stop)
    intents.new_thread_requested.connect(documents.influence.stop)
    intents.source_opened.connect(pages.open_source)
    intents.citation_opened.connect(pages.open_citation)
    intents.picture_wanted.connect(pages.draw)
    intents.find_requested.connect(pages.find)
    asking.answered.connect(pages.offer)
    libraries.opened.connect(pages.clear)
    libraries.told.connect(app.shell.tell)
