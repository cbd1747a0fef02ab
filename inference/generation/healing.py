"""Token healing: let the model choose again how the last characters of a raw prompt are cut into tokens.

A prompt that ends inside of what would have been one token ("http:" of "http://") sets the model on a path
that it has never seen. The last tokens are taken back, as many as some token of the vocabulary could reach
across, and the reply must begin with exactly their bytes, by a hard mask. Unlike transformers'
``token_healing`` the text is never stripped, special tokens are never touched, several tokens are taken
back where needed, and multi-byte characters may be split.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from inference.detokenizing import TokenTable

if TYPE_CHECKING:
    from collections.abc import Sequence

#: Bytes at the end of a prompt that are looked at; longer tokens are runs of spaces and the like.
_REACH = 64


class ByteIndex:
    """All ordinary tokens of a vocabulary, sorted by their bytes."""

    def __init__(self, table: TokenTable, size: int) -> None:
        pairs = [(table.data(token), token) for token in range(size) if not table.is_special(token)]
        pairs = sorted(pair for pair in pairs if pair[0])
        self._keys = [data for data, _ in pairs]
        self._tokens = [token for _, token in pairs]

    def extends(self, data: bytes) -> bool:
        """Whether some token begins with these bytes and goes on."""
        place = bisect_left(self._keys, data + b"\0")
        return place < len(self._keys) and self._keys[place].startswith(data)

    def matching(self, wanted: bytes) -> list[int]:
        """The tokens that can come next in a text that must begin with ``wanted``: those that begin with
        it, and those that it begins with.
        """
        first = bisect_left(self._keys, wanted)
        last = first
        while last < len(self._keys) and self._keys[last].startswith(wanted):
            last += 1
        found = self._tokens[first:last]
        for length in range(1, len(wanted)):
            place = bisect_left(self._keys, wanted[:length])
            while place < len(self._keys) and self._keys[place] == wanted[:length]:
                found.append(self._tokens[place])
                place += 1
        return found


class Healing:
    """What the first tokens of a healed reply have to spell."""

    def __init__(self, index: ByteIndex | None, wanted: bytes) -> None:
        self._index = index
        self._wanted = wanted

    @property
    def active(self) -> bool:
        """Whether something is still to be spelled."""
        return bool(self._wanted)

    def mask(self, vocabulary: int, device: torch.device) -> Tensor:
        """(vocabulary,) booleans: which tokens may come next."""
        allowed = torch.zeros(vocabulary, dtype=torch.bool)
        assert self._index is not None
        allowed[[token for token in self._index.matching(self._wanted) if token < vocabulary]] = True
        return allowed.to(device)

    def take(self, data: bytes) -> int:
        """A token was chosen; returns how many of its bytes were owed."""
        owed = min(len(data), len(self._wanted))
        self._wanted = self._wanted[owed:]
        return owed


def tokens_to_take_back(ids: Sequence[int], table: TokenTable, index: ByteIndex) -> int:
    """How many tokens at the end of a prompt another token could reach across.

    That is the longest end of the prompt's bytes, up to the last special token, that some token of the
    vocabulary begins with and goes beyond, rounded up to whole tokens. The first token always stays.
    """
    data, sizes = b"", []
    for token in reversed(ids[1:]):
        if table.is_special(token) or len(data) >= _REACH:
            break
        data = table.data(token) + data
        sizes.append(len(table.data(token)))
    reach = next((n for n in range(min(len(data), _REACH), 0, -1) if index.extends(data[-n:])), 0)
    count = 0
    while reach > 0 and count < len(sizes):
        reach -= sizes[count]
        count += 1
    return count
