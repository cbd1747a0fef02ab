"""The history: trees of messages on disk, token records, search."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.history import Ending, History
from app.history.token_codec import decode_tokens, encode_tokens
from inference.events import Candidate, ControlsChanged, SamplingControls, Stage, Token


def test_a_conversation_survives_closing_and_opening(open_history: Callable[..., History]) -> None:
    first = open_history()
    controls = SamplingControls(temperature=0.25, stop=("END",), logit_bias=((3, -1.5),), seed=11)
    chat = first.create("Rivers", system_prompt="Be brief.", controls=controls)
    question = first.add_message(chat.id, None, "user", "Which river is the longest?")
    first.add_message(chat.id, question.id, "assistant", "The Nile.", model="builtin")
    first.close()

    second = open_history()
    assert second.conversations() == (replace(chat, updated=second.conversation(chat.id).updated),)
    assert second.conversation(chat.id).controls == controls
    assert [(m.role, m.text) for m in second.path(chat.id)] == [
        ("user", "Which river is the longest?"),
        ("assistant", "The Nile."),
    ]


def test_the_conversation_used_last_comes_first(history: History) -> None:
    older, newer = history.create("older"), history.create("newer")
    assert [c.id for c in history.conversations()] == [newer.id, older.id]
    history.add_message(older.id, None, "user", "again")
    assert [c.id for c in history.conversations()] == [older.id, newer.id]


def test_a_message_beside_another_is_a_branch_and_the_shown_path_goes_through_it(history: History) -> None:
    chat = history.create("c")
    first = history.add_message(chat.id, None, "user", "a")
    reply = history.add_message(chat.id, first.id, "assistant", "b")
    edited = history.add_message(chat.id, None, "user", "a2")
    other = history.add_message(chat.id, edited.id, "assistant", "b2")
    assert [m.text for m in history.path(chat.id)] == ["a2", "b2"]
    assert [m.text for m in history.siblings(first.id)] == ["a", "a2"]
    history.choose(first.id)
    assert [m.id for m in history.path(chat.id)] == [first.id, reply.id]
    history.choose(edited.id)
    assert [m.id for m in history.path(chat.id)] == [edited.id, other.id]


def test_a_walked_branch_remembers_its_own_choices_further_down(history: History) -> None:
    chat = history.create("c")
    ask = history.add_message(chat.id, None, "user", "a")
    one = history.add_message(chat.id, ask.id, "assistant", "1")
    history.add_message(chat.id, ask.id, "assistant", "2")
    history.choose(one.id)
    history.add_message(chat.id, None, "user", "elsewhere")
    history.choose(ask.id)
    assert [m.text for m in history.path(chat.id)] == ["a", "1"]


def test_deleting_can_be_undone_until_the_app_ends(open_history: Callable[..., History]) -> None:
    history = open_history()
    chat, gone = history.create("kept"), history.create("gone")
    history.add_message(gone.id, None, "user", "secret words")
    history.delete(chat.id)
    assert [c.title for c in history.conversations()] == ["gone"]
    history.restore(chat.id)
    history.delete(gone.id)
    assert [c.title for c in history.conversations()] == ["kept"]
    assert history.search("secret") == ()
    history.close()
    again = open_history()
    with pytest.raises(KeyError):
        again.conversation(gone.id)
    assert [c.title for c in again.conversations()] == ["kept"]


def test_token_records_written_in_pieces_come_back_whole(
    history: History, make_tokens: Callable[..., tuple[Token, ...]]
) -> None:
    chat = history.create("c")
    reply = history.add_message(chat.id, None, "assistant", "", state="streaming")
    tokens = make_tokens([" a", " b", " c", " d", " e"])
    mark = ControlsChanged(run_id=0, index=2, changes=(("temperature", "0.7", "1.2"),))
    history.save_reply(reply.id, " a b", tokens[:2])
    history.save_reply(reply.id, " a b c d", tokens[2:4], marks=[mark])
    history.save_reply(reply.id, " a b c d e", tokens[4:])
    ending = Ending(reason="stop", seed=5, prompt_tokens=12, new_tokens=5, tokens_per_second=30.5)
    history.end_reply(reply.id, "complete", ending)
    assert history.reply(reply.id).tokens == tokens
    assert history.reply(reply.id).marks == (mark,)
    stored = history.message(reply.id)
    assert (stored.text, stored.state, stored.ending) == (" a b c d e", "complete", ending)


def test_continuing_within_a_reply_replaces_the_records_behind_that_place(
    history: History, make_tokens: Callable[..., tuple[Token, ...]]
) -> None:
    chat = history.create("c")
    reply = history.add_message(chat.id, None, "assistant", "", state="streaming")
    old, new = make_tokens([" a", " b", " c", " d"]), make_tokens([" X", " Y"], first=2)
    history.save_reply(reply.id, " a b c", old[:3])
    history.save_reply(reply.id, " a b c d", old[3:])
    history.save_reply(reply.id, " a b X Y", new, keep_tokens=2)
    assert history.reply(reply.id).tokens == old[:2] + new


def test_damaged_token_records_cost_the_records_only(
    history: History, make_tokens: Callable[..., tuple[Token, ...]], faults: list[dict[str, str]]
) -> None:
    chat = history.create("c")
    reply = history.add_message(chat.id, None, "assistant", " a b")
    history.save_reply(reply.id, " a b", make_tokens([" a", " b"]))
    history._db.execute("UPDATE token_records SET packed = x'00112233'")
    assert history.reply(reply.id).tokens == ()
    assert history.message(reply.id).text == " a b"
    assert [fault["kind"] for fault in faults] == ["history-damaged"]


def test_a_reply_that_never_ended_is_found_at_the_next_start(open_history: Callable[..., History]) -> None:
    history = open_history()
    chat = history.create("c")
    done = history.add_message(chat.id, None, "assistant", "", state="streaming")
    history.end_reply(done.id, "complete")
    cut = history.add_message(chat.id, None, "assistant", "half a sen", state="streaming")
    assert [m.id for m in open_history().unfinished()] == [cut.id]


@pytest.mark.parametrize("indexed", [True, False], ids=["index", "scan"])
@pytest.mark.parametrize(
    ("words", "hits"),
    [
        ("nile", ["The Nile is long.", "NILEs"]),
        ("nile LONG", ["The Nile is long."]),
        ("ng.", ["The Nile is long."]),
        ("is", ["The Nile is long."]),
        ("100%", ["100% sure_thing"]),
        ("sure_t", ["100% sure_thing"]),
        ('say "x', ['They say "x" here']),
        ("長江は", ["長江は長い"]),
        ("absent", []),
        ("   ", []),
    ],
)
def test_search_finds_all_words_anywhere_in_a_message(
    history: History, indexed: bool, words: str, hits: list[str]
) -> None:
    history._indexed = history._indexed and indexed
    chat = history.create("A talk")
    texts = [
        "The Nile is long.",
        "NILEs",
        "100% sure_thing",
        "100 surething",
        'They say "x" here',
        "長江は長い",
    ]
    for text in texts:
        history.add_message(chat.id, None, "user", text)
    found = [history.message(hit.message).text for hit in history.search(words) if hit.message is not None]
    assert sorted(found) == sorted(hits)


def test_search_finds_titles_and_shows_the_words_around_a_match(history: History) -> None:
    chat = history.create("About the Danube")
    history.add_message(chat.id, None, "user", "x " * 100 + "danube delta" + " y" * 100)
    title, message = history.search("danube")
    assert (title.message, title.excerpt) == (None, "About the Danube")
    assert message.excerpt.startswith("…x x")
    assert "danube delta" in message.excerpt
    assert message.excerpt.endswith("…")


def test_search_sees_a_reply_once_it_has_ended_and_its_new_text_after_it_was_continued(
    history: History,
) -> None:
    chat = history.create("c")
    reply = history.add_message(chat.id, None, "assistant", "", state="streaming")
    history.save_reply(reply.id, "first words")
    assert history.search("words") == ()
    history.end_reply(reply.id, "stopped")
    assert len(history.search("words")) == 1
    history.reopen_reply(reply.id)
    history.save_reply(reply.id, "first words and more")
    history.end_reply(reply.id, "complete")
    assert [hit.message for hit in history.search("more")] == [reply.id]
    assert len(history.search("words")) == 1


_float32 = st.floats(width=32, allow_nan=False)
_texts = st.text(max_size=8)
_candidates = st.builds(
    Candidate, id=st.integers(0, 2**31), text=_texts, raw_logprob=_float32, sampled_prob=_float32
)
_stages = st.builds(
    Stage,
    name=st.sampled_from(["raw", "top-p"]),
    probs=st.lists(_float32, max_size=4).map(tuple),
    removed=_float32,
)
_tokens = st.builds(
    Token,
    run_id=st.just(0),
    index=st.integers(0, 10**6),
    id=st.integers(0, 2**31),
    text=_texts,
    data=st.binary(max_size=8),
    special=st.booleans(),
    raw_logprob=_float32,
    sampled_prob=_float32,
    entropy=_float32,
    candidates=st.lists(_candidates, max_size=4).map(tuple),
    stages=st.lists(_stages, max_size=3).map(tuple),
    at=_float32,
    guessed=st.booleans(),
)


@given(st.lists(_tokens, max_size=5).map(tuple))
def test_every_token_comes_back_from_bytes_as_it_was(tokens: tuple[Token, ...]) -> None:
    assert decode_tokens(encode_tokens(tokens)) == tokens


@given(st.lists(_tokens, min_size=1, max_size=2).map(tuple), st.integers(0, 10**6), st.integers(1, 255))
def test_damaged_bytes_are_a_value_error_or_are_seen_to_be_other_tokens(
    tokens: tuple[Token, ...], place: int, change: int
) -> None:
    packed = bytearray(encode_tokens(tokens))
    packed[place % len(packed)] ^= change
    try:
        decoded = decode_tokens(bytes(packed))
    except ValueError:
        return
    assert all(isinstance(token, Token) for token in decoded)


def test_log_probabilities_of_minus_infinity_are_kept(make_tokens: Callable[..., tuple[Token, ...]]) -> None:
    (token,) = make_tokens(["x"])
    (back,) = decode_tokens(encode_tokens([replace(token, raw_logprob=-math.inf)]))
    assert back.raw_logprob == -math.inf
