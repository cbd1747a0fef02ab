"""The models of the chat: transcript and focus."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from inference.events import Token
from views.models.focus import FocusModel, TokenSpan
from views.models.tokens import TokenTrack
from views.models.transcript import Mark, ReplyStats, ShownMessage, TranscriptModel

TokensOf = Callable[..., tuple[Token, ...]]


class TestTranscript:
    def test_a_reply_grows_with_its_tokens(self, tokens_of: TokensOf, qtbot: Any) -> None:
        model = TranscriptModel()
        model.append_message(ShownMessage(id="r", role="assistant", state="streaming", author="m"))
        with qtbot.waitSignals([model.tokens_changed, model.text_appended]):
            model.append_tokens("r", tokens_of("The Nile"))
        assert model.message("r").text == "The Nile"
        assert model.streaming_id == "r"
        model.finish_reply("r", "stop", ReplyStats(new_tokens=2))
        assert model.message("r").state == "complete"
        assert model.streaming_id is None

    def test_tokens_without_text_do_not_announce_text(self, make_token: Any, qtbot: Any) -> None:
        model = TranscriptModel()
        model.append_message(ShownMessage(id="r", role="assistant", state="streaming"))
        with qtbot.assertNotEmitted(model.text_appended):
            model.append_tokens("r", (make_token(0, ""),))
        assert len(model.message("r").track) == 1

    def test_how_a_reply_ended_is_its_state(self) -> None:
        model = TranscriptModel()
        for reason, state in (("cancelled", "stopped"), ("failed", "failed"), ("length", "complete")):
            model.append_message(ShownMessage(id=reason, role="assistant", state="streaming"))
            model.finish_reply(reason, reason, problem="x" if reason == "failed" else "")
            assert model.message(reason).state == state

    def test_continuing_keeps_the_text_and_its_tokens(self, tokens_of: TokensOf) -> None:
        model = TranscriptModel()
        model.append_message(ShownMessage(id="r", role="assistant", text="Once", author="m"))
        kept = TokenTrack(origin=len("Once"))
        again = ShownMessage(id="r", role="assistant", text="Once", state="streaming", track=kept)
        model.replace_from("r", [again])
        model.append_tokens("r", tokens_of(" upon a time"))
        message = model.message("r")
        assert message.text == "Once upon a time"
        assert message.track.at_offset(3) is None
        assert message.track.at_offset(5) == 0

    def test_events_for_a_reply_that_is_not_shown_are_ignored(self, tokens_of: TokensOf) -> None:
        model = TranscriptModel()
        model.append_tokens("gone", tokens_of("x"))
        model.add_mark("gone", 0, "x")
        model.finish_reply("gone", "stop")
        assert len(model) == 0

    def test_replacing_the_tail_keeps_what_is_before_it(self) -> None:
        model = TranscriptModel()
        model.reset([ShownMessage(id=number, role="user", text=str(number)) for number in range(4)])
        model.replace_from(2, [ShownMessage(id="new", role="user", text="n")])
        assert [message.id for message in model.messages] == [0, 1, "new"]
        assert 3 not in model
        assert model.position("new") == 2

    def test_two_messages_cannot_have_one_id(self) -> None:
        model = TranscriptModel()
        model.append_message(ShownMessage(id=1, role="user"))
        with pytest.raises(ValueError, match="shown already"):
            model.append_message(ShownMessage(id=1, role="user"))

    def test_a_piece_of_text_is_turned_into_its_tokens(self, tokens_of: TokensOf) -> None:
        model = TranscriptModel()
        track = TokenTrack(tokens_of("The long river"))
        model.reset([ShownMessage(id=1, role="assistant", text="The long river", track=track)])
        assert model.span_at(1, 4, 8) == TokenSpan(1, 1, 2)
        assert model.span_at(1, 5, 12) == TokenSpan(1, 1, 3)
        assert model.span_at(1, 90, 95) is None

    def test_marks_are_kept_with_their_token(self) -> None:
        model = TranscriptModel()
        model.append_message(ShownMessage(id="r", role="assistant", state="streaming"))
        model.add_mark("r", 3, "temperature 0.7 → 1.2")
        assert model.message("r").marks == [Mark(3, "temperature 0.7 → 1.2")]


class TestFocus:
    def test_a_preview_wins_over_the_focus_until_it_ends(self, qtbot: Any) -> None:
        focus = FocusModel()
        seen: list[object] = []
        focus.current_changed.connect(seen.append)
        one, two = TokenSpan("m", 1, 2), TokenSpan("m", 2, 3)
        focus.set_focus(one)
        focus.set_preview(two)
        focus.set_preview(None)
        assert seen == [one, two, one]
        assert focus.focus == one

    def test_moving_the_focus_forgets_the_candidate(self) -> None:
        focus = FocusModel()
        focus.set_focus(TokenSpan("m", 1, 2))
        focus.set_candidate(3)
        focus.set_focus(TokenSpan("m", 2, 3))
        assert focus.candidate is None

    def test_clearing_forgets_everything(self) -> None:
        focus = FocusModel()
        focus.set_focus(TokenSpan("m", 1, 2))
        focus.set_preview(TokenSpan("m", 4, 5))
        focus.clear()
        assert focus.current is None
        assert focus.focus is None

    def test_the_same_focus_is_not_announced_twice(self, qtbot: Any) -> None:
        focus = FocusModel()
        focus.set_focus(TokenSpan("m", 1, 2))
        with qtbot.assertNotEmitted(focus.focus_changed):
            focus.set_focus(TokenSpan("m", 1, 2))
