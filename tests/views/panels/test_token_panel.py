"""The Token tab: facts, candidates, branching, and surprisal along the text."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import pytest
from PySide6.QtCore import QPoint, Qt
from PySide6.QtWidgets import QLabel, QPushButton
from pytestqt.qtbot import QtBot

from inference.events import ScoredToken, Token
from views.models.candidates import CandidatesModel, Column, format_probability, visible_token
from views.models.focus import FocusModel, TokenSpan
from views.models.tokens import TokenTrack
from views.models.transcript import ShownMessage, TranscriptModel
from views.theme import Theme
from views.token_panel import TokenPanel

MakeToken = Callable[..., Token]


@dataclass
class Shown:
    transcript: TranscriptModel
    focus: FocusModel
    candidates: CandidatesModel
    panel: TokenPanel

    def fact(self, name: str) -> str:
        return self.panel.findChild(QLabel, f"fact-{name}").text()

    def texts(self) -> list[str]:
        return [self.panel._perplexity_text.text()]


@pytest.fixture
def shown(qtbot: QtBot, theme: Theme) -> Shown:
    transcript, focus = TranscriptModel(), FocusModel()
    candidates = CandidatesModel(transcript, focus)
    panel = TokenPanel(candidates, transcript, focus, theme)
    qtbot.addWidget(panel)
    panel.resize(340, 900)
    panel.show()
    return Shown(transcript, focus, candidates, panel)


@pytest.fixture
def reply(shown: Shown, make_token: MakeToken) -> Shown:
    """Three tokens of a streaming reply, message id 5."""
    shown.transcript.append_message(ShownMessage(id=5, role="assistant", state="streaming"))
    tokens = [make_token(i, chosen) for i, chosen in enumerate((0, 2, 1))]
    shown.transcript.append_tokens(5, tokens)
    return shown


def test_without_tokens_it_offers_an_example(shown: Shown, qtbot: QtBot) -> None:
    with qtbot.waitSignal(shown.panel.example_requested):
        qtbot.mouseClick(shown.panel.findChild(QPushButton, "tokenExample"), Qt.MouseButton.LeftButton)


def test_the_token_in_focus_is_described(reply: Shown) -> None:
    reply.focus.set_focus(TokenSpan(5, 1, 2))
    token = reply.transcript.token(5, 1)
    assert token is not None
    assert token.raw_logprob is not None
    assert reply.fact("raw") == format_probability(math.exp(token.raw_logprob))
    assert reply.fact("rank") == "3"
    assert reply.fact("surprisal") == f"{-token.raw_logprob:.2f} nats"
    assert reply.fact("id") == "102"
    assert reply.fact("bytes") == "20 4E 69 6C 65"


def test_candidates_have_a_raw_and_a_sampled_probability(reply: Shown) -> None:
    reply.focus.set_focus(TokenSpan(5, 1, 2))
    model = reply.candidates
    assert model.rowCount() == 12
    first = model.candidate(0)
    assert model.index(0, Column.TOKEN).data() == "␣the"
    assert model.index(0, Column.RAW).data() == format_probability(math.exp(first.raw_logprob))
    assert model.index(0, Column.SAMPLED).data() == format_probability(first.sampled_prob)
    assert model.index(11, Column.SAMPLED).data() == "0 %"
    assert model.chosen_row() == 2
    assert model.recorded_mass() == pytest.approx(0.95)


def test_a_click_on_a_candidate_asks_to_branch_there(reply: Shown, qtbot: QtBot) -> None:
    reply.focus.set_focus(TokenSpan(5, 1, 2))
    table = reply.panel.table
    place = table.visualRect(reply.candidates.index(4, Column.TOKEN)).center()
    with qtbot.waitSignal(reply.panel.branch_requested) as asked:
        qtbot.mouseClick(table.viewport(), Qt.MouseButton.LeftButton, pos=place)
    assert asked.args == [5, 1, 104]


def test_up_down_and_enter_branch_from_the_keyboard(reply: Shown, qtbot: QtBot) -> None:
    reply.focus.set_focus(TokenSpan(5, 1, 2))
    table = reply.panel.table
    table.setFocus()
    qtbot.keyClick(table, Qt.Key.Key_Up)
    assert reply.focus.candidate == 1
    with qtbot.waitSignal(reply.panel.branch_requested) as asked:
        qtbot.keyClick(table, Qt.Key.Key_Return)
    assert asked.args == [5, 1, 101]


def test_the_chosen_candidate_of_other_views_is_shown(reply: Shown) -> None:
    reply.focus.set_focus(TokenSpan(5, 1, 2))
    assert reply.panel.table.currentIndex().row() == 2
    reply.focus.set_candidate(6)
    assert reply.panel.table.currentIndex().row() == 6


def test_a_candidate_can_be_biased(reply: Shown, qtbot: QtBot) -> None:
    reply.focus.set_focus(TokenSpan(5, 0, 1))
    menu = reply.panel.table.bias_menu(3)
    never = next(action for action in menu.actions() if action.text().startswith("Never"))
    with qtbot.waitSignal(reply.panel.bias_requested) as asked:
        never.trigger()
    assert asked.args == [103, " river", -100.0]


def test_hovering_previews_another_token(reply: Shown) -> None:
    reply.focus.set_focus(TokenSpan(5, 0, 1))
    reply.focus.set_preview(TokenSpan(5, 2, 3))
    assert reply.fact("id") == "101"
    reply.focus.set_preview(None)
    assert reply.fact("id") == "100"


def test_parts_of_a_character_can_be_walked(shown: Shown, make_token: MakeToken) -> None:
    parts = [
        ScoredToken(index=i, id=i, text=text, data=data, special=False, raw_logprob=-1.0, entropy=1.0)
        for i, (text, data) in enumerate((("", b"\xe2"), ("", b"\x82"), ("€", b"\xac")))
    ]
    shown.transcript.append_message(ShownMessage(id=1, role="user", text="€"))
    shown.transcript.set_track(1, TokenTrack(parts))
    shown.focus.set_focus(TokenSpan(1, 0, 3))
    assert shown.fact("bytes") == "AC"
    shown.panel._back.click()
    assert shown.fact("bytes") == "82"
    assert shown.focus.focus == TokenSpan(1, 1, 2)


def test_text_that_was_only_read_has_no_sampled_probability(shown: Shown) -> None:
    read = ScoredToken(index=1, id=9, text="x", data=b"x", special=False, raw_logprob=-0.5, entropy=0.2)
    shown.transcript.append_message(ShownMessage(id=1, role="user", text="x"))
    shown.transcript.set_track(1, TokenTrack([read]))
    shown.focus.set_focus(TokenSpan(1, 0, 1))
    assert shown.fact("sampled") == "—"
    assert shown.fact("rank") == "—"


def test_tokens_without_probabilities_can_be_asked_for(shown: Shown, qtbot: QtBot) -> None:
    bare = [ScoredToken(index=i, id=i, text="x", data=b"x", special=False) for i in range(2)]
    shown.transcript.append_message(ShownMessage(id=1, role="user", text="xx"))
    shown.transcript.set_track(1, TokenTrack(bare))
    shown.focus.set_focus(TokenSpan(1, 1, 2))
    with qtbot.waitSignal(shown.panel.tokens_requested) as asked:
        qtbot.mouseClick(shown.panel.findChild(QPushButton, "scoreTokens"), Qt.MouseButton.LeftButton)
    assert asked.args == [1]


def test_perplexity_is_exp_of_the_mean_surprisal_and_grows_with_the_text(
    reply: Shown, make_token: MakeToken, qtbot: QtBot
) -> None:
    def expected() -> str:
        tokens = reply.transcript.message(5).track.tokens
        mean = math.fsum(-t.raw_logprob for t in tokens if t.raw_logprob is not None) / len(tokens)
        return f"Perplexity {math.exp(mean):.2f} over {len(tokens)} tokens (raw distribution)"

    qtbot.waitUntil(lambda: reply.texts() == [expected()])
    reply.transcript.append_tokens(5, [make_token(3, 7)])
    qtbot.waitUntil(lambda: reply.texts() == [expected()])
    reply.transcript.set_track(5, TokenTrack([make_token(0, 5)]))
    qtbot.waitUntil(lambda: reply.texts() == [expected()])


def test_a_click_on_a_bar_sets_the_focus(reply: Shown, qtbot: QtBot) -> None:
    bars = reply.panel.plot.bars
    qtbot.mouseClick(bars, Qt.MouseButton.LeftButton, pos=QPoint(int(bars.x_of(2)) + 2, 40))
    assert reply.focus.focus == TokenSpan(5, 2, 3)
    qtbot.keyClick(bars, Qt.Key.Key_Left)
    assert reply.focus.focus == TokenSpan(5, 1, 2)


def test_a_long_text_scrolls_to_the_focus(reply: Shown, make_token: MakeToken) -> None:
    reply.transcript.append_tokens(5, [make_token(i, 0) for i in range(3, 400)])
    scroll = reply.panel.plot.scroll_bar
    assert scroll.isVisible()
    assert scroll.value() == scroll.maximum()
    reply.focus.set_focus(TokenSpan(5, 7, 8))
    bars = reply.panel.plot.bars
    assert 0 <= bars.x_of(7) < bars.width()
    assert bars.token_at(bars.x_of(7) + 1) == 7


def test_a_conversation_that_is_closed_leaves_nothing_behind(reply: Shown) -> None:
    reply.focus.set_focus(TokenSpan(5, 1, 2))
    reply.transcript.reset()
    assert reply.candidates.place is None
    assert reply.panel.currentIndex() == 0


def test_hidden_it_does_nothing_and_catches_up_when_shown(reply: Shown, make_token: MakeToken) -> None:
    reply.panel.hide()
    before = reply.texts()
    reply.transcript.append_tokens(5, [make_token(3, 9)])
    assert reply.texts() == before
    reply.panel.show()
    assert "over 4 tokens" in reply.texts()[0]


@pytest.mark.parametrize(
    ("text", "shown_text"),
    [(" the", "␣the"), ("\n\n", "⏎⏎"), ("", "<7>"), ("a\u200bb", "a\\u200bb"), ("é", "é"), ("\t", "⇥")],
)
def test_tokens_are_shown_on_one_line_with_marks(text: str, shown_text: str) -> None:
    assert visible_token(text, 7) == shown_text


@pytest.mark.parametrize(
    ("probability", "text"),
    [(0.0, "0 %"), (1e-9, "<0.01 %"), (0.0123, "1.23 %"), (0.5, "50.0 %"), (1.0, "100.0 %")],
)
def test_small_probabilities_are_not_shown_as_nothing(probability: float, text: str) -> None:
    assert format_probability(probability) == text
