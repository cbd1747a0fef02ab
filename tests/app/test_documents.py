"""The documents in the whole window: with a scripted session, and with real parts and the built-in model."""

from __future__ import annotations

import threading
from array import array
from collections.abc import Callable, Iterator
from importlib import resources
from math import nan
from pathlib import Path
from typing import Any

import pytest
from PySide6.QtCore import QEvent, QMimeData, QPoint, QPointF, Qt, QUrl
from PySide6.QtGui import QDropEvent, QMouseEvent
from PySide6.QtWidgets import QApplication, QWidget

from app.bootstrap import App, Options
from app.profile import Profile
from inference.errors import PasswordNeeded
from inference.events import (
    Answer,
    AskRequest,
    CitationMark,
    CloseLibraryRequest,
    DeleteLibraryRequest,
    DocumentEntry,
    DocumentIndexed,
    Event,
    ExplainRequest,
    Explanation,
    ExplanationCost,
    ExplanationStarted,
    FindTextRequest,
    Hits,
    IndexProgress,
    IndexRequest,
    LibraryOpened,
    LibraryRequest,
    Message,
    PageRendered,
    PageText,
    PageTextRequest,
    RenderPageRequest,
    SearchRequest,
    SegmentSpan,
    SentenceSupport,
    Source,
    SourcesChosen,
    TargetSpan,
    TextFound,
    WarmPagesRequest,
)
from inference.running import RunHandle

Start = Callable[..., App]
SAMPLE = str(resources.files("resources").joinpath("documents", "sample.pdf"))
TICKET = Source(
    file="/books/handbook.pdf",
    page=3,
    text="Open evenings. A ticket costs 6 crowns.",
    score=0.5,
    boxes=((100.0, 600.0, 300.0, 612.0),),
    passage_boxes=((100.0, 600.0, 300.0, 630.0),),
    number=1,
    cited=True,
    marked="A ticket costs 6 crowns.",
)
PLAIN = Source(file="/books/notes.md", page=1, text="Bring a red lamp.", score=0.1, unit="part")


