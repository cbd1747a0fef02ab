"""The real engine behind the real window: what a user does in the first minutes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from app.bootstrap import App
from inference.events import SamplingControls, Token

pytestmark = pytest.mark.builtin

QUESTION = "Tell a short story about a boat."


def say(app: App, qtbot: Any, text: str = QUESTION) -> Any:
    app.widgets.intents.send_requested.emit(text)
    done(app, qtbot)
    return app.models.transcript.last_reply


def done(app: App, qtbot: Any) -> None:
    qtbot.waitUntil(lambda: not app.generation.running, timeout=120_000)
    assert [fault.details for fault in app.models.faults.faults] == []


def test_a_conversation_is_answered_and_is_there_after_a_restart(
    open_app: Callable[[], App], qtbot: Any
) -> None:
    app = open_app()
    reply = say(app, qtbot)
    assert reply.text
    assert "".join(token.text for token in reply.track.tokens) == reply.text
    text, tokens = reply.text, [token.id for token in reply.track.tokens]
    app.widgets.window.close()

    again = open_app()
    assert again.models.transcript.last_reply.text == text
    qtbot.waitUntil(lambda: len(again.models.transcript.last_reply.track) == len(tokens))
    assert [token.id for token in again.models.transcript.last_reply.track.tokens] == tokens


def test_greedy_replies_are_the_same_each_time_and_a_follow_up_reads_only_what_is_new(
    open_app: Callable[[], App], qtbot: Any
) -> None:
    app = open_app()
    first = say(app, qtbot)
    text = first.text
    app.widgets.intents.regenerate_requested.emit(first.id)
    done(app, qtbot)
    assert app.models.transcript.last_reply.text == text
    say(app, qtbot, "And then?")
    record = app.models.runs.records[0]
    assert record.reused_tokens > record.prompt_tokens // 2


def test_a_control_moved_while_it_writes_acts_on_the_next_token(
    open_app: Callable[[], App], qtbot: Any
) -> None:
    app = open_app()
    endless = ((2, -100.0), (6, -100.0))
    app.models.controls.set_controls(
        SamplingControls(
            temperature=0.0, top_k=0, top_p=1.0, min_p=0.0, max_new_tokens=1000, logit_bias=endless
        )
    )
    app.widgets.intents.send_requested.emit(QUESTION)
    qtbot.waitUntil(lambda: len(app.models.transcript.last_reply.track) >= 5, timeout=60_000)
    app.models.controls.set_value("temperature", 1.5)
    qtbot.waitUntil(lambda: bool(app.models.transcript.last_reply.marks), timeout=60_000)
    reply = app.models.transcript.last_reply
    place = reply.marks[0].token_index
    qtbot.waitUntil(lambda: len(reply.track) > place + 5, timeout=60_000)
    app.widgets.intents.stop_requested.emit()
    done(app, qtbot)
    tokens = [token for token in reply.track.tokens if isinstance(token, Token)]
    assert all(token.sampled_prob == 1.0 for token in tokens[:place])
    assert tokens[place].sampled_prob < 1.0


def test_a_branch_from_a_candidate_goes_on_as_if_the_model_had_said_it(
    open_app: Callable[[], App], qtbot: Any
) -> None:
    app = open_app()
    reply = say(app, qtbot)
    place = next(i for i, t in enumerate(reply.track.tokens) if i > 3 and t.candidates and t.text.strip())
    token = reply.track[place]
    rival = max((c for c in token.candidates if c.id != token.id), key=lambda c: c.raw_logprob)
    app.chat.branch_from_candidate(reply.id, place, rival.id)
    done(app, qtbot)
    branch = app.models.transcript.last_reply
    ids = [t.id for t in branch.track.tokens]
    assert ids[: place + 1] == [*[t.id for t in reply.track.tokens][:place], rival.id]
    assert "".join(t.text for t in branch.track.tokens) == branch.text
    assert branch.branch_count == 2
    # The same beginning, read by the model in one pass, gives the same probabilities as token by token.
    scored = {t.index: t for t in branch.track.tokens}
    app.models.transcript.set_text(branch.id, branch.text)
    app.tracks.wanted(branch.id)
    qtbot.waitUntil(lambda: len(branch.track) > 0, timeout=60_000)
    read = [t for t in branch.track.tokens if not t.special]
    assert len(read) >= len([t for t in scored.values() if not t.special])


def test_the_raw_text_of_a_chat_is_what_the_model_read(open_app: Callable[[], App], qtbot: Any) -> None:
    app = open_app()
    started: list[Any] = []
    app.generation.context_changed.connect(lambda *fill: started.append(fill))
    reply = say(app, qtbot)
    app.widgets.chat.show_view("raw")
    qtbot.waitUntil(lambda: bool(app.widgets.chat.raw.text()), timeout=60_000)
    raw = app.widgets.chat.raw.text()
    assert QUESTION in raw
    assert raw.endswith(reply.text)


def test_closing_in_mid_reply_ends_every_thread(open_app: Callable[[], App], qtbot: Any) -> None:
    app = open_app()
    app.models.controls.set_controls(SamplingControls(temperature=0.8, max_new_tokens=2000))
    app.widgets.intents.send_requested.emit(QUESTION)
    qtbot.waitUntil(lambda: len(app.models.transcript.last_reply.track) >= 5, timeout=60_000)
    with qtbot.waitSignal(app.closed) as closed:
        app.widgets.window.close()
    assert closed.args == [True]


def test_unloading_and_loading_again_works(open_app: Callable[[], App], qtbot: Any) -> None:
    app = open_app()
    text = say(app, qtbot).text
    app.model_loads.unload()
    qtbot.waitUntil(lambda: app.models.models.loaded is None, timeout=60_000)
    app.model_loads.load(app.models.models.choice)
    qtbot.waitUntil(lambda: app.models.models.loaded is not None, timeout=120_000)
    app.widgets.intents.regenerate_requested.emit(app.models.transcript.last_reply.id)
    done(app, qtbot)
    assert app.models.transcript.last_reply.text == text
