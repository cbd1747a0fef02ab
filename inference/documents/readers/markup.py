"""HTML and EPUB."""

from __future__ import annotations

import posixpath
import warnings
import zipfile
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

from bs4 import BeautifulSoup, XMLParsedAsHTMLWarning
from bs4.element import NavigableString, Tag

from inference.documents.pages import Heading, Page
from inference.documents.readers.document import Document, UnreadableDocument
from inference.documents.readers.office import check_archive
from inference.documents.readers.plain import decode, read_bytes

_SKIPPED = ["script", "style", "noscript", "template", "svg", "nav", "head"]
_BLOCK_TAGS = """
p div section article li ul ol dl dt dd table tr h1 h2 h3 h4 h5 h6 pre blockquote br hr figure
figcaption header footer main aside body caption
"""
_BLOCKS = frozenset(_BLOCK_TAGS.split())
_HEADINGS = frozenset(["h1", "h2", "h3", "h4", "h5", "h6"])


def open_html(path: Path, password: str | None) -> Document:
    """A web page, without its scripts, styles and navigation."""
    soup = _parse(read_bytes(path))
    title = soup.title.get_text(" ", strip=True) if soup.title else ""
    return Document(pages=iter([_page(soup, 1, "page")]), page_count=1, title=title)


def open_epub(path: Path, password: str | None) -> Document:
    """A book: a page for each chapter in the order of its spine.

    Raises:
        UnreadableDocument: It is no EPUB, or protected.
    """
    check_archive(path)
    try:
        with zipfile.ZipFile(path) as book:
            if "META-INF/encryption.xml" in book.namelist() and "META-INF/rights.xml" in book.namelist():
                raise UnreadableDocument("unsupported", "The book is protected against copying.")
            title, chapters = _spine(book)
            pages = [
                _page(_parse(book.read(name)), number, "chapter") for number, name in enumerate(chapters, 1)
            ]
    except (KeyError, zipfile.BadZipFile) as error:
        raise UnreadableDocument("damaged", "The book is damaged: a chapter is missing.") from error
    return Document(pages=iter(pages), page_count=len(pages), title=title)


def _spine(book: zipfile.ZipFile) -> tuple[str, list[str]]:
    """The title and the names of the chapters' files."""
    container = BeautifulSoup(book.read("META-INF/container.xml"), "xml")
    root = container.find("rootfile")
    if not isinstance(root, Tag):
        raise UnreadableDocument("damaged", "The book is damaged: it has no list of contents.")
    package_name = str(root.get("full-path", ""))
    package = BeautifulSoup(book.read(package_name), "xml")
    files = {str(item.get("id")): str(item.get("href")) for item in package.find_all("item")}
    folder = posixpath.dirname(package_name)
    names = [
        files[str(item.get("idref"))] for item in package.find_all("itemref") if item.get("idref") in files
    ]
    title = package.find("title")
    return (
        title.get_text(strip=True) if isinstance(title, Tag) else "",
        [posixpath.normpath(posixpath.join(folder, unquote(name))) for name in names],
    )


def _parse(data: bytes) -> BeautifulSoup:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", XMLParsedAsHTMLWarning)
        return BeautifulSoup(data, "lxml") if _declares_charset(data) else BeautifulSoup(decode(data), "lxml")


def _declares_charset(data: bytes) -> bool:
    return b"charset" in data[:2048].lower() or b"encoding=" in data[:200].lower()


def _page(soup: BeautifulSoup, number: int, unit: str) -> Page:
    for tag in soup.find_all(_SKIPPED):
        tag.decompose()
    blocks: list[str] = []
    headings: list[Heading] = []
    length = 0
    for text, is_heading in _blocks(soup.body or soup):
        if is_heading:
            headings.append(Heading(start=length, text=text[:120]))
        blocks.append(text)
        length += len(text) + 1
    return Page(number=number, text="\n".join(blocks), unit=unit, headings=tuple(headings))


def _blocks(root: Tag) -> Iterator[tuple[str, bool]]:
    """The text of each block in order, and whether it is a heading; table cells are kept apart by " | "."""
    words: list[str] = []
    heading = False
    for kind, value in _walk(root):
        if kind == "text":
            words.append(value)
        elif kind == "cell":
            words.append(" | ")
        else:
            if text := " ".join("".join(words).split()).strip("| "):
                yield text, heading
            words, heading = [], value in _HEADINGS and kind == "open"
    if text := " ".join("".join(words).split()).strip("| "):
        yield text, heading


def _walk(root: Tag) -> Iterator[tuple[str, str]]:
    """Text, and the edges of blocks, in document order; a stack of its own, as hostile pages nest deeply."""
    stack: list[tuple[str, Tag | NavigableString]] = [("open", root)]
    while stack:
        step, node = stack.pop()
        if not isinstance(node, Tag):
            if type(node) is NavigableString:  # not a comment or a declaration
                yield "text", str(node)
            continue
        if node.name in ("td", "th") and step == "open":
            yield "cell", ""
        elif node.name in _BLOCKS:
            yield step, node.name
        if step == "open":
            stack.append(("close", node))
            stack.extend(("open", child) for child in reversed(list(node.children)))  # type: ignore[misc]