class Shelf:
    """Answers the requests about documents as a library with two files would."""

    def __init__(self, session: Any) -> None:
        self.session = session
        self.entries: list[DocumentEntry] = []
        self.gate = threading.Event()
        self.gate.set()
        session.script |= {
            LibraryRequest: self.open,
            IndexRequest: self.index,
            SearchRequest: self.search,
            AskRequest: self.ask,
            RenderPageRequest: self.render,
            **dict.fromkeys(
                (WarmPagesRequest, CloseLibraryRequest, DeleteLibraryRequest),
                lambda request, handle: iter(()),
            ),
            PageTextRequest: self.characters,
            FindTextRequest: self.find,
        }
        self.password = ""
        self.outdated = 0

    def opened(self, request: Any) -> LibraryOpened:
        return LibraryOpened(
            run_id=request.run_id,
            library=request.library,
            embedder="builtin",
            documents=tuple(self.entries),
            passages=sum(entry.passages for entry in self.entries),
            outdated=self.outdated,
        )

    def open(self, request: LibraryRequest, handle: RunHandle) -> Iterator[Event]:
        yield self.opened(request)

    def index(self, request: IndexRequest, handle: RunHandle) -> Iterator[Event]:
        self.entries = [entry for entry in self.entries if entry.file not in request.remove]
        files = request.add or [entry.file for entry in self.entries][: self.outdated]
        for number, file in enumerate(files):
            yield IndexProgress(
                run_id=request.run_id, stage="embedding", file=file, files_done=number,
                files_total=len(files), pages_done=1, pages_total=4, passages_done=3, seconds=4.0,
                seconds_left=65.0, page=1, file_pages=4,
            )  # fmt: skip
            while not self.gate.wait(0.005):
                handle.check()
            entry = DocumentEntry(file=file, state="indexed", pages=4, passages=12)
            if file.endswith("locked.pdf") and file not in dict(request.passwords):
                entry = DocumentEntry(
                    file=file, state="unreadable", reason="password", message="It is protected."
                )
            self.entries = [*(e for e in self.entries if e.file != file), entry]
            yield DocumentIndexed(run_id=request.run_id, entry=entry)
        self.outdated = 0
        yield self.opened(request)

    def search(self, request: SearchRequest, handle: RunHandle) -> Iterator[Event]:
        hits = (TICKET, PLAIN) if "ticket" in request.query else ()
        yield Hits(run_id=request.run_id, query=request.query, hits=hits, found=bool(hits), seconds=0.01)

    def ask(self, request: AskRequest, handle: RunHandle) -> Iterator[Event]:
        found = "ticket" in request.question or request.answer_anyway
        refused = "price" in request.question
        yield SourcesChosen(
            run_id=request.run_id, question=request.question, sources=(TICKET,) if found else (),
            left_out=(PLAIN,), tokens=40 if found else 0, token_budget=512,
            messages=(Message(role="user", content=f"[1] {TICKET.text}"),) if found else (),
        )  # fmt: skip
        if not found:
            yield Answer(run_id=request.run_id, text="It is not there.", sources=(), found=False)
            return
        if refused:
            yield Answer(
                run_id=request.run_id, text="It is not there.", sources=(TICKET,), found=False, nearest=1
            )
            return
        text = "It costs 6 crowns [1]. It is fun."
        for index, piece in enumerate(("It costs", " 6 crowns", " [1].", " It is fun.")):
            if self.session.stepwise:
                self.session.wait_for_step(handle)
            yield self.session.token(request.run_id, index, piece, 0.3 if "6" in piece else 0.9)
        yield Answer(
            run_id=request.run_id,
            text=text,
            sources=(TICKET,),
            citations=(CitationMark(start=18, end=21, number=1),),
            sentences=(
                SentenceSupport(start=0, end=22, support=0.9, source=1, supported=True),
                SentenceSupport(start=23, end=33, support=0.1, source=1, supported=False),
            ),
        )

    def render(self, request: RenderPageRequest, handle: RunHandle) -> Iterator[Event]:
        if self.password and request.password != self.password:
            raise PasswordNeeded("The file is protected by a password.")
        height = request.width * 2
        yield PageRendered(
            run_id=request.run_id, file=request.file, page=request.page, pages=4, width=request.width,
            height=height, points=(400.0, 800.0), transform=(1 / 400, 0.0, 0.0, -1 / 800, 0.0, 1.0),
            rgb=b"\xff" * (3 * request.width * height),
        )  # fmt: skip

    def characters(self, request: PageTextRequest, handle: RunHandle) -> Iterator[Event]:
        """ "Red lamp" and "at dusk" on two lines, each letter 10 points wide and 20 high."""
        text = "Red lamp\nat dusk"
        rows = [array("f", [nan] * 4)] * len(text)
        for line, (start, end) in enumerate(((0, 8), (9, 16))):
            for column, index in enumerate(range(start, end)):
                if text[index] != " ":
                    left, bottom = 100.0 + 10 * column, 700.0 - 40 * line
                    rows[index] = array("f", [left, bottom, left + 10, bottom + 20])
        yield PageText(
            run_id=request.run_id,
            file=request.file,
            page=request.page,
            text=text,
            boxes=b"".join(row.tobytes() for row in rows),
        )

    def find(self, request: FindTextRequest, handle: RunHandle) -> Iterator[Event]:
        box = ((100.0, 700.0, 130.0, 720.0),)
        for done, page in enumerate((3, 4, 1, 2), start=1):
            yield TextFound(
                run_id=request.run_id, file=request.file, text=request.text, page=page,
                places=(box,) * {"red": (0, 1, 0, 2, 0)[page], "blue": 0}[request.text],
                pages_done=done, pages=4,
            )  # fmt: skip


@pytest.fixture
def shelf(fake_session: Any) -> Shelf:
    """The scripted library."""
    return Shelf(fake_session)


@pytest.fixture
def start(qtbot: Any, qapp: QApplication, fake_session: Any, tmp_path: Path) -> Iterator[Start]:
    """Start the app with its documents shown, as often as wanted."""
    apps: list[App] = []

    def make() -> App:
        app = App(
            qapp,
            Options(
                profile=Profile.under(tmp_path / "profile"),
                make_engine=lambda: fake_session,
                make_librarian=lambda: fake_session,
                make_documents=lambda: fake_session,
            ),
        )
        apps.append(app)
        app.show()
        qtbot.waitUntil(lambda: app.models.models.loaded is not None)
        qtbot.mouseClick(child(app, "documentsSegment"), Qt.MouseButton.LeftButton)
        qtbot.waitUntil(lambda: app.models.library.state == "idle")
        return app

    yield make
    for app in apps:
        app.widgets.window.close()
        app.theme.deleteLater()
        app.widgets.window.deleteLater()


def child(app: App, name: str) -> Any:
    found = app.widgets.window.findChild(QWidget, name)
    assert found is not None, name
    return found


def drop(area: Any, *paths: str) -> None:
    data = QMimeData()
    data.setUrls([QUrl.fromLocalFile(path) for path in paths])
    place = QPointF(QPoint(10, 10))
    buttons, keys = Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier
    area.dropEvent(QDropEvent(place, Qt.DropAction.CopyAction, data, buttons, keys))


def fill(app: App, qtbot: Any, *paths: str) -> None:
    drop(child(app, "dropArea"), *(paths or ("/books/handbook.pdf", "/books/notes.md")))
    qtbot.waitUntil(lambda: app.models.library.state == "idle" and app.models.library.searchable)


