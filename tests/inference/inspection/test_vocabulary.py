"""A token is found by its text."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from inference.events import FindTokensRequest, TokensFound
from inference.session import Session


@pytest.fixture
def find(session: Session, run: Callable[..., Any]) -> Callable[..., list[tuple[int, str]]]:
    def find(text: str, **more: Any) -> list[tuple[int, str]]:
        events = run(session, FindTokensRequest(run_id=1, text=text, **more))
        (found,) = [event for event in events if isinstance(event, TokensFound)]
        return [(match.id, match.text) for match in found.matches]

    return find


def test_the_token_itself_comes_first_then_with_a_space_then_longer_ones(find: Any) -> None:
    texts = [text for _, text in find("the")]
    assert texts[0].strip() == "the"
    assert all("the" in text.casefold() for text in texts)
    begin = [text.strip().casefold().startswith("the") for text in texts]
    assert begin == sorted(begin, reverse=True)


def test_every_match_is_a_token_of_the_model(find: Any, session: Session) -> None:
    table = session.require_engine().table
    found = find("e", limit=1000)
    assert {number for number, _ in found} == {
        number for number in range(500) if "e" in table.text(number).casefold()
    }
    assert all(table.text(number) == text for number, text in found)
    assert find("e", limit=3) == found[:3]


def test_an_id_finds_its_token(find: Any, session: Session) -> None:
    assert find("#300") == [(300, session.require_engine().table.text(300))]
    assert find("#500") == []


@pytest.mark.parametrize("text", ["", "no token holds this"])
def test_nothing_is_found_for_nothing(find: Any, text: str) -> None:
    assert find(text) == []
