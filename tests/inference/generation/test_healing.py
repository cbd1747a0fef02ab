"""Token healing: the reply begins with exactly what was taken back, and nothing else is touched."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import PreTrainedTokenizerBase

from inference.detokenizing import TokenTable
from inference.events import BoundaryRequest, Event, Failed, GenerateRequest, HealingBoundary, Started, Token
from inference.generation.healing import ByteIndex, tokens_to_take_back
from inference.running import new_run_id
from inference.session import Session

Run = Callable[..., list[Event]]
Generating = Callable[..., GenerateRequest]


@pytest.fixture
def table(byte_tokenizer: PreTrainedTokenizerBase) -> TokenTable:
    return TokenTable(byte_tokenizer)


@pytest.fixture
def index(table: TokenTable, byte_tokenizer: PreTrainedTokenizerBase) -> ByteIndex:
    return ByteIndex(table, len(byte_tokenizer))


def test_the_index_finds_exactly_the_tokens_that_can_come_next(table: TokenTable, index: ByteIndex) -> None:
    ordinary = [token for token in range(500) if table.data(token) and not table.is_special(token)]

    @settings(deadline=None)
    @given(st.sampled_from(ordinary), st.integers(1, 8), st.binary(max_size=3))
    def check(token: int, length: int, tail: bytes) -> None:
        wanted = table.data(token)[:length] + tail
        expected = [
            each
            for each in ordinary
            if table.data(each).startswith(wanted) or wanted.startswith(table.data(each))
        ]
        assert sorted(index.matching(wanted)) == expected
        assert index.extends(wanted) == any(
            table.data(each).startswith(wanted) and table.data(each) != wanted for each in ordinary
        )

    check()


def test_special_tokens_and_the_first_token_are_never_taken_back(
    table: TokenTable, index: ByteIndex, byte_tokenizer: PreTrainedTokenizerBase
) -> None:
    ids = [1, *byte_tokenizer.encode("a", add_special_tokens=False)]
    assert tokens_to_take_back(ids, table, index) == 1
    assert tokens_to_take_back([*ids, 6], table, index) == 0
    assert tokens_to_take_back(ids[1:], table, index) == 0


def test_several_tokens_are_taken_back_where_a_token_reaches_across_them(
    table: TokenTable, index: ByteIndex, byte_tokenizer: PreTrainedTokenizerBase
) -> None:
    long = max((token for token in range(500)), key=lambda token: len(table.data(token)))
    data = table.data(long)
    letters = [next(t for t in range(500) if table.data(t) == bytes([byte])) for byte in data[:-1]]
    assert len(letters) > 2
    assert tokens_to_take_back([1, *letters], table, index) == len(letters)


@pytest.mark.parametrize("text", ["http", "The qui", "emoji 🦊 and 👩‍👩", "naïve caf", "x  ", "\n"])
@pytest.mark.parametrize(
    "settings", [{}, {"temperature": 1.5, "top_p": 1.0, "seed": 3}], ids=["greedy", "sampled"]
)
def test_prompt_and_reply_together_spell_the_prompt_and_go_on(
    text: str, settings: dict[str, Any], session: Session, run: Run, generating: Generating
) -> None:
    table = session.require_engine().table
    request = generating(prompt="Read: " + text, token_healing=True, max_new_tokens=30, **settings)
    events = run(session, request)
    started = next(event for event in events if isinstance(event, Started))
    tokens = [event for event in events if isinstance(event, Token)]
    tokenizer = session.require_engine().loaded.tokenizer
    kept = tokenizer.encode("Read: " + text)[: started.prompt_tokens]
    data = b"".join(map(table.data, [*kept, *(token.id for token in tokens if not token.special)]))
    written = "".join(token.text for token in tokens)
    assert data.decode(errors="replace") == "Read: " + text + written
    assert started.prompt_text == "Read: " + text
    assert all(token.sampled_prob > 0 for token in tokens)


def test_the_model_may_choose_a_token_across_the_end_of_the_prompt(
    session: Session, run: Run, generating: Generating, byte_tokenizer: PreTrainedTokenizerBase
) -> None:
    (across,) = byte_tokenizer.encode(" token", add_special_tokens=False)
    request = generating(prompt="by tok", token_healing=True, logit_bias=((across, 100.0),), max_new_tokens=1)
    (token,) = [event for event in run(session, request) if isinstance(event, Token)]
    assert (token.id, token.text, token.data) == (across, "en", b" token")
    plain = generating(prompt="by tok", logit_bias=((across, 100.0),), max_new_tokens=1)
    (token,) = [event for event in run(session, plain) if isinstance(event, Token)]
    assert token.text == " token"


def boundary_of(session: Session, run: Run, prompt: str, candidates: int = 500) -> HealingBoundary:
    events = run(session, BoundaryRequest(run_id=new_run_id(), prompt=prompt, candidates=candidates))
    return next(event for event in events if isinstance(event, HealingBoundary))


def test_the_boundary_shows_what_the_first_healed_token_is_drawn_from(
    session: Session, run: Run, generating: Generating
) -> None:
    shown = boundary_of(session, run, "by tok")
    assert "".join(shown.taken) == shown.text == " tok"
    request = generating(prompt="by tok", token_healing=True, max_new_tokens=1, temperature=1.0, top_p=1.0)
    (token,) = [event for event in run(session, request) if isinstance(event, Token)]
    drawn = {each.id: each.sampled_prob for each in token.candidates if each.sampled_prob > 0}
    expected = {each.id: each.sampled_prob for each in shown.candidates if each.id in drawn}
    assert expected == pytest.approx(drawn, rel=1e-4)
    assert len(drawn) == min(shown.fitting, len(drawn))
    assert sum(each.sampled_prob for each in shown.candidates) == pytest.approx(1.0, abs=1e-5)
    assert 0 < shown.mass < 1


def test_every_token_that_fits_is_counted_and_the_likeliest_are_told(
    session: Session, run: Run, table: TokenTable, index: ByteIndex
) -> None:
    shown = boundary_of(session, run, "by tok", candidates=2)
    assert shown.fitting == len(index.matching(b" tok"))
    first, second = shown.candidates
    assert first.sampled_prob >= second.sampled_prob > 0
    for each in shown.candidates:
        data = table.data(each.id)
        assert data.startswith(b" tok") or b" tok".startswith(data)


def test_where_no_token_reaches_across_the_end_nothing_is_cut_back(session: Session, run: Run) -> None:
    shown = boundary_of(session, run, "by tok</s>")
    assert (shown.taken, shown.text, shown.candidates) == ((), "", ())


def test_an_empty_prompt_has_no_boundary(session: Session, run: Run) -> None:
    *_, failed = run(session, BoundaryRequest(run_id=new_run_id(), prompt=""))
    assert isinstance(failed, Failed)
    assert failed.kind == "empty-prompt"