def ask(app: App, qtbot: Any, question: str) -> None:
    child(app, "questionInput").setText(question)
    qtbot.mouseClick(child(app, "askButton"), Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: not app.models.answers.running)


def test_dropped_files_are_read_into_the_library_and_listed(start: Start, shelf: Shelf, qtbot: Any) -> None:
    app = start()
    assert child(app, "trySample").isVisible()
    fill(app, qtbot)
    table = child(app, "fileTable")
    rows = [[table.model().index(r, c).data() for c in range(3)] for r in range(table.model().rowCount())]
    assert rows == [["handbook.pdf", "4", "ready"], ["notes.md", "4", "ready"]]
    assert child(app, "libraryCount").text() == "2 documents, 24 passages"


def test_files_dropped_on_the_window_go_into_the_library_while_it_is_shown(
    start: Start, shelf: Shelf, qtbot: Any, tmp_path: Path
) -> None:
    app = start()
    drop(app.widgets.window, str(tmp_path))
    qtbot.waitUntil(lambda: app.models.library.searchable)
    assert [entry.file for entry in app.models.library.documents.entries] == [str(tmp_path)]


def test_progress_names_file_page_and_time_left_and_a_pause_loses_nothing(
    start: Start, shelf: Shelf, fake_session: Any, qtbot: Any
) -> None:
    app = start()
    shelf.gate.clear()
    drop(child(app, "dropArea"), "/books/handbook.pdf", "/books/notes.md")
    detail = child(app, "indexDetail")
    qtbot.waitUntil(lambda: detail.text() != "")
    assert detail.text() == "file 1 of 2  ·  page 1 of 4  ·  about 1 min 5 s left"
    qtbot.mouseClick(child(app, "pauseIndexing"), Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: app.models.library.state == "paused")
    shelf.gate.set()
    qtbot.mouseClick(child(app, "resumeIndexing"), Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: app.models.library.state == "idle")
    assert fake_session.of(IndexRequest)[-1].add == ("/books/handbook.pdf", "/books/notes.md")
    assert len(app.models.library.documents.entries) == 2


def test_a_file_dropped_while_another_is_read_is_read_too(start: Start, shelf: Shelf, qtbot: Any) -> None:
    app = start()
    shelf.gate.clear()
    drop(child(app, "dropArea"), "/books/handbook.pdf")
    qtbot.waitUntil(lambda: app.models.library.progress is not None)
    drop(child(app, "dropArea"), "/books/notes.md")
    shelf.gate.set()
    qtbot.waitUntil(lambda: app.models.library.state == "idle")
    assert {entry.file for entry in app.models.library.documents.entries} == {
        "/books/handbook.pdf",
        "/books/notes.md",
    }


def test_a_library_of_an_earlier_version_is_read_anew_by_itself_and_says_so(
    start: Start, shelf: Shelf, qtbot: Any
) -> None:
    app = start()
    shelf.entries = [DocumentEntry(file="/books/old.pdf", state="indexed", pages=4, passages=12)]
    shelf.outdated = 1
    shelf.gate.clear()
    qtbot.mouseClick(child(app, "newLibrary"), Qt.MouseButton.LeftButton)
    qtbot.keyClicks(child(app, "libraryName"), "old")
    qtbot.keyClick(child(app, "libraryName"), Qt.Key.Key_Return)
    detail = child(app, "indexDetail")
    qtbot.waitUntil(lambda: "earlier version" in detail.text() and "page 1 of 4" in detail.text())
    assert app.models.library.searchable
    shelf.gate.set()
    qtbot.waitUntil(lambda: app.models.library.state == "idle")
    assert child(app, "indexProgress").isHidden()
    assert "earlier" not in detail.text()


def test_cancelling_leaves_out_what_is_not_read_yet(
    start: Start, shelf: Shelf, fake_session: Any, qtbot: Any
) -> None:
    app = start()
    shelf.gate.clear()
    drop(child(app, "dropArea"), "/books/handbook.pdf")
    qtbot.waitUntil(lambda: app.models.library.progress is not None)
    qtbot.mouseClick(child(app, "cancelIndexing"), Qt.MouseButton.LeftButton)
    shelf.gate.set()
    qtbot.waitUntil(lambda: app.models.library.state == "idle")
    assert fake_session.of(IndexRequest)[-1].drop_unread


def test_asking_works_while_reading_goes_on(start: Start, shelf: Shelf, qtbot: Any) -> None:
    app = start()
    fill(app, qtbot)
    shelf.gate.clear()
    drop(child(app, "dropArea"), "/books/more.pdf")
    qtbot.waitUntil(lambda: app.models.library.progress is not None)
    ask(app, qtbot, "What does a ticket cost?")
    assert app.models.answers.last is not None
    assert app.models.answers.last.state == "done"
    assert app.models.library.state == "indexing"
    shelf.gate.set()
    qtbot.waitUntil(lambda: app.models.library.state == "idle")


