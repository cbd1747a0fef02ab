"""Pages as pictures: the right page, its geometry, and files that can't be shown."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib import resources
from pathlib import Path

import numpy as np
import pypdfium2 as pdfium
import pytest

from inference.documents.rendering import PageRenderer
from inference.errors import InvalidRequest, UnreadableFile
from inference.events import FindTextRequest, PageRendered, PageTextRequest, RenderPageRequest, TextFound
from inference.running import RunHandle, new_run_id

SAMPLE = Path(str(resources.files("resources").joinpath("documents", "sample.pdf")))


@pytest.fixture(scope="module")
def renderer() -> Iterator[PageRenderer]:
    """One process for all tests."""
    renderer = PageRenderer()
    yield renderer
    renderer.close()


def draw(renderer: PageRenderer, file: Path, page: int = 1, width: int = 600) -> PageRendered:
    request = RenderPageRequest(run_id=new_run_id(), file=str(file), page=page, width=width)
    return renderer.render(request, RunHandle(request.run_id))


def darkness(picture: PageRendered, box: tuple[float, float, float, float]) -> float:
    """Share of dark pixels where a box of PDF points stands in the picture."""
    a, b, c, d, e, f = picture.transform
    pixels = np.frombuffer(picture.rgb, np.uint8).reshape(picture.height, picture.width, 3)
    xs = sorted((a * x + c * y + e) * picture.width for x, y in (box[:2], box[2:]))
    ys = sorted((b * x + d * y + f) * picture.height for x, y in (box[:2], box[2:]))
    part = pixels[round(ys[0]) : round(ys[1]), round(xs[0]) : round(xs[1])]
    return float((part.mean(axis=2) < 128).mean())


@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
def test_places_in_points_lead_to_the_same_words_in_the_picture(
    renderer: PageRenderer, tmp_path: Path, rotation: int
) -> None:
    pdf = pdfium.PdfDocument(SAMPLE)
    page = pdf[0]
    text = page.get_textpage()
    at = text.get_text_range().index("Marwick, who paid")
    left, bottom, _, top = text.get_charbox(at)
    right = text.get_charbox(at + 6)[2]
    page.set_rotation(rotation)
    page.set_cropbox(20, 30, 580, 800)
    file = tmp_path / "turned.pdf"
    pdf.save(file)
    for handle in (text, page, pdf):
        handle.close()
    picture = draw(renderer, file, width=1200)
    assert darkness(picture, (left, bottom, right, top)) > 0.1
    assert darkness(picture, (left, bottom - 500, right, top - 500)) == 0.0


def test_the_picture_has_the_width_that_was_asked_for(renderer: PageRenderer) -> None:
    picture = draw(renderer, SAMPLE, page=2, width=640)
    assert abs(picture.width - 640) <= 1
    assert picture.pages == 3
    assert len(picture.rgb) == 3 * picture.width * picture.height


def test_a_page_that_is_not_there_is_refused(renderer: PageRenderer) -> None:
    with pytest.raises(InvalidRequest, match="no page 9"):
        draw(renderer, SAMPLE, page=9)


def test_a_file_that_is_no_pdf_and_one_that_is_gone_are_told(renderer: PageRenderer, tmp_path: Path) -> None:
    (tmp_path / "plain.pdf").write_text("not a PDF")
    for name in ("plain.pdf", "gone.pdf"):
        with pytest.raises(UnreadableFile):
            draw(renderer, tmp_path / name)
    assert draw(renderer, SAMPLE).page == 1


def test_a_process_that_died_is_replaced(renderer: PageRenderer) -> None:
    draw(renderer, SAMPLE)
    renderer.close()
    assert draw(renderer, SAMPLE).page == 1


def read(renderer: PageRenderer, file: Path, page: int) -> tuple[str, np.ndarray]:
    request = PageTextRequest(run_id=new_run_id(), file=str(file), page=page)
    found = renderer.text(request, RunHandle(request.run_id))
    return found.text, np.frombuffer(found.boxes, "<f4").reshape(-1, 4)


def look_for(renderer: PageRenderer, file: Path, text: str, first: int = 1) -> list[TextFound]:
    request = FindTextRequest(run_id=new_run_id(), file=str(file), text=text, first=first)
    return list(renderer.find(request, RunHandle(request.run_id)))


def test_the_characters_of_a_page_are_where_its_picture_has_ink(renderer: PageRenderer) -> None:
    text, boxes = read(renderer, SAMPLE, 1)
    assert len(text) == len(boxes)
    picture = draw(renderer, SAMPLE, width=1200)
    at = text.index("Marwick")
    for left, bottom, right, top in boxes[at : at + 7].tolist():
        assert darkness(picture, (left, bottom, right, top)) > 0.05
    assert np.isnan(boxes[text.index(" ")]).all()


def test_words_are_found_on_every_page_from_the_one_in_sight(renderer: PageRenderer) -> None:
    found = look_for(renderer, SAMPLE, "OBSERVATORY", first=2)
    assert {one.pages for one in found} == {3}
    assert [one.pages_done for one in found][-1] == 3
    pages = [one.page for one in found if one.places]
    assert pages[0] == 2
    assert pages[-1] == 1
    with pdfium.PdfDocument(SAMPLE) as pdf:
        counts = {
            n + 1: pdf[n].get_textpage().get_text_range().lower().count("observatory") for n in range(3)
        }
    assert {one.page: len(one.places) for one in found if one.places} == {
        p: n for p, n in counts.items() if n
    }


def test_words_that_run_over_a_line_end_are_one_place_with_two_boxes(
    renderer: PageRenderer, make_pdf: Callable[..., Path]
) -> None:
    file = make_pdf("lines.pdf", [[(72, 700, 12, "The red"), (72, 680, 12, "lamp and the Red Lamp")]])
    (found,) = look_for(renderer, file, "red  lamp")
    assert [len(place) for place in found.places] == [2, 1]
    (nothing,) = look_for(renderer, file, "blue")
    assert nothing.places == ()


def test_case_accents_ligatures_and_line_end_hyphens_make_no_difference() -> None:
    from inference.documents.page_text import find

    text = "Caf\u00e9 o\ufb03ce, the hard\x02\nware of the \uff21\uff22 "
    assert [text[start:end] for start, end in find(text, "CAFE OFFICE")] == ["Caf\u00e9 o\ufb03ce"]
    assert [text[start:end] for start, end in find(text, "hardware of")] == ["hard\x02\nware of"]
    assert len(find(text, "ab")) == 1
    assert find(text, "") == []
    assert find("aaaa", "aa") == [(0, 2), (2, 4)]
