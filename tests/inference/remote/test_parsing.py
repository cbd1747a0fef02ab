"""Reading what servers send: streams cut anywhere, texts dealt out to tokens, addresses, secrets."""

from __future__ import annotations

import pickle
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference.events import Secret
from inference.remote import address, kinds, sse
from inference.remote.pieces import logprob
from inference.remote.tokens import shared_out

STREAM = b': hello\r\n\r\ndata: {"a": 1}\n\nevent: x\ndata: two\ndata:lines\n\ndata: [DONE]\n\ndata: cut'


@given(st.lists(st.integers(min_value=0, max_value=len(STREAM)), max_size=8))
def test_a_stream_means_the_same_wherever_it_is_cut(cuts: list[int]) -> None:
    places = [0, *sorted(cuts), len(STREAM)]
    parts = [STREAM[start:end] for start, end in pairwise(places)]
    assert list(sse.events(parts)) == [b'{"a": 1}', b"two\nlines", b"[DONE]"]


@given(st.text(max_size=12), st.lists(st.text(max_size=4), min_size=1, max_size=6))
def test_shares_of_a_text_add_up_to_it(text: str, tokens: list[str]) -> None:
    shares = shared_out(text, tokens)
    assert len(shares) == len(tokens)
    assert "".join(shares) == text


@given(st.lists(st.text(min_size=1, max_size=4), min_size=1, max_size=6))
def test_tokens_that_spell_the_text_get_their_own(tokens: list[str]) -> None:
    assert shared_out("".join(tokens), tokens) == tokens


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("127.0.0.1:8080/v1/", "http://127.0.0.1:8080/v1"),
        ("HTTPS://Models.Example.org/V1", "https://models.example.org/V1"),
        ("http://[::1]:8000/v1", "http://[::1]:8000/v1"),
        (" http://localhost:1234 ", "http://localhost:1234"),
    ],
)
def test_addresses_are_brought_into_one_form(text: str, url: str) -> None:
    assert address.base_url(text) == url


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        *(("127.0.0.1", True), ("127.8.9.1", True), ("::1", True), ("localhost", True)),
        *(("192.168.1.2", False), ("0.0.0.0", False), ("localhost.example.org", False)),
        *(("127.0.0.1.example.org", False), ("10.0.0.1", False)),
    ],
)
def test_what_is_this_machine(host: str, loopback: bool) -> None:
    assert address.is_loopback(host) is loopback


@pytest.mark.parametrize(
    ("value", "read"),
    [(-0.5, -0.5), (0.0, 0.0), (1e-7, 0.0), (-9999.0, None), (12.5, None), (None, None), ("-1", None)],
)
def test_what_cannot_be_a_log_probability_is_not_known(value: object, read: float | None) -> None:
    assert logprob(value) == read


def test_a_key_shows_itself_nowhere() -> None:
    key = Secret("sk-secret")
    assert key.reveal() == "sk-secret"
    assert "sk-secret" not in f"{key} {key!r} {(key,)}"
    assert not pickle.loads(pickle.dumps(key))


@pytest.mark.parametrize(
    ("url", "header", "owner", "kind"),
    [
        ("https://api.openai.com/v1", "cloudflare", "system", "openai"),
        ("http://127.0.0.1:8080/v1", "llama.cpp", "", "llama.cpp"),
        ("http://127.0.0.1:8000/v1", "uvicorn", "vllm", "vllm"),
        ("http://127.0.0.1:1234/v1", "", "organization_owner", "lm-studio"),
        ("http://127.0.0.1:11434/v1", "", "library", "ollama"),
        ("http://127.0.0.1:9/v1", "uvicorn", "google", "unknown"),
    ],
)
def test_a_server_is_known_by_what_it_says(url: str, header: str, owner: str, kind: str) -> None:
    assert kinds.detect(url, header, [{"id": "m", "owned_by": owner}]) == kind