def test_hits_come_while_a_question_is_typed_and_a_click_opens_the_page(
    start: Start, shelf: Shelf, fake_session: Any, qtbot: Any
) -> None:
    app = start()
    fill(app, qtbot)
    qtbot.keyClicks(child(app, "questionInput"), "ticket")
    qtbot.waitUntil(lambda: app.models.sources.rowCount() == 2)
    assert len(fake_session.of(SearchRequest)) < len("ticket")
    listing = child(app, "sourceList")
    place = listing.visualRect(listing.model().index(0, 0)).center()
    qtbot.mouseClick(listing.viewport(), Qt.MouseButton.LeftButton, pos=place)
    qtbot.waitUntil(lambda: app.models.page.state == "picture")
    assert child(app, "pageNumber").text() == "3 / 4"
    (mark,) = app.models.page.marks()[0]
    area = mark.boundingRect()
    assert (area.left(), area.top()) == (pytest.approx(100 / 400), pytest.approx(1 - 612 / 800))


def open_ticket(app: App, qtbot: Any) -> None:
    """Show the page of the passage about tickets."""
    fill(app, qtbot)
    app.widgets.document_intents.source_opened.emit(TICKET)
    qtbot.waitUntil(lambda: app.models.page.characters is not None)


def on_page(app: App, x: float, y: float) -> QPoint:
    """Where a PDF point of the scripted page is on its paper."""
    paper = child(app, "pagePaper")
    return QPoint(round(x / 400 * paper.width()), round((1 - y / 800) * paper.height()))


def test_text_on_a_page_is_selected_with_the_mouse_and_copied(
    start: Start, shelf: Shelf, qapp: QApplication, qtbot: Any
) -> None:
    app = start()
    open_ticket(app, qtbot)
    paper, left = child(app, "pagePaper"), Qt.MouseButton.LeftButton
    qtbot.mousePress(paper, left, pos=on_page(app, 142, 710))
    end = QPointF(on_page(app, 118, 670))
    move = QMouseEvent(QEvent.Type.MouseMove, end, end, left, left, Qt.KeyboardModifier.NoModifier)
    QApplication.sendEvent(paper, move)
    qtbot.mouseRelease(paper, left, pos=end.toPoint())
    assert app.models.page.selected_text == "lamp\nat"
    assert len(app.models.page.selected_shapes()) == 2
    qtbot.keyClick(child(app, "pageView"), Qt.Key.Key_C, Qt.KeyboardModifier.ControlModifier)
    assert qapp.clipboard().text() == "lamp\nat"
    qtbot.mouseDClick(paper, left, pos=on_page(app, 145, 670))
    assert app.models.page.selected_text == "dusk"
    qtbot.mouseClick(paper, left, pos=on_page(app, 300, 100))
    assert app.models.page.selected_text == ""


def test_words_are_looked_for_in_the_document_from_the_page_in_sight(
    start: Start, shelf: Shelf, qtbot: Any
) -> None:
    app = start()
    open_ticket(app, qtbot)
    qtbot.mouseClick(child(app, "findWords"), Qt.MouseButton.LeftButton)
    field, words = child(app, "findInDocument"), child(app, "foundCount")
    assert field.isVisible()
    qtbot.keyClicks(field, "red")
    qtbot.waitUntil(lambda: words.text() == "2 of 3")
    assert app.models.page.number == 3
    assert [len(shapes) for shapes in app.models.page.found_shapes()] == [1, 1]
    qtbot.keyClick(field, Qt.Key.Key_Return)
    assert words.text() == "3 of 3"
    qtbot.keyClick(field, Qt.Key.Key_Return)
    assert (words.text(), app.models.page.number) == ("1 of 3", 1)
    qtbot.waitUntil(lambda: app.models.page.state == "picture")
    qtbot.keyClick(field, Qt.Key.Key_Return, Qt.KeyboardModifier.ShiftModifier)
    assert app.models.page.number == 3
    field.setText("blue")
    qtbot.keyClick(field, Qt.Key.Key_Return)
    qtbot.waitUntil(lambda: words.text() == "not found")
    qtbot.keyClick(field, Qt.Key.Key_Escape)
    assert not field.isVisible()
    assert app.models.page.found == ()


