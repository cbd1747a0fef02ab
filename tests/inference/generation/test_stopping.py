"""Stop strings end the text exactly before they begin, wherever the tokens are cut."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from inference.generation.stopping import StopStrings

ALPHABET = st.text("ab\n", max_size=12)
STOPS = st.lists(st.text("ab\n", min_size=1, max_size=4), max_size=3)


def by_character(text: str, stops: list[str]) -> tuple[str, bool]:
    """The definition: stop at the first character that ends a stop string, and take the string away."""
    for end in range(len(text) + 1):
        found = [stop for stop in stops if text[:end].endswith(stop)]
        if found:
            return text[: end - max(map(len, found))], True
    return text, False


def streamed(pieces: list[str], stops: list[str]) -> tuple[str, bool]:
    stream, shown = StopStrings(stops), ""
    for piece in pieces:
        text, stopped = stream.push(piece)
        shown += text
        if stopped:
            return shown, True
    return shown + stream.finish(), False


@given(st.lists(ALPHABET, max_size=6), STOPS)
def test_the_cut_does_not_depend_on_the_tokens(pieces: list[str], stops: list[str]) -> None:
    assert streamed(pieces, stops) == by_character("".join(pieces), stops)


@given(st.lists(ALPHABET, max_size=6), STOPS)
def test_what_was_shown_never_has_to_be_taken_back(pieces: list[str], stops: list[str]) -> None:
    stream, shown = StopStrings(stops), ""
    final, _ = streamed(pieces, stops)
    for piece in pieces:
        text, stopped = stream.push(piece)
        shown += text
        assert final.startswith(shown)
        if stopped:
            break


def test_no_more_is_held_back_than_may_be_a_stop_string() -> None:
    stream = StopStrings(["\nUser:"])
    assert stream.push("Yes.\nUs") == ("Yes.", False)
    assert stream.held == "\nUs"
    assert stream.push("ual") == ("\nUsual", False)


def test_new_stop_strings_act_on_what_is_held_back() -> None:
    stream = StopStrings(["###"])
    assert stream.push("a##") == ("a", False)
    stream.change(["#!"])
    assert stream.push("!") == ("#", True)
