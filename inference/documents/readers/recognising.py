"""Text in pictures of pages, read by RapidOCR (PP-OCR on ONNX Runtime) where it is installed.

Its models come with its package (``pip install "model-loupe[ocr]"``): nothing is downloaded. Runs in the
process that reads documents, on one core.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import pypdfium2 as pdfium
from numpy.typing import NDArray

from inference.documents.pages import Boxes
from inference.documents.readers.pdf_lines import Line

_PIXELS_A_POINT = 150 / 72
_MOST_PIXELS = 2400  # of the longer side: posters and plans are drawn smaller
_MIN_SCORE = 0.6  # below it a line is more likely a stain or a picture than words


def recognise_lines(page: pdfium.PdfPage) -> list[Line]:
    """The lines of text in the picture of a page, from top to bottom, with places in the page's user space.

    Letters stand at equal shares of their line's width: the recogniser tells where lines are, not letters.
    """
    scale = min(_PIXELS_A_POINT, _MOST_PIXELS / max(*page.get_size(), 1.0))
    bitmap = page.render(scale=scale, rev_byteorder=True)
    try:
        places = bitmap.get_posconv(page)
        picture = np.ascontiguousarray(bitmap.to_numpy()[:, :, :3])
        found = _engine()(picture)
        if not found.txts:
            return []
        lines = [
            line
            for text, score, corners in zip(found.txts, found.scores, found.boxes, strict=True)
            if score >= _MIN_SCORE and (line := _line(str(text), np.asarray(corners), places)) is not None
        ]
    finally:
        bitmap.close()
    return lines


def _line(text: str, corners: NDArray[np.float32], places: Any) -> Line | None:
    """A line from its text and the four corners of its place in the picture, shape (4, 2)."""
    text = " ".join(text.split())
    if not text:
        return None
    ends = [places.to_page(round(float(x)), round(float(y))) for x, y in corners]
    xs, ys = [x for x, _ in ends], [y for _, y in ends]
    box = (float(min(xs)), float(min(ys)), float(max(xs)), float(max(ys)))
    if box[2] <= box[0] or box[3] <= box[1]:
        return None
    return Line(text=text, boxes=_shares(text, box), size=box[3] - box[1], box=box)


def _shares(text: str, box: tuple[float, float, float, float]) -> Boxes:
    """A box for each letter: equal parts of the line's; NaN for spaces."""
    edges = np.linspace(box[0], box[2], len(text) + 1)
    boxes = np.stack(
        [edges[:-1], np.full(len(text), box[1]), edges[1:], np.full(len(text), box[3])], axis=1
    ).astype(np.float32)
    boxes[[letter == " " for letter in text]] = np.nan
    return boxes


@lru_cache(maxsize=1)
def _engine() -> Any:
    """Loaded with the first picture: it takes a second and 300 MB, and most documents have none."""
    from rapidocr import RapidOCR

    threads = "EngineConfig.onnxruntime."
    return RapidOCR(
        params={
            "Global.log_level": "critical",
            f"{threads}intra_op_num_threads": 1,
            f"{threads}inter_op_num_threads": 1,
        }
    )