def test_an_answer_streams_and_marks_citations_doubt_and_what_no_source_supports(
    start: Start, shelf: Shelf, fake_session: Any, qtbot: Any
) -> None:
    app = start()
    fill(app, qtbot)
    fake_session.stepwise = True
    child(app, "questionInput").setText("What does a ticket cost?")
    qtbot.mouseClick(child(app, "askButton"), Qt.MouseButton.LeftButton)
    view = child(app, "answerView")
    fake_session.step()
    qtbot.waitUntil(lambda: "It costs" in view.toPlainText())
    assert child(app, "stopAnswer").isVisible()
    fake_session.step(3)
    qtbot.waitUntil(lambda: not app.models.answers.running)
    page = view.toHtml()
    assert 'href="source:0:1"' in page
    tips = tool_tips(view)
    assert tips[" 6 crowns"] == "The model gave this 30%."
    assert tips["It is fun."].startswith("No source supports this sentence")
    assert "1 passage read (40 of at most 512 tokens); 1 more found and not read." in view.toPlainText()
    assert [row.kind for row in app.models.sources.rows] == ["read", "left-out"]


def tool_tips(view: Any) -> dict[str, str]:
    """The stretches of an answer that say something on hovering."""
    tips, block = {}, view.document().begin()
    while block.isValid():
        for stretch in block:
            fragment = stretch.fragment()
            if fragment.charFormat().toolTip():
                tips[fragment.text()] = fragment.charFormat().toolTip()
        block = block.next()
    return tips


def test_a_citation_opens_its_page(start: Start, shelf: Shelf, qtbot: Any) -> None:
    app = start()
    fill(app, qtbot)
    ask(app, qtbot, "What does a ticket cost?")
    child(app, "answerView").anchorClicked.emit(QUrl("source:0:1"))
    qtbot.waitUntil(lambda: app.models.page.state == "picture")
    assert (app.models.page.file, app.models.page.number) == ("/books/handbook.pdf", 3)


def test_what_is_not_in_the_documents_is_said_and_can_be_asked_anyway(
    start: Start, shelf: Shelf, fake_session: Any, qtbot: Any
) -> None:
    app = start()
    fill(app, qtbot)
    ask(app, qtbot, "Who won the cup?")
    view = child(app, "answerView")
    assert "This is not in the documents." in view.toPlainText()
    view.anchorClicked.emit(QUrl("anyway:"))
    qtbot.waitUntil(lambda: len(app.models.answers.turns) == 2 and not app.models.answers.running)
    assert fake_session.of(AskRequest)[-1].answer_anyway


def test_where_the_model_finds_no_answer_the_most_relevant_sentence_is_shown(
    start: Start, shelf: Shelf, qtbot: Any
) -> None:
    app = start()
    fill(app, qtbot)
    ask(app, qtbot, "What is the price of a ticket?")
    view = child(app, "answerView")
    assert "The model read the passages below and found no answer in them." in view.toPlainText()
    assert "The most relevant sentence is: “A ticket costs 6 crowns.” [1]" in view.toPlainText()
    assert 'href="source:0:1"' in view.toHtml()


def test_a_follow_up_question_brings_the_turns_before(
    start: Start, shelf: Shelf, fake_session: Any, qtbot: Any
) -> None:
    app = start()
    fill(app, qtbot)
    ask(app, qtbot, "What does a ticket cost?")
    ask(app, qtbot, "And a ticket for children?")
    history = fake_session.of(AskRequest)[-1].history
    assert [message.role for message in history] == ["user", "assistant"]
    assert history[0].content == "What does a ticket cost?"
    qtbot.mouseClick(child(app, "newThread"), Qt.MouseButton.LeftButton)
    ask(app, qtbot, "What does a ticket cost?")
    assert fake_session.of(AskRequest)[-1].history == ()


def test_an_answer_can_be_stopped(start: Start, shelf: Shelf, fake_session: Any, qtbot: Any) -> None:
    app = start()
    fill(app, qtbot)
    fake_session.stepwise = True
    child(app, "questionInput").setText("ticket?")
    qtbot.mouseClick(child(app, "askButton"), Qt.MouseButton.LeftButton)
    fake_session.step()
    qtbot.waitUntil(lambda: app.models.answers.last.text != "")
    qtbot.mouseClick(child(app, "stopAnswer"), Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: not app.models.answers.running)
    assert app.models.answers.last.state == "stopped"
    assert "It costs" in child(app, "answerView").toPlainText()


def test_a_protected_document_asks_for_its_password_once(
    start: Start, shelf: Shelf, fake_session: Any, qtbot: Any
) -> None:
    app = start()
    fill(app, qtbot, "/books/locked.pdf", "/books/notes.md")
    child(app, "fileTable").selectRow(0)
    assert not child(app, "documentPassword").isHidden()
    qtbot.keyClicks(child(app, "documentPassword"), "sesame")
    qtbot.mouseClick(child(app, "givePassword"), Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: app.models.library.state == "idle")
    assert fake_session.of(IndexRequest)[-1].passwords == (("/books/locked.pdf", "sesame"),)
    shelf.password = "sesame"
    app.documents.pages.open_source(Source(file="/books/locked.pdf", page=1, text="", score=1.0))
    qtbot.waitUntil(lambda: app.models.page.state == "picture")


