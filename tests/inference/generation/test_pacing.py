"""Guessing rests where guesses are mostly wrong, and comes back when they are right."""

from __future__ import annotations

from collections.abc import Iterable

from inference.generation.lookup import GUESSES, Lookup
from inference.generation.pacing import Paced, least_right


class Ones:
    """Somebody who always guesses 1."""

    def __init__(self) -> None:
        self.asked = self.seen = 0

    def add(self, token: int) -> None:
        self.seen += 1

    def guess(self, count: int = GUESSES) -> list[int]:
        self.asked += 1
        return [1] * count


def write(paced: Paced, text: Iterable[int]) -> list[bool]:
    """Write a text as the decode loop does; returns for each token whether guesses were asked for."""
    asked, ahead = [], 0
    for token in text:
        ahead = ahead - 1 if ahead and token == 1 else 0
        paced.add(token)
        if ahead:
            asked.append(True)
            continue
        ahead = 0 if paced.resting else len(paced.guess()) + 1
        asked.append(ahead > 1)
        ahead = max(0, ahead)
    return asked


def test_guesses_that_are_right_go_on() -> None:
    guesser = Ones()
    assert all(write(Paced(guesser, 1.0), [1] * 500))
    assert guesser.seen == 500


def test_guesses_that_are_wrong_become_rare() -> None:
    guesser = Ones()
    asked = write(Paced(guesser, 1.0), [2] * 2_000)
    assert all(asked[:8])
    assert asked.count(True) == guesser.asked < 50
    assert guesser.seen == 2_000


def test_it_comes_back_when_guesses_are_right_again() -> None:
    paced = Paced(Ones(), 1.0)
    write(paced, [2] * 300)
    assert all(write(paced, [1] * 600)[300:])


def test_the_same_text_is_guessed_at_in_the_same_places() -> None:
    text = [1, 2, 2, 1, 1, 2, 1, 2, 2, 2, 2, 1] * 60
    assert write(Paced(Ones(), 0.8), text) == write(Paced(Ones(), 0.8), text)


def test_a_large_draft_has_to_be_right_more_often() -> None:
    assert least_right(draft_share=None, on_gpu=False) < least_right(draft_share=None, on_gpu=True)
    assert least_right(draft_share=0.03, on_gpu=True) < least_right(draft_share=0.2, on_gpu=True) < GUESSES
    assert least_right(draft_share=5.0, on_gpu=True) < GUESSES


def test_what_repeats_itself_is_guessed_to_go_on() -> None:
    assert Lookup([5, 6, 7, 6, 7, 6, 7]).guess(4) == [6, 7, 6, 7]
    assert Lookup([9, 9, 9]).guess(4) == [9, 9, 9, 9]
    assert Lookup([1, 2, 3, 4, 5, 6, 1, 2]).guess(4) == [3, 4, 5, 6]
