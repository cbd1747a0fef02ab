"""The three views of an explanation: the same scores, the same scale, one selection."""

from __future__ import annotations

import math
from typing import Any

import pytest
from PySide6.QtCore import QPoint, Qt
from PySide6.QtTest import QTest

from inference.events import (
    ExplanationCost,
    ExplanationPart,
    ExplanationStarted,
    MethodSpec,
    MethodStatus,
    SegmentSpan,
    TargetSpan,
)
from views.models.explaining import ExplainTarget, ExplanationModel
from views.models.explanation_scores import format_score
from views.models.steering import factor_of, slider_of
from views.theme import Theme
from views.why_panel import WhyPanel

CONTEXT = "<u>🙂 The Nile\nis long.<a>"
WORDS = ("🙂", "The", "Nile", "is", "long.")
SCORES = ((0.5, 0.0, 2.0, -1.0, 0.25), (0.5, 0.0, 1.0, -0.5, -0.25))


def made(*, signed: bool = True, title: str = "M") -> ExplanationModel:
    model = ExplanationModel()
    spec = MethodSpec(name="m", title=title, summary="A method.", signed=signed)
    model.set_methods((MethodStatus(spec=spec),))
    model.update(method="m")
    model.set_target(ExplainTarget(text="yes"))
    model.begin()
    spans = [(CONTEXT.index(word), CONTEXT.index(word) + len(word)) for word in WORDS]
    model.take(
        ExplanationStarted(
            run_id=1, method="m", context=CONTEXT, granularity="word",
            segments=tuple(
                SegmentSpan(text=CONTEXT[a:b], start=a, end=b, tokens=(i,)) for i, (a, b) in enumerate(spans)
            ),
            targets=tuple(TargetSpan(text=t, start=0, end=1, ids=(1,), logprob=-1.0) for t in "ye"),
            cost=ExplanationCost(
                forward_passes=1, token_forwards=1, naive_token_forwards=1, seconds=1.0, memory=0
            ),
        )
    )  # fmt: skip
    return model


def fill(model: ExplanationModel, count: int = 5) -> None:
    indices = tuple(range(count))
    scores = tuple(row[:count] for row in SCORES)
    model.take(ExplanationPart(run_id=1, method="m", indices=indices, scores=scores, done=count, total=5))


@pytest.mark.parametrize(
    ("value", "scale", "words"),
    [
        (0.352, None, "+0.352"),
        (0.00312, None, "+0.00312"),
        (-0.00266, 0.141, "-0.003"),
        (0.0005, 0.0098, "+0.00050"),
        (0.0, None, "+0.000"),
        (2e-7, 5e-7, "+2.00e-07"),
        (None, 1.0, "not computed"),
    ],
)
def test_the_scores_of_a_list_have_the_same_decimals(
    value: float | None, scale: float | None, words: str
) -> None:
    assert format_score(value, scale=scale) == words


@pytest.fixture
def model() -> ExplanationModel:
    return made()


@pytest.fixture
def panel(model: ExplanationModel, theme: Theme, qtbot: Any) -> WhyPanel:
    panel = WhyPanel(model, theme)
    qtbot.addWidget(panel)
    panel.resize(340, 1200)
    with qtbot.waitExposed(panel):
        panel.show()
    fill(model)
    model.end()
    qtbot.wait(200)
    return panel


def test_the_scale_ends_at_the_largest_score_of_all_views(model: ExplanationModel, panel: WhyPanel) -> None:
    assert model.result is not None
    assert model.result.scale() == 3.0
    assert model.result.values() == [1.0, 0.0, 3.0, -1.5, 0.0]
    assert model.result.values(0) == list(SCORES[0])


def test_the_words_of_the_progress_do_not_push_the_panel_out_of_the_window(theme: Theme, qtbot: Any) -> None:
    def needed(title: str) -> int:
        model = made(title=title)
        panel = WhyPanel(model, theme)
        qtbot.addWidget(panel)
        fill(model, 3)
        assert model.busy
        return panel.widget().minimumSizeHint().width()

    assert needed("A method whose name has many words") == needed("M")


def test_hovering_a_word_of_the_text_points_at_it_everywhere(
    model: ExplanationModel, panel: WhyPanel
) -> None:
    (rect,) = panel.view.text.rects_of(2)
    QTest.mouseMove(panel.view.text.viewport(), rect.center().toPoint())
    assert model.segment == 2
    assert panel.view.text.words(2) == "Nile: +3.000 nats"