def test_a_page_that_is_protected_asks_in_its_place(start: Start, shelf: Shelf, qtbot: Any) -> None:
    app = start()
    shelf.password = "sesame"
    app.documents.pages.open_source(TICKET)
    qtbot.waitUntil(lambda: app.models.page.state == "password")
    qtbot.keyClicks(child(app, "pagePassword"), "sesame")
    qtbot.mouseClick(child(app, "showProtectedPage"), Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: app.models.page.state == "picture")


def test_documents_that_have_no_pages_show_the_passage_itself(start: Start, shelf: Shelf, qtbot: Any) -> None:
    app = start()
    app.documents.pages.open_source(PLAIN)
    assert child(app, "passageText").toPlainText().strip() == "Bring a red lamp."
    assert child(app, "passageText").isVisible()


def test_pages_are_turned_and_zoomed(start: Start, shelf: Shelf, fake_session: Any, qtbot: Any) -> None:
    app = start()
    app.documents.pages.open_source(TICKET)
    qtbot.waitUntil(lambda: app.models.page.state == "picture")
    qtbot.mouseClick(child(app, "nextPage"), Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: app.models.page.state == "picture")
    assert child(app, "pageNumber").text() == "4 / 4"
    assert not child(app, "nextPage").isEnabled()
    assert app.models.page.marks() == ([], [])
    before = app.models.page.picture.width
    qtbot.mouseClick(child(app, "zoomIn"), Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: app.models.page.picture.width > before)


def explained(*scores: float) -> Callable[..., Iterator[Event]]:
    """A script that gives the two sentences of the source, and the question before it, these scores."""

    def script(request: ExplainRequest, handle: RunHandle) -> Iterator[Event]:
        context = f"What does it cost? {request.messages[0].content}"
        texts = ("What does it cost?", "Open evenings.", "A ticket costs 6 crowns.")
        segments = tuple(
            SegmentSpan(text=text, start=context.index(text), end=context.index(text) + len(text), tokens=())
            for text in texts
        )
        target = TargetSpan(text=request.reply_text, start=0, end=9, ids=(), logprob=-1.0)
        yield ExplanationStarted(
            run_id=request.run_id, method=request.method, context=context, segments=segments,
            targets=(target,), granularity="sentence",
            cost=ExplanationCost(
                forward_passes=3, token_forwards=9, naive_token_forwards=9, seconds=0.1, memory=0
            ),
        )  # fmt: skip
        yield Explanation(
            run_id=request.run_id, method=request.method, segments=segments, targets=(target,),
            scores=(scores,), forward_passes=3, seconds=0.1,
        )  # fmt: skip

    return script


def test_what_carried_an_answer_is_summed_up_by_source(
    start: Start, shelf: Shelf, fake_session: Any, qtbot: Any
) -> None:
    fake_session.script[ExplainRequest] = explained(5.0, 0.5, 2.0)
    app = start()
    fill(app, qtbot)
    ask(app, qtbot, "What does a ticket cost?")
    qtbot.mouseClick(child(app, "explainAnswerButton"), Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: app.models.sources.rows[0].influence is not None)
    influence = app.models.sources.rows[0].influence
    assert (influence.nats, influence.rank, influence.weak) == (2.5, 1, False)
    told = [row.sentence for row in app.models.sources.rows if row.sentence is not None]
    assert [(one.text, one.nats, one.share) for one in told] == [
        ("Open evenings.", 0.5, 0.25),
        ("A ticket costs 6 crowns.", 2.0, 1.0),
    ]
    assert [row.kind for row in app.models.sources.rows] == ["read", "sentence", "sentence", "left-out"]
    heard = app.models.sources.index(2).data(Qt.ItemDataRole.AccessibleTextRole)
    assert heard == "A ticket costs 6 crowns.: +2.00 nats"
    assert fake_session.of(ExplainRequest)[0].reply_text == "It costs 6 crowns [1]. It is fun."


def test_a_citation_without_influence_is_flagged(
    start: Start, shelf: Shelf, fake_session: Any, qtbot: Any
) -> None:
    fake_session.script[ExplainRequest] = explained(5.0, -0.5, 0.25)
    app = start()
    fill(app, qtbot)
    ask(app, qtbot, "What does a ticket cost?")
    qtbot.mouseClick(child(app, "explainAnswerButton"), Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: app.models.sources.rows[0].influence is not None)
    assert app.models.sources.rows[0].influence.weak
    heard = app.models.sources.index(0).data(Qt.ItemDataRole.AccessibleTextRole)
    assert heard.startswith("Cited without influence.")


