"""The plot of one step: what each stage did, in numbers, words and colours."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from PySide6.QtCore import QPoint, Qt
from pytestqt.qtbot import QtBot

from inference.events import Stage, Token
from views.distribution_plot import DistributionPlot
from views.models.candidates import StepModel
from views.models.focus import FocusModel, TokenSpan
from views.models.stages import stage_rows
from views.models.transcript import ShownMessage, TranscriptModel
from views.theme import Theme

MakeToken = Callable[..., Token]


def test_a_stage_is_compared_with_the_one_before() -> None:
    rows = stage_rows(
        (
            Stage(name="raw", probs=(0.5, 0.3, 0.1), removed=0.0),
            Stage(name="penalties", probs=(0.5, 0.3, 0.1), removed=0.0),
            Stage(name="top-k", probs=(0.625, 0.375, 0.0), removed=0.2),
        )
    )
    raw, penalties, top_k = rows
    assert raw.acts
    assert raw.others == pytest.approx(0.1)
    assert not penalties.acts
    assert top_k.acts
    assert top_k.cut == (2,)
    assert top_k.kept == 2
    assert top_k.others == pytest.approx(0.0)
    assert top_k.removed == 0.2


def test_no_stages_make_no_rows() -> None:
    assert stage_rows(()) == ()


@pytest.fixture
def step(make_token: MakeToken) -> StepModel:
    step = StepModel()
    step.set_live(make_token(12, 1))
    return step


@pytest.fixture
def plot(qtbot: QtBot, theme: Theme, step: StepModel) -> DistributionPlot:
    plot = DistributionPlot(step, theme)
    qtbot.addWidget(plot)
    plot.resize(320, plot.sizeHint().height())
    plot.show()
    return plot


def test_the_words_name_every_stage_and_what_it_removed(plot: DistributionPlot, step: StepModel) -> None:
    removed = next(stage.removed for stage in step.stages if stage.name == "top-p")
    words = plot.describe()
    assert f"Top-p: removes {removed * 100:.2f} %, 4 kept" in words
    assert "Penalties and bias: changes nothing" in words
    assert "Temperature: 42.9 % → 56.1 %" in words


def test_stages_that_are_off_take_no_bar(plot: DistributionPlot, theme: Theme, make_token: MakeToken) -> None:
    assert plot.with_bar == {"raw", "temperature", "top-p"}
    plain = StepModel()
    plain.set_live(make_token(temperature=1.0, top_p=1.0))
    assert "temperature" not in DistributionPlot(plain, theme).with_bar


def test_the_chosen_token_is_painted_in_the_accent_colour(plot: DistributionPlot, theme: Theme) -> None:
    raw = plot.rows[0]
    image = plot.grab().toImage()
    x = round((raw.probs[0] + raw.probs[1] / 2) * plot.width())
    first_bar = 18 + 4  # one line of text, then a little into the bar, above the token's own text
    assert image.pixelColor(x, first_bar) == theme.color("accent")
    assert image.pixelColor(round(raw.probs[0] / 2 * plot.width()), first_bar) != theme.color("accent")


def test_hovering_follows_a_candidate(plot: DistributionPlot, qtbot: QtBot) -> None:
    assert plot.marked is None
    qtbot.mouseMove(plot, QPoint(5, 18 + 6))
    qtbot.waitUntil(lambda: plot.marked == 0)


def test_arrow_keys_follow_candidates(plot: DistributionPlot, qtbot: QtBot, step: StepModel) -> None:
    qtbot.keyClick(plot, Qt.Key.Key_Right)
    qtbot.keyClick(plot, Qt.Key.Key_Right)
    assert plot.marked == 1
    for _ in range(50):
        qtbot.keyClick(plot, Qt.Key.Key_Right)
    assert step.token is not None
    assert plot.marked == len(step.token.candidates) - 1


def test_a_step_with_fewer_candidates_forgets_the_mark(
    plot: DistributionPlot, qtbot: QtBot, step: StepModel
) -> None:
    for _ in range(12):
        qtbot.keyClick(plot, Qt.Key.Key_Right)
    token = step.token
    assert isinstance(token, Token)
    short = Token(
        run_id=1, index=1, id=1, text="x", data=b"x", special=False, raw_logprob=-1.0, sampled_prob=1.0,
        entropy=0.1, candidates=token.candidates[:2], at=0.0,
        stages=(Stage(name="raw", probs=(0.9, 0.1), removed=0.0),),
    )  # fmt: skip
    step.set_live(short)
    qtbot.waitUntil(lambda: plot.token is short)
    assert plot.marked is None
    assert not plot.grab().isNull()


def test_a_stage_that_acted_once_keeps_its_bar_until_the_next_reply(
    plot: DistributionPlot, step: StepModel, qtbot: QtBot, make_token: MakeToken
) -> None:
    bars = plot.with_bar
    quiet = make_token(13, 0, temperature=1.0, top_p=1.0)
    step.set_live(quiet)
    qtbot.waitUntil(lambda: plot.token is quiet)
    assert plot.with_bar == bars
    other_reply = replace(quiet, run_id=2)
    step.set_live(other_reply)
    qtbot.waitUntil(lambda: plot.token is other_reply)
    assert plot.with_bar < bars


def test_the_controls_below_never_move_up_again(
    plot: DistributionPlot, step: StepModel, qtbot: QtBot, make_token: MakeToken, theme: Theme
) -> None:
    usual = DistributionPlot(StepModel(), theme).sizeHint().height()
    assert plot.sizeHint().height() == usual
    token = make_token(13, 0)
    cut = Stage(name="min-p", probs=(1.0,) + (0.0,) * (len(token.candidates) - 1), removed=0.5)
    more = [
        replace(cut, name=name, probs=tuple(p * k / 9 for p in cut.probs)) for k, name in enumerate("abc")
    ]
    full = replace(token, stages=(*token.stages, *more))
    step.set_live(full)
    qtbot.waitUntil(lambda: plot.token is full)
    highest = plot.sizeHint().height()
    assert highest > usual
    step.set_live(None)
    qtbot.waitUntil(lambda: plot.token is None)
    assert plot.sizeHint().height() == highest


def test_many_steps_at_once_end_with_the_newest(
    plot: DistributionPlot, step: StepModel, qtbot: QtBot, make_token: MakeToken
) -> None:
    shown: list[Token] = []
    plot.step_shown.connect(shown.append)
    steps = [make_token(20 + i, 0) for i in range(50)]
    for token in steps:
        step.set_live(token)
    qtbot.waitUntil(lambda: plot.token is steps[-1])
    assert len(shown) < 10


def test_the_step_follows_the_reply_until_a_token_is_in_focus(make_token: MakeToken) -> None:
    transcript, focus = TranscriptModel(), FocusModel()
    step = StepModel(transcript, focus)
    transcript.append_message(ShownMessage(id=1, role="assistant", state="streaming"))
    first, second = make_token(0, 0), make_token(1, 2)
    transcript.append_tokens(1, (first,))
    assert step.token is first
    transcript.append_tokens(1, (second,))
    assert step.token is second
    focus.set_focus(TokenSpan(1, 0, 1))
    assert step.token is first
    assert step.pinned
    focus.clear()
    assert step.token is second
    transcript.reset()
    assert step.token is None