def test_a_word_behind_an_emoji_is_where_it_is_seen(panel: WhyPanel) -> None:
    emoji, the = panel.view.text.rects_of(0)[0], panel.view.text.rects_of(1)[0]
    assert emoji.right() <= the.left()
    assert panel.view.text.segment_at(the.center().toPoint()) == 1


def test_a_cell_of_the_heat_map_tells_its_exact_value(model: ExplanationModel, panel: WhyPanel) -> None:
    view = panel.view.map
    assert view.cell_at(view.cell_rect(3, 1).center().toPoint()) == (3, 1)
    assert view.words(3, 1) == "is → e: -0.500 nats"


def test_a_click_on_a_token_of_the_head_shows_its_row_and_again_the_whole(
    model: ExplanationModel, panel: WhyPanel
) -> None:
    view = panel.view.map
    head = QPoint(view.cell_rect(0, 1).center().toPoint().x(), 10)
    QTest.mousePress(view.viewport(), Qt.MouseButton.LeftButton, pos=head)
    assert model.row == 1
    assert panel.view.ranking.order == [2, 0, 1, 4, 3]
    QTest.mousePress(view.viewport(), Qt.MouseButton.LeftButton, pos=head)
    assert model.row is None


def test_the_ranking_goes_from_support_to_opposition_and_a_click_chooses(
    model: ExplanationModel, panel: WhyPanel
) -> None:
    ranking = panel.view.ranking
    assert ranking.order == [2, 0, 1, 4, 3]
    QTest.mousePress(ranking, Qt.MouseButton.LeftButton, pos=QPoint(40, 10))
    assert model.chosen_segment == 2


@pytest.mark.parametrize(("post", "scale", "value"), [("absolute", 3.0, 1.5), ("square", 9.0, 2.25)])
def test_postprocessing_acts_on_what_is_shown(
    model: ExplanationModel, panel: WhyPanel, post: Any, scale: float, value: float
) -> None:
    model.set_post(post)
    assert model.result is not None
    assert model.result.scale(post) == scale
    assert model.result.value(3, None, post) == value


def test_segments_without_a_score_yet_are_not_ranked(theme: Theme, qtbot: Any) -> None:
    model = made()
    panel = WhyPanel(model, theme)
    qtbot.addWidget(panel)
    fill(model, 2)
    assert model.result is not None
    assert model.result.values()[2:] == [None, None, None]
    assert model.result.ranking() == [0, 1]
    assert panel.view.text.words(4) == "long.: not computed"


def test_postprocessing_is_only_offered_for_scores_with_a_sign(theme: Theme, qtbot: Any) -> None:
    model = made(signed=False)
    panel = WhyPanel(model, theme)
    qtbot.addWidget(panel)
    fill(model)
    box = panel.findChild(object, "postprocessing")
    assert box is not None
    assert box.isHidden()


def test_a_picture_shows_every_segment(panel: WhyPanel) -> None:
    picture = panel.view.picture()
    assert picture.width() >= 720
    assert picture.height() > 300


def test_the_factor_slider_is_neutral_in_its_middle_and_logarithmic_above() -> None:
    assert [slider_of(f) for f in (0.0, 0.5, 1.0, 10.0)] == [0, 50, 100, 200]
    assert slider_of(math.sqrt(10)) == 150
    assert [factor_of(p) for p in (0, 50, 100, 200)] == [0.0, 0.5, 1.0, 10.0]


def test_a_coarser_explanation_can_be_painted_from_its_first_moment(
    model: ExplanationModel, panel: WhyPanel
) -> None:
    """A progress bar paints at once: by then no view may hold on to parts that are gone."""
    painted: list[str] = []

    def paint() -> None:
        panel.view.text.viewport().repaint()
        panel.view.ranking.repaint()
        panel.view.map.viewport().repaint()
        painted.append(model.state)

    for signal in (model.state_changed, model.result_changed, model.pointed_changed):
        signal.connect(paint)
    model.choose(4)
    model.begin()
    shorter = CONTEXT[:12]
    whole = SegmentSpan(text=shorter[5:], start=5, end=len(shorter), tokens=(1, 2))
    assert model.result is not None
    model.take(
        ExplanationStarted(
            run_id=2, method="m", context=shorter, granularity="sentence", segments=(whole,),
            targets=model.result.targets, cost=model.result.cost,
        )
    )  # fmt: skip
    assert painted.count("waiting") >= 2
    assert painted[-1] == "working"