def test_the_only_source_is_flagged_where_the_answer_does_not_rest_on_it(
    start: Start, shelf: Shelf, fake_session: Any, qtbot: Any
) -> None:
    fake_session.script[ExplainRequest] = explained(5.0, 0.01, 0.02)
    app = start()
    fill(app, qtbot)
    ask(app, qtbot, "What does a ticket cost?")
    qtbot.mouseClick(child(app, "explainAnswerButton"), Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: app.models.sources.rows[0].influence is not None)
    assert app.models.sources.rows[0].influence.weak


@pytest.mark.parametrize("width", [160, 200, 260, 400])
def test_no_head_of_the_list_of_documents_is_cut(
    start: Start, shelf: Shelf, fake_session: Any, qtbot: Any, width: int
) -> None:
    app = start()
    fill(app, qtbot)
    table = child(app, "fileTable")
    table.resize(width, 200)
    header = table.horizontalHeader()
    seen = [section for section in range(3) if not header.isSectionHidden(section)]
    assert {0, 2} <= set(seen)
    qtbot.waitUntil(
        lambda: all(header.sectionSize(section) >= header.sectionSizeHint(section) for section in seen)
    )


def test_documents_are_taken_out_of_the_library(
    start: Start, shelf: Shelf, fake_session: Any, qtbot: Any
) -> None:
    app = start()
    fill(app, qtbot)
    child(app, "fileTable").selectRow(0)
    qtbot.mouseClick(child(app, "removeDocuments"), Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: app.models.library.state == "idle")
    assert fake_session.of(IndexRequest)[-1].remove == ("/books/handbook.pdf",)
    assert [entry.file for entry in app.models.library.documents.entries] == ["/books/notes.md"]


def test_there_can_be_several_libraries_and_the_last_one_is_opened_again(
    start: Start, shelf: Shelf, fake_session: Any, qtbot: Any
) -> None:
    app = start()
    qtbot.mouseClick(child(app, "newLibrary"), Qt.MouseButton.LeftButton)
    qtbot.keyClicks(child(app, "libraryName"), "Contracts: 2026")
    qtbot.keyClick(child(app, "libraryName"), Qt.Key.Key_Return)
    qtbot.waitUntil(lambda: app.models.library.state == "idle")
    picker = child(app, "libraryPicker")
    assert picker.currentText() == "Contracts 2026"
    folder = Path(fake_session.of(LibraryRequest)[-1].library)
    assert folder.name == "Contracts 2026"
    folder.mkdir(parents=True)
    app.widgets.window.close()
    assert start().models.library.current == "Contracts 2026"


def pick(app: App, name: str) -> None:
    """Choose from the menu of the library."""
    (action,) = [one for one in child(app, "libraryMenu").menu().actions() if one.objectName() == name]
    action.trigger()


def make_library(app: App, qtbot: Any, name: str) -> None:
    """Make a library, whose folder the scripted session leaves to the test."""
    qtbot.mouseClick(child(app, "newLibrary"), Qt.MouseButton.LeftButton)
    qtbot.keyClicks(child(app, "libraryName"), name)
    qtbot.keyClick(child(app, "libraryName"), Qt.Key.Key_Return)
    qtbot.waitUntil(lambda: (app.models.library.current, app.models.library.state) == (name, "idle"))
    Path(app.documents.libraries.folder).mkdir(parents=True)


def test_a_library_is_renamed_deleted_and_brought_back(
    start: Start, shelf: Shelf, fake_session: Any, qtbot: Any
) -> None:
    app = start()
    library = app.models.library
    make_library(app, qtbot, "Old")
    pick(app, "renameLibrary")
    assert child(app, "libraryName").text() == "Old"
    child(app, "libraryName").setText("New")
    qtbot.keyClick(child(app, "libraryName"), Qt.Key.Key_Return)
    qtbot.waitUntil(lambda: (library.current, library.state) == ("New", "idle"))
    assert "Old" not in library.names
    folder = Path(app.documents.libraries.folder)
    assert folder.is_dir()
    (folder / "kept").touch()
    pick(app, "deleteLibrary")
    qtbot.waitUntil(lambda: library.state == "idle" and library.current != "New")
    assert child(app, "deletedLibraryBar").isVisible()
    assert not folder.exists()
    qtbot.mouseClick(child(app, "undoDeleteLibrary"), Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: (library.current, library.state) == ("New", "idle"))
    assert (folder / "kept").exists()
    assert not fake_session.of(DeleteLibraryRequest)
    pick(app, "deleteLibrary")
    qtbot.waitUntil(lambda: library.state == "idle" and library.current != "New")
    app.widgets.document_intents.delete_settled.emit()
    qtbot.waitUntil(lambda: len(fake_session.of(DeleteLibraryRequest)) == 1)
    assert "New" in fake_session.of(DeleteLibraryRequest)[0].library
    assert not child(app, "deletedLibraryBar").isVisible()


