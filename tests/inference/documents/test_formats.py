"""Every format behind one interface, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import docx
import openpyxl
import pptx
import pytest

from inference.documents.pages import Page
from inference.documents.readers.document import UnreadableDocument
from inference.documents.readers.formats import open_document


def read(file: Path) -> list[Page]:
    return list(open_document(file).pages)


def refusal(file: Path) -> UnreadableDocument:
    with pytest.raises(UnreadableDocument) as refused:
        read(file)
    return refused.value


def test_word(tmp_path: Path) -> None:
    word = docx.Document()
    word.add_heading("The site", level=1)
    word.add_paragraph("It stands on a ridge.")
    table = word.add_table(rows=1, cols=2)
    table.cell(0, 0).text, table.cell(0, 1).text = "mirror", "1.2 m"
    word.add_page_break()
    word.add_paragraph("On the second page.")
    word.save(str(tmp_path / "a.docx"))
    first, second = read(tmp_path / "a.docx")
    assert first.text == "The site\nIt stands on a ridge.\nmirror | 1.2 m"
    assert [heading.text for heading in first.headings] == ["The site"]
    assert (second.number, second.text) == (2, "On the second page.")


def test_powerpoint(tmp_path: Path) -> None:
    slides = pptx.Presentation()
    slide = slides.slides.add_slide(slides.slide_layouts[1])
    slide.shapes.title.text = "Plans"
    slide.placeholders[1].text = "A third telescope"
    slide.notes_slide.notes_text_frame.text = "Say when."
    slides.save(str(tmp_path / "a.pptx"))
    (page,) = read(tmp_path / "a.pptx")
    assert page.unit == "slide"
    assert page.text.splitlines() == ["Plans", "A third telescope", "Say when."]
    assert page.headings[0].text == "Plans"


def test_excel_rows_carry_the_names_of_their_columns(tmp_path: Path) -> None:
    book = openpyxl.Workbook()
    sheet = book.active
    assert sheet is not None
    sheet.title = "Stars"
    for row in [("name", "distance"), ("Vega", 25), ("Altair", 17)]:
        sheet.append(row)
    book.save(tmp_path / "a.xlsx")
    (page,) = read(tmp_path / "a.xlsx")
    assert page.unit == "sheet"
    assert page.label == "Stars, rows 1-3"
    assert page.text.splitlines()[1:] == ["name: Vega | distance: 25", "name: Altair | distance: 17"]


def test_html_without_scripts_and_navigation(tmp_path: Path) -> None:
    file = tmp_path / "a.html"
    file.write_text(
        "<html><head><title>T</title><style>p{}</style></head><body><nav>menu</nav><h1>Head</h1>"
        "<p>One <b>bold</b> word.</p><script>alert(1)</script><ul><li>item</li></ul>"
        "<table><tr><td>a</td><td>b</td></tr></table></body></html>"
    )
    document = open_document(file)
    (page,) = document.pages
    assert document.title == "T"
    assert page.text == "Head\nOne bold word.\nitem\na | b"
    assert [heading.text for heading in page.headings] == ["Head"]


def test_deeply_nested_html_does_not_overflow(tmp_path: Path) -> None:
    file = tmp_path / "deep.html"
    file.write_text("<div>" * 5000 + "bottom" + "</div>" * 5000)
    assert "bottom" in read(file)[0].text


def test_epub_in_the_order_of_its_spine(make_zip: Callable[..., Path]) -> None:
    book = make_zip(
        "a.epub",
        {
            "mimetype": "application/epub+zip",
            "META-INF/container.xml": '<container><rootfile full-path="in/p.opf"/></container>',
            "in/p.opf": (
                '<package><metadata><title>Tales</title></metadata><manifest><item id="b" href="2.xhtml"/>'
                '<item id="a" href="1.xhtml"/></manifest><spine>'
                '<itemref idref="a"/><itemref idref="b"/></spine></package>'
            ),
            "in/1.xhtml": "<html><body><p>First.</p></body></html>",
            "in/2.xhtml": "<html><body><p>Second.</p></body></html>",
        },
    )
    document = open_document(book)
    assert document.title == "Tales"
    assert [(page.number, page.unit, page.text) for page in document.pages] == [
        (1, "chapter", "First."),
        (2, "chapter", "Second."),
    ]


def test_markdown_joins_wrapped_lines_and_knows_headings(tmp_path: Path) -> None:
    file = tmp_path / "a.md"
    file.write_text("# Title\n\nA line\nthat is wrapped.\n\n- item one\n- item two\n")
    (page,) = read(file)
    assert page.text == "Title\nA line that is wrapped.\n- item one\n- item two"
    assert [(heading.start, heading.text) for heading in page.headings] == [(0, "Title")]


def test_source_code_keeps_its_lines(tmp_path: Path) -> None:
    file = tmp_path / "a.py"
    file.write_text("def f(x):\n    return x\n")
    assert read(file)[0].text == "def f(x):\n    return x"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "cp1252", "utf-8-sig"])
def test_text_in_other_encodings(tmp_path: Path, encoding: str) -> None:
    text = "Über den Fluß führt eine schöne alte Brücke, und sie ist schon sehr alt geworden."
    file = tmp_path / "a.txt"
    file.write_bytes(text.encode(encoding))
    assert read(file)[0].text == text


def test_a_wrong_extension_is_seen_through(make_pdf: Callable[..., Path], tmp_path: Path) -> None:
    file = make_pdf("a.pdf", [[(72, 700, 11, "Really a PDF.")]])
    renamed = file.rename(tmp_path / "a.txt")
    assert read(renamed)[0].text == "Really a PDF."


def test_a_zip_bomb_is_refused_before_it_is_unpacked(make_zip: Callable[..., Path]) -> None:
    bomb = make_zip("bomb.docx", {"word/document.xml": b"<w>" + b" " * (80 * 2**20)})
    assert bomb.stat().st_size < 2**20
    assert refusal(bomb).reason == "too-large"


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("a.pdf", b"", "empty"),
        ("a.pdf", b"no pdf at all", "damaged"),
        ("a.docx", b"PK\x03\x04 broken", "damaged"),
        ("a.zip", b"PK\x05\x06" + bytes(18), "unsupported"),
        ("a.png", b"\x89PNG\r\n\x1a\n", "no-text"),
        ("a.doc", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(100), "unsupported"),
        ("a.bin", bytes(range(256)) * 20, "unsupported"),
    ],
)
def test_refusals(tmp_path: Path, name: str, content: bytes, reason: str) -> None:
    file = tmp_path / name
    file.write_bytes(content)
    refused = refusal(file)
    assert refused.reason == reason
    assert refused.message.endswith(".")
