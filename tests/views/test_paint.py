"""Colours: readable in both themes, in order, and the published map."""

from __future__ import annotations

from itertools import pairwise

import pyqtgraph
import pytest
from PySide6.QtGui import QColor

from views.paint import (
    MIN_CONTRAST,
    cividis,
    contrast,
    diverging,
    diverging_scale,
    luminance,
    mix,
    sequential,
    sequential_scale,
)
from views.theme import DARK, LIGHT, Colors

both_themes = pytest.mark.parametrize("colors", [LIGHT, DARK], ids=["light", "dark"])


@both_themes
def test_text_stays_readable_on_every_tint(colors: Colors) -> None:
    scales = sequential_scale(colors.surface, colors.text) + diverging_scale(colors.surface, colors.text)
    assert min(contrast(tint.background, colors.color("text")) for tint in scales) >= MIN_CONTRAST


@both_themes
def test_louder_values_stand_out_more_from_the_surface(colors: Colors) -> None:
    tints = sequential_scale(colors.surface, colors.text)
    distance = [contrast(tint.background, colors.color("surface")) for tint in tints]
    assert all(after >= before - 0.005 for before, after in pairwise(distance))
    assert distance[0] < 1.1
    assert distance[-1] > 2.0
    assert [tint.weight for tint in tints] == sorted(tint.weight for tint in tints)


@both_themes
def test_nothing_is_white_and_both_signs_are_told_apart(colors: Colors) -> None:
    neutral = diverging(0.0, colors.surface, colors.text)
    assert neutral.background.name() == colors.surface
    assert neutral.weight == 0
    supports, opposes = (diverging(sign, colors.surface, colors.text).background for sign in (1.0, -1.0))
    assert supports.blueF() > supports.redF()
    assert opposes.redF() > opposes.blueF()


@both_themes
def test_interface_text_is_readable(colors: Colors) -> None:
    for name in ("text", "muted", "faint", "accent", "danger", "warning", "success"):
        for ground in ("surface", "window", "raised", "bubble", "code", "hover"):
            assert contrast(colors.color(name), colors.color(ground)) >= MIN_CONTRAST, (name, ground)
    for name in ("text", "muted", "accent"):
        for ground in ("selection", "pressed"):
            assert contrast(colors.color(name), colors.color(ground)) >= MIN_CONTRAST, (name, ground)
    assert contrast(colors.color("on_accent"), colors.color("accent")) >= MIN_CONTRAST


def test_the_sequential_map_is_cividis() -> None:
    published = pyqtgraph.colormap.get("cividis").getLookupTable(nPts=101)
    for number, (red, green, blue) in enumerate(published[:, :3]):
        ours = cividis(number / 100)
        for mine, theirs in zip((ours.red(), ours.green(), ours.blue()), (red, green, blue), strict=True):
            assert abs(mine - int(theirs)) <= 7


def test_contrast_is_that_of_the_web_guidelines() -> None:
    assert contrast(QColor("black"), QColor("white")) == pytest.approx(21.0)
    assert contrast(QColor("#777777"), QColor("white")) == pytest.approx(4.48, abs=0.01)
    assert luminance(QColor("white")) == pytest.approx(1.0)


def test_values_beyond_the_scale_are_its_ends() -> None:
    scale = sequential_scale(LIGHT.surface, LIGHT.text)
    assert sequential(-1.0, LIGHT.surface, LIGHT.text) == scale[0]
    assert sequential(7.0, LIGHT.surface, LIGHT.text) == scale[-1]
    assert mix(QColor("black"), QColor("white"), 0.5).name() in ("#7f7f7f", "#808080")