def test_a_new_library_takes_the_embedder_and_the_place_that_were_chosen(
    start: Start, shelf: Shelf, fake_session: Any, qtbot: Any
) -> None:
    app = start()
    field = child(app, "libraryStore")
    field.setText(" s3://bucket/books ")
    field.editingFinished.emit()
    qtbot.mouseClick(child(app, "newLibrary"), Qt.MouseButton.LeftButton)
    assert child(app, "nextEmbedder").text() == "By meaning with all-MiniLM-L6-v2 (built in)"
    app.models.library.set_next_embedder("/models/bge-small")
    assert child(app, "nextEmbedder").text() == "By meaning with bge-small"
    qtbot.keyClicks(child(app, "libraryName"), "Law")
    qtbot.keyClick(child(app, "libraryName"), Qt.Key.Key_Return)
    qtbot.waitUntil(lambda: (app.models.library.current, app.models.library.state) == ("Law", "idle"))
    request = fake_session.of(LibraryRequest)[-1]
    assert (request.embedder, request.store) == ("/models/bge-small", "s3://bucket/books")
    assert app.models.library.next_embedder == "builtin"


def test_a_document_attached_to_a_chat_goes_along_with_the_message(
    start: Start, shelf: Shelf, fake_session: Any, qtbot: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = start()
    qtbot.mouseClick(child(app, "chatSegment"), Qt.MouseButton.LeftButton)
    chosen = ["/books/handbook.pdf", "/books/locked.pdf"]
    monkeypatch.setattr("app.shell.QFileDialog.getOpenFileNames", lambda *_: (chosen, ""))
    shelf.gate.clear()
    qtbot.mouseClick(child(app, "attachButton"), Qt.MouseButton.LeftButton)
    assert [item.name for item in app.models.attachments.items] == ["handbook.pdf", "locked.pdf"]
    app.widgets.chat.composer.set_text("What does a ticket cost?")
    app.widgets.chat.composer.send()
    assert not app.models.transcript.messages, "it waits until the document is read"
    shelf.gate.set()
    qtbot.waitUntil(lambda: bool(app.models.transcript.messages))
    said = app.models.transcript.messages[0].text
    assert said.startswith("Question: What does a ticket cost?\n\nSources:\n[1] handbook.pdf, page 3\n")
    assert TICKET.text in said
    assert PLAIN.text not in said, "passages that hardly fit stay out"
    states = {item.name: item.words for item in app.models.attachments.items}
    assert states == {"handbook.pdf": "4 pages", "locked.pdf": "password?"}
    request = fake_session.of(SearchRequest)[-1]
    assert (request.files, request.rerank) == (("/books/handbook.pdf",), True)
    for _ in range(2):
        qtbot.mouseClick(child(app, "removeAttachment"), Qt.MouseButton.LeftButton)
    assert not app.widgets.chat.attachments.isVisible()
    qtbot.waitUntil(lambda: len(fake_session.of(IndexRequest)) == 3)
    assert fake_session.of(IndexRequest)[-1].remove == ("/books/locked.pdf",)


def test_the_docks_make_room_for_documents_and_come_back(start: Start, shelf: Shelf) -> None:
    app = start()
    window = app.widgets.window
    assert not window.inspector_dock.isVisible()
    saved = window.save_layout()
    window.show_mode("chat")
    assert window.inspector_dock.isVisible()
    assert window.conversation_dock.isVisible()
    window.restore_layout(saved)
    assert window.inspector_dock.isVisible()


def test_the_sample_is_read_asked_and_shown_with_real_parts(
    qtbot: Any, qapp: QApplication, tmp_path: Path
) -> None:
    app = App(qapp, Options(profile=Profile.under(tmp_path / "profile")))
    try:
        app.show()
        qtbot.waitUntil(lambda: app.models.models.loaded is not None, timeout=60_000)
        app.widgets.window.show_mode("documents")
        qtbot.waitUntil(lambda: app.models.library.state == "idle", timeout=60_000)
        qtbot.mouseClick(child(app, "trySample"), Qt.MouseButton.LeftButton)
        qtbot.waitUntil(
            lambda: app.models.library.state == "idle" and app.models.library.searchable, timeout=60_000
        )
        child(app, "questionInput").setText("How many crowns does a ticket cost for adults?")
        qtbot.keyClick(child(app, "questionInput"), Qt.Key.Key_Return)
        qtbot.waitUntil(lambda: not app.models.answers.running, timeout=60_000)
        assert app.models.answers.last.state == "done"
        best = app.models.sources.rows[0].source
        assert "A ticket costs 6 crowns" in best.text
        app.widgets.document_intents.source_opened.emit(best)
        qtbot.waitUntil(lambda: app.models.page.state == "picture", timeout=60_000)
        assert app.models.page.number == 3
        assert app.models.page.marks()[0]
        assert app.models.faults.latest is None
    finally:
        app.widgets.window.close()
        app.theme.deleteLater()
        app.widgets.window.deleteLater()
