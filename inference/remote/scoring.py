"""Log-probabilities of given text, from servers that tell them: vLLM's ``prompt_logprobs``, or a raw
completion that echoes its prompt.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from inference.errors import NotAvailable
from inference.events import Event, Progress, PromptScored, ScoredToken, ScoreRequest
from inference.remote import asking, failures
from inference.remote.asking import Question
from inference.remote.pieces import Entry, WrongShape, logprob, tokens
from inference.running import RunHandle

if TYPE_CHECKING:
    from inference.remote.connection import Wire
    from inference.remote.engine import RemoteEngine

_HERE = "Choose a model on this machine for that."
_LATE = (
    "This server tells wrong probabilities of a given text for models without a begin-of-text token: each "
    "token gets those of the next one."
)


@dataclass(frozen=True, slots=True)
class Read:
    """A token of given text with its log-probability; None for the first one. ``start`` is its character in
    the text, where the server tells it.
    """

    entry: Entry
    start: int | None = None


def problem(engine: RemoteEngine, *, chat: bool) -> str:
    """Why a server's model can't score text; "" if it can."""
    remote = engine.info().remote
    assert remote is not None
    return remote.score_chat_problem if chat else remote.score_raw_problem


def score(engine: RemoteEngine, request: ScoreRequest, handle: RunHandle) -> Iterator[Event]:
    """Probabilities of given text -> Progress, PromptScored.

    Raises:
        NotAvailable: The server does not tell them, or attention is to be steered.
    """
    if request.attention:
        raise NotAvailable("Attention can't be steered in a model on a server.", hint=_HERE)
    question = Question(
        messages=request.messages, prompt=request.prompt, beginning=engine.beginning_of(request)
    )
    yield Progress(run_id=request.run_id, stage="Asking the server", done=0, total=0, unit="tokens")
    with engine.wire(handle) as wire:
        found = read(engine, wire, question)
    texts = _texts(found, question)
    yield PromptScored(
        run_id=request.run_id,
        tokens=tuple(
            ScoredToken(
                index=index,
                id=engine.numbers.of(each.entry),
                text=text,
                data=each.entry.data,
                special=False,
                raw_logprob=each.entry.logprob,
            )
            for index, (each, text) in enumerate(zip(found, texts, strict=True))
        ),
    )


def read(engine: RemoteEngine, wire: Wire, question: Question) -> list[Read]:
    """The tokens of a text that is only read.

    Raises:
        NotAvailable: The server does not tell them.
    """
    if trouble := problem(engine, chat=bool(question.messages)):
        raise NotAvailable(trouble, hint=_HERE)
    body = asking.asked(question, engine.model, engine.traits)
    # One token is written, since servers differ in what none means; it is left out again.
    body |= {"max_tokens": 1, "temperature": 0.0, "stream": False}
    if engine.traits.scores == "echo":
        answer = wire.post(question.path, body | {"echo": True, "logprobs": 1})
        found = _echoed(answer, len(body["prompt"]))
    else:
        answer = wire.post(question.path, body | {"prompt_logprobs": 0})
        found = _prompt_logprobs(answer)
    if not found:
        what = "did not tell the probabilities of the text"
        raise failures.garbled(wire.host, what, str(answer), wire.key)
    return found


def _choice(answer: Any) -> dict[str, Any]:
    choices = answer.get("choices") if isinstance(answer, dict) else None
    return choices[0] if isinstance(choices, list) and choices and isinstance(choices[0], dict) else {}


def _echoed(answer: Any, length: int) -> list[Read]:
    """The tokens of an echoed prompt of so many characters."""
    logprobs = _choice(answer).get("logprobs")
    try:
        told = tokens(logprobs)
    except WrongShape:
        return []
    starts = logprobs.get("text_offset") if isinstance(logprobs, dict) else None
    if not isinstance(starts, list) or len(starts) != len(told):
        starts = _starts([each.entry.text for each in told])
    if _one_late(answer, starts, length):
        raise NotAvailable(_LATE, hint=_HERE)
    return [Read(each.entry, start) for each, start in zip(told, starts, strict=True) if start < length]


def _one_late(answer: Any, starts: Sequence[int], length: int) -> bool:
    """Whether each token has the probability that its successor has.

    llama-cpp-python (0.3.36, llama.py, ``_create_completion``) counts on a begin-of-text token, which it
    leaves out of the list. Of a model that has none it lists every token of the prompt, each with the row of
    logits behind it, and no row is left for the token that was written.
    """
    usage = answer.get("usage") if isinstance(answer, dict) else None
    read = usage.get("prompt_tokens") if isinstance(usage, dict) else None
    return bool(starts) and starts[-1] < length and len(starts) == read


def _starts(texts: Sequence[str]) -> list[int]:
    starts, at = [], 0
    for text in texts:
        starts.append(at)
        at += len(text)
    return starts


def _prompt_logprobs(answer: Any) -> list[Read]:
    """vLLM's list: for each token a map of its id to what is known, None for the first one."""
    listed = _choice(answer).get("prompt_logprobs") or (
        answer.get("prompt_logprobs") if isinstance(answer, dict) else None
    )
    if not isinstance(listed, list):
        return []
    found = []
    for each in listed:
        number, known = next(iter(each.items())) if isinstance(each, dict) and each else ("", {})
        text = str(known.get("decoded_token") or "") if isinstance(known, dict) else ""
        entry = Entry(
            text=text,
            data=text.encode(),
            logprob=logprob(known.get("logprob")) if isinstance(known, dict) else None,
            id=int(number) if str(number).isdigit() else None,
        )
        found.append(Read(entry))
    return found


def _texts(found: Sequence[Read], question: Question) -> list[str]:
    """Each token's own text; those of a raw text add up to it."""
    if question.messages or any(each.start is None for each in found):
        return [each.entry.text for each in found]
    text = (question.prompt or "") + question.beginning
    starts = [each.start or 0 for each in found]
    return [text[start:end] for start, end in zip(starts, [*starts[1:], len(text)], strict=True)]


def tail(found: Sequence[Read], text: str, length: int) -> list[Entry]:
    """The tokens of a text that reach into its last ``length`` characters.

    Args:
        found: The text's tokens, which end where the text does.
        text: The text, as far as it is known: its last ``length`` characters at least.
        length: At least 1.
    """
    kept: list[Entry] = []
    if all(each.start is not None for each in found):
        ends = [*(each.start or 0 for each in found[1:]), len(text)]
        return [each.entry for each, end in zip(found, ends, strict=True) if end > len(text) - length]
    left = length
    for each in reversed(found):
        if left <= 0:
            break
        kept.append(each.entry)
        left -= len(each.entry.text)
    return kept[::-1]
