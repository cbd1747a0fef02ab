"""The tour's stop at the documents: the sample is dropped, asked, and a citation is opened."""

from __future__ import annotations

from importlib import resources

from PySide6.QtCore import QMimeData, QPoint, QPointF, Qt, QUrl
from PySide6.QtGui import QDropEvent
from PySide6.QtTest import QTest

from app.tour import Visit

_QUESTIONS = (
    "How many crowns does a ticket cost for adults?",
    "How long does the camera take to cool down?",
    "Which telescope found a supernova in October 2009?",
)


def documents(visit: Visit) -> None:
    """The sample document is dropped; it is searched while a question is typed."""
    app = visit.app
    app.widgets.window.show_mode("documents")
    library, sources = app.models.library, app.models.sources
    visit.wait(lambda: library.state == "idle", "the open library", 120)
    visit.shoot("empty")
    sample = str(resources.files("resources").joinpath("documents", "sample.pdf"))
    _drop(visit, sample)
    visit.wait(lambda: library.searchable and library.state == "idle", "the document", 180)
    visit.note(passages=library.passages, documents=len(library.documents.entries))
    QTest.keyClicks(visit.find("questionInput"), "cable")
    visit.wait(lambda: bool(sources.rows), "hits while typing", 60)
    visit.check("cable" in sources.rows[0].source.text, "the best hit holds the word")
    visit.shoot("hits")
    app.widgets.documents.question.field.clear()


def ask(visit: Visit) -> None:
    """Questions are answered from the sample; a citation opens its page with the passage marked."""
    app = visit.app
    answers, page = app.models.answers, app.models.page
    found = cited = 0
    for question in _QUESTIONS:
        app.widgets.documents.question.field.setText(question)
        QTest.keyClick(visit.find("questionInput"), Qt.Key.Key_Return)
        visit.wait(lambda: not answers.running, "the answer", 180)
        turn = answers.last
        visit.check(turn is not None and turn.state == "done", "the question is answered")
        assert turn is not None
        found += bool(turn.answer and turn.answer.found)
        if turn.answer is not None and turn.answer.citations:
            cited += 1
            number = turn.answer.citations[0].number
            app.widgets.document_intents.citation_opened.emit(len(answers.turns) - 1, number)
            visit.wait(lambda: page.state == "picture", "the page", 60)
            visit.check(page.marks()[0], "the passage is marked on its page")
            visit.shoot(f"citation-{cited}")
            _explain(visit)
    visit.note(questions=len(_QUESTIONS), found=found, cited=cited)
    _open_first(visit)


def _explain(visit: Visit) -> None:
    """What carried the answer that was given last."""
    app = visit.app
    app.widgets.documents.explain.click()
    visit.wait(lambda: app.models.answers.last and app.models.answers.last.influences, "the influences", 120)
    turn = app.models.answers.last
    assert turn is not None
    visit.note(influence_of_cited=[round(i.nats, 3) for n, i in turn.influences if turn.sources[n - 1].cited])
    visit.shoot("explained")


def _open_first(visit: Visit) -> None:
    """Open the best source by a click in the list."""
    app = visit.app
    page, listing = app.models.page, app.widgets.documents.sources
    page.clear()
    place = listing.visualRect(app.models.sources.index(0, 0)).center()
    QTest.mouseClick(listing.viewport(), Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier, place)
    visit.wait(lambda: page.state == "picture", "the page of the best source", 60)
    visit.check(page.marks()[0], "its passage is marked")
    visit.shoot("source")
    app.models.settings.update(theme="dark")
    visit.shoot("dark")
    app.models.settings.update(theme="light")
    app.widgets.window.show_mode("chat")


def _drop(visit: Visit, path: str) -> None:
    """Drop a file on the area, as a desktop does."""
    data = QMimeData()
    data.setUrls([QUrl.fromLocalFile(path)])
    event = QDropEvent(
        QPointF(QPoint(20, 20)),
        Qt.DropAction.CopyAction,
        data,
        Qt.MouseButton.LeftButton,
        Qt.KeyboardModifier.NoModifier,
    )
    # Sent as an event it would be lost: Qt delivers drops to what a drag has entered only.
    visit.app.widgets.documents.library.drop.dropEvent(event)
