"""Which reader opens a file: by what is in it, then by its name."""

from __future__ import annotations

import stat
import zipfile
from importlib import import_module
from pathlib import Path

from inference.documents.readers.document import Document, Reader, UnreadableDocument

_READERS = "inference.documents.readers"
_BY_SUFFIX = {
    ".html": "markup:open_html", ".htm": "markup:open_html", ".xhtml": "markup:open_html",
    ".txt": "plain:open_text", ".md": "plain:open_text", ".markdown": "plain:open_text",
    ".rst": "plain:open_text", ".tex": "plain:open_text", ".org": "plain:open_text",
    ".adoc": "plain:open_text", "": "plain:open_text",
}  # fmt: skip
_CODE_SUFFIXES = """
.py .pyi .c .h .cc .cpp .hpp .cs .java .kt .js .mjs .ts .tsx .jsx .go .rs .rb .php .pl .lua .r .jl
.swift .scala .sh .bash .zsh .ps1 .bat .sql .json .jsonl .yaml .yml .toml .ini .cfg .conf .xml .css
.scss .csv .tsv .log .cmake .make .dockerfile .vim .el .hs .ml .f90 .m .asm .s .proto .ipynb
"""
_CODE = frozenset(_CODE_SUFFIXES.split())
_ARCHIVES = (
    ("word/document.xml", "office:open_docx"),
    ("ppt/presentation.xml", "office:open_pptx"),
    ("xl/workbook.xml", "office:open_xlsx"),
    ("META-INF/container.xml", "markup:open_epub"),
)
_PICTURES = (b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"II*\x00", b"MM\x00*", b"RIFF")
_OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"

#: What a folder that is dropped is searched for.
SUFFIXES = frozenset({*_BY_SUFFIX, *_CODE, ".pdf", ".docx", ".pptx", ".xlsx", ".xlsm", ".epub"} - {""})


def open_document(path: Path, password: str | None = None) -> Document:
    """Open a file with the reader of its format.

    Raises:
        UnreadableDocument: The format is not known, or the file is not what it seems.
    """
    mode = path.stat().st_mode
    if stat.S_ISDIR(mode):
        raise UnreadableDocument("unsupported", "This is a folder, not a document.")
    if not stat.S_ISREG(mode):
        raise UnreadableDocument("unsupported", "This is not an ordinary file.")
    reader = _find_reader(path)
    return reader(path, password)


def _find_reader(path: Path) -> Reader:
    with path.open("rb") as file:
        head = file.read(4096)
    if not head:
        raise UnreadableDocument("empty", "The file is empty.")
    if b"%PDF-" in head[:1024] or path.suffix.lower() == ".pdf":
        return _load("pdf:open_pdf")
    if head.startswith(b"PK\x03\x04"):
        return _load(_archive_reader(path))
    if head.startswith(_OLE):
        raise UnreadableDocument(
            "unsupported", "This is an old or protected Office file; save it as .docx, .xlsx or .pptx."
        )
    if head.startswith(_PICTURES):
        raise UnreadableDocument("no-text", "This is a picture; it has no text to read.")
    suffix = path.suffix.lower()
    if suffix in _BY_SUFFIX and suffix:
        return _load(_BY_SUFFIX[suffix])
    if suffix in _CODE:
        return _load("plain:open_code")
    if head.lstrip()[:15].lower().startswith((b"<!doctype html", b"<html")):
        return _load("markup:open_html")
    return _load("plain:open_text")


def _archive_reader(path: Path) -> str:
    try:
        with zipfile.ZipFile(path) as archive:
            names = set(archive.namelist())
    except (zipfile.BadZipFile, OSError, ValueError) as error:
        raise UnreadableDocument("damaged", "The file is damaged: its archive can't be opened.") from error
    for name, reader in _ARCHIVES:
        if name in names:
            return reader
    raise UnreadableDocument("unsupported", "This is an archive; unpack it and add what is in it.")


def _load(name: str) -> Reader:
    module, _, function = name.partition(":")
    reader: Reader = getattr(import_module(f"{_READERS}.{module}"), function)
    return reader
