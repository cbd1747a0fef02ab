"""What the user meant in the documents, as signals in one place: views emit them, controllers connect to
them.
"""

from __future__ import annotations

from PySide6.QtCore import QObject, Signal


class DocumentIntents(QObject):
    """Everything that can be asked for in the documents."""

    #: Add these files and folders to the open library: list of paths.
    add_requested = Signal(list)
    #: Let the user choose files, or a folder, to add.
    choose_files_requested = Signal()
    choose_folder_requested = Signal()
    #: Show the tab at work on the document that comes with the app.
    sample_requested = Signal()
    #: Take documents out of the library: list of paths. The files themselves stay.
    remove_requested = Signal(list)
    #: Open a library, or make one of this name.
    library_chosen = Signal(str)
    library_made = Signal(str)
    #: Give the open library another name.
    library_renamed = Signal(str)
    #: Delete the open library; what was made of its documents goes, the documents stay.
    library_deleted = Signal()
    #: Bring back the library that was deleted last; or let it go for good.
    undo_delete_requested = Signal()
    delete_settled = Signal()
    #: Let the user choose the folder of the embedder of the next library.
    choose_embedder_requested = Signal()
    pause_requested = Signal()
    resume_requested = Signal()
    #: Stop reading, and take out what is not read yet.
    cancel_requested = Signal()
    #: The password of a protected document: path, password.
    password_given = Signal(str, str)
    #: The question as it is being typed.
    query_changed = Signal(str)
    #: Answer this question.
    ask_requested = Signal(str)
    #: Answer the last question from what was found, although nothing is close enough.
    answer_anyway_requested = Signal()
    stop_requested = Signal()
    #: Forget the questions before: the next one stands alone.
    new_thread_requested = Signal()
    #: What carried the last answer? Again, while it is worked out: stop.
    explain_requested = Signal()
    #: Show the place of a passage: a :class:`~inference.events.Source`.
    source_opened = Signal(object)
    #: A citation was clicked: number of the turn, number of the source.
    citation_opened = Signal(int, int)
    #: The page view needs a picture of its page that is so many pixels wide.
    picture_wanted = Signal(int)
    #: Look for these words in the document that is shown; none: stop looking.
    find_requested = Signal(str)
