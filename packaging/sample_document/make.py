"""Writes resources/documents/sample.pdf from handbook.txt: run it again after the text has changed.

    python packaging/sample_document/make.py

The PDF is written by hand (Helvetica, which every reader has), so the same text gives the same bytes.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
TARGET = HERE.parents[1] / "resources" / "documents" / "sample.pdf"

# Widths of Helvetica's characters from space to tilde, in thousandths of the font size (Adobe's metrics).
_WIDTHS = [
    278, 278, 355, 556, 556, 889, 667, 191, 333, 333, 389, 584, 278, 333, 278, 278, 556, 556, 556, 556,
    556, 556, 556, 556, 556, 556, 278, 278, 584, 584, 584, 556, 1015, 667, 667, 722, 722, 667, 611, 778,
    722, 278, 500, 667, 556, 833, 722, 778, 667, 778, 722, 667, 611, 722, 667, 944, 667, 667, 611, 278,
    278, 278, 469, 556, 333, 556, 556, 500, 556, 556, 278, 556, 556, 222, 222, 500, 222, 833, 556, 556,
    556, 556, 333, 500, 278, 556, 500, 722, 500, 500, 500, 334, 260, 334, 584,
]  # fmt: skip
_PAGE = (595, 842)
_MARGIN = 72
_TITLE, _HEADING, _BODY, _SMALL = 20, 14, 11, 9


@dataclass(frozen=True)
class Line:
    """A line of text on a page, in points from the bottom left."""

    x: float
    y: float
    size: int
    text: str
    bold: bool = False


def main() -> int:
    """Write the document."""
    text = (HERE / "handbook.txt").read_text(encoding="ascii")
    pages = [list(lay_out(part, number)) for number, part in enumerate(text.split("\f"), start=1)]
    TARGET.parent.mkdir(parents=True, exist_ok=True)
    TARGET.write_bytes(write_pdf(pages, title="Handbook of the Skerry Hill Observatory"))
    return 0


def lay_out(text: str, number: int) -> Iterator[Line]:
    """The lines of one page; "# " begins a title, "## " a heading, a blank line parts paragraphs."""
    y = _PAGE[1] - _MARGIN
    yield Line(_MARGIN, _PAGE[1] - 40, _SMALL, "Skerry Hill Observatory - Handbook")
    yield Line(_PAGE[0] / 2 - 10, 36, _SMALL, str(number))
    for paragraph in text.strip().split("\n\n"):
        words = " ".join(paragraph.split())
        size, bold = _BODY, False
        if words.startswith("## "):
            words, size, bold = words[3:], _HEADING, True
        elif words.startswith("# "):
            words, size, bold = words[2:], _TITLE, True
        for line in wrap(words, size):
            y -= size * 1.35
            yield Line(_MARGIN, y, size, line, bold)
        y -= size * 0.8


def wrap(text: str, size: int) -> Iterator[str]:
    """The text in lines that fit between the margins."""
    line = ""
    for word in text.split():
        longer = f"{line} {word}".strip()
        if line and width(longer) * size / 1000 > _PAGE[0] - 2 * _MARGIN:
            yield line
            longer = word
        line = longer
    yield line


def width(text: str) -> int:
    """Width in thousandths of the font size."""
    return sum(_WIDTHS[ord(letter) - 32] for letter in text)


def write_pdf(pages: list[list[Line]], *, title: str) -> bytes:
    """A PDF file of these lines."""
    kids = " ".join(f"{5 + 2 * index} 0 R" for index in range(len(pages)))
    objects = [
        "<< /Type /Catalog /Pages 2 0 R /Lang (en) >>",
        f"<< /Type /Pages /Kids [{kids}] /Count {len(pages)} /MediaBox [0 0 {_PAGE[0]} {_PAGE[1]}] >>",
        "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>",
        "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica-Bold /Encoding /WinAnsiEncoding >>",
    ]
    for index, lines in enumerate(pages):
        content = "\n".join(_operators(line) for line in lines)
        objects.append(
            f"<< /Type /Page /Parent 2 0 R /Contents {6 + 2 * index} 0 R "
            "/Resources << /Font << /F1 3 0 R /F2 4 0 R >> >> >>"
        )
        objects.append(f"<< /Length {len(content)} >>\nstream\n{content}\nendstream")
    objects.append(f"<< /Title ({title}) >>")
    body = "%PDF-1.4\n"
    offsets = []
    for number, entry in enumerate(objects, start=1):
        offsets.append(len(body))
        body += f"{number} 0 obj\n{entry}\nendobj\n"
    table = "".join(f"{offset:010d} 00000 n \n" for offset in offsets)
    start = len(body)
    size = len(objects) + 1
    body += f"xref\n0 {size}\n0000000000 65535 f \n{table}"
    body += f"trailer\n<< /Size {size} /Root 1 0 R /Info {size - 1} 0 R >>\nstartxref\n{start}\n%%EOF\n"
    return body.encode("ascii")


def _operators(line: Line) -> str:
    text = line.text.replace("\\", "\\\\").replace("(", "\\(").replace(")", "\\)")
    return f"BT /F{2 if line.bold else 1} {line.size} Tf {line.x:g} {line.y:g} Td ({text}) Tj ET"


if __name__ == "__main__":
    sys.exit(main())
