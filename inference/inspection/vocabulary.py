"""Looking a token up by its text."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from inference.events import Event, FindTokensRequest, FoundToken, TokensFound
from inference.running import RunHandle

if TYPE_CHECKING:
    from inference.detokenizing import TokenTable
    from inference.session import Session

#: A cancel is looked for every so many tokens.
_LOOK = 4096


def find(session: Session, request: FindTokensRequest, handle: RunHandle) -> Iterator[Event]:
    """The tokens of the loaded model that a text means -> TokensFound."""
    engine = session.require_engine()
    found = matches(engine.table, engine.loaded.info.vocabulary, request, handle)
    yield TokensFound(run_id=request.run_id, text=request.text, matches=found)


def matches(
    table: TokenTable, size: int, request: FindTokensRequest, handle: RunHandle
) -> tuple[FoundToken, ...]:
    """The best matches first: the token that is the text, with a space before it, in another case; then
    those that begin with it, and those that hold it, short ones first.

    Args:
        table: What each token is.
        size: Tokens of the vocabulary.
        request: What is looked for; ``#12`` is the token of this id.
        handle: Of the run, for a cancel.
    """
    wanted = request.text
    if wanted.startswith("#") and wanted[1:].isdigit() and int(wanted[1:]) < size:
        number = int(wanted[1:])
        return (FoundToken(id=number, text=table.text(number)),)
    ranked = []
    folded = wanted.casefold()
    for token in range(size if wanted else 0):
        if token % _LOOK == 0:
            handle.check()
        text = table.text(token)
        if folded in text.casefold():
            ranked.append((_rank(text, wanted), len(text), token, text))
    ranked.sort()
    return tuple(FoundToken(id=token, text=text) for _, _, token, text in ranked[: request.limit])


def _rank(text: str, wanted: str) -> int:
    bare, folded = text.strip(), wanted.casefold()
    exact = (text == wanted, bare == wanted, bare.casefold() == folded)
    if any(exact):
        return exact.index(True)
    return 3 if bare.casefold().startswith(folded) else 4
