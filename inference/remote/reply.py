"""One reply of a model on a server: asked for, read as it comes, cancelled, broken off."""

from __future__ import annotations

import json
import re
import secrets
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from inference.errors import (
    ContextFull,
    KeyRefused,
    NotAvailable,
    RunCancelled,
    ServerError,
    ServerGarbled,
    ServerTimeout,
)
from inference.events import (
    Cancelled,
    Event,
    Finished,
    GenerateRequest,
    Progress,
    SamplingControls,
    Seconds,
    Started,
    Token,
)
from inference.remote import address, asking, failures, sse
from inference.remote.connection import Wire
from inference.remote.describing import memory
from inference.remote.pieces import Piece, WrongShape, piece
from inference.remote.tokens import Writer
from inference.running import RunHandle

if TYPE_CHECKING:
    from inference.remote.engine import RemoteEngine

#: How vLLM tells the most candidates that it was started to give (--max-logprobs).
_MOST_CANDIDATES = re.compile(r"max(?:imum)? allowed:? (\d+)", re.IGNORECASE)
#: Seconds that the counts may take to follow the end of a reply.
_AFTER_END = 2.0


class Reply:
    """One reply on its way."""

    def __init__(self, engine: RemoteEngine, request: GenerateRequest, handle: RunHandle) -> None:
        self.began = time.perf_counter()
        self.engine, self.request, self.handle = engine, request, handle
        self.controls: SamplingControls = handle.controls
        _refuse(request, self.controls)
        self.question = asking.question(request, engine.beginning_of(request))
        self.seed = self.controls.seed if self.controls.seed is not None else secrets.randbits(31)
        self.dropped = 0
        self.prompt_tokens = 0
        self.new_tokens: int | None = None
        self.ended = ""
        self.stopped_by = ""
        self.first_at: float | None = None
        self.last_at = 0.0
        self.writer = Writer(
            request.run_id, engine.numbers, engine.traits.probabilities, request.candidates, self.began
        )

    def events(self) -> Iterator[Event]:
        run_id = self.request.run_id
        if self.controls.max_new_tokens == 0:
            yield self._started()
            self.ended = "length"
            yield self._finished()
            return
        yield Progress(run_id=run_id, stage=f"Waiting for {self._host}", done=0, total=0, unit="tokens")
        try:
            with self.engine.wire(self.handle) as wire:
                answer = self._ask(wire)
                yield self._started()
                yield from self._read(wire, answer)
            yield self._finished()
        except RunCancelled:
            yield Cancelled(
                run_id=run_id,
                text="".join(self.writer.text),
                prompt_tokens=self.prompt_tokens,
                new_tokens=self.writer.count,
                seconds=self._seconds(),
            )

    @property
    def _host(self) -> str:
        return address.of(self.engine.server).host

    # --- asking

    def _ask(self, wire: Wire) -> Iterator[bytes]:
        """Send the question until it is taken: without log-probabilities where the server has none, without
        the oldest turns where the context is too short and the user wants that.
        """
        while True:
            try:
                return wire.stream(self.question.path, self._body())
            except ContextFull:
                shorter = self.question.without_oldest()
                if self.request.overflow != "drop-oldest" or shorter is None:
                    raise
                self.dropped += len(self.question.messages) - len(shorter.messages)
                self.question = shorter
            except (ServerError, NotAvailable, KeyRefused) as error:
                if self.engine.silent or not re.search("log_?prob|logits_all", error.message, re.IGNORECASE):
                    raise
                self._ask_for_less(error.message)

    def _ask_for_less(self, refusal: str) -> None:
        """As many candidates as the server says that it gives at most, or else none."""
        traits, said = self.engine.traits, _MOST_CANDIDATES.search(refusal)
        most = int(said.group(1)) if said else 0
        if 0 < most < traits.top:
            self.engine.traits = replace(traits, top=most, top_raw=min(most, traits.top_raw or most))
        else:
            self.engine.silent = refusal

    def _body(self) -> dict[str, Any]:
        traits = self.engine.traits
        body = asking.asked(self.question, self.engine.model, traits)
        body |= asking.sampling(self.controls, traits, self.seed)
        body |= asking.streaming(traits)
        if not self.engine.silent and self.request.candidates:
            body |= asking.probabilities(self.question, traits, self.request.candidates)
        return body

    # --- reading

    def _read(self, wire: Wire, answer: Iterator[bytes]) -> Iterator[Token]:
        kind = wire.headers.get("content-type", "").lower()
        if "html" in kind:
            raise failures.garbled(wire.host, "answered with a web page", next(answer, b""), wire.key)
        if "json" in kind and "x-ndjson" not in kind:  # a server that does not stream
            yield from self._take(wire, b"".join(answer))
        else:
            yield from self._stream(wire, answer)
        if not self.ended:
            raise ServerGarbled(
                f"{wire.host} broke its answer off in the middle of the reply.",
                hint="What came so far is kept. Continue, or look at the server's own log.",
            )
        if self.writer.thinking:
            yield self.writer.end_thinking()

    def _stream(self, wire: Wire, answer: Iterator[bytes]) -> Iterator[Token]:
        try:
            for data in sse.events(answer):
                if data.strip() == b"[DONE]":
                    self.ended = self.ended or "stop"
                    return
                yield from self._take(wire, data)
                if self.ended:
                    wire.most_pause = _AFTER_END
        except sse.NotEvents as error:
            raise failures.garbled(wire.host, "did not answer with a stream", error.shown, wire.key) from None
        except (ServerTimeout, failures.Broken):
            if not self.ended:
                raise

    def _take(self, wire: Wire, data: bytes) -> Iterator[Token]:
        """The tokens of one event."""
        part = self._piece(wire, data)
        self.prompt_tokens = part.prompt_tokens if part.prompt_tokens is not None else self.prompt_tokens
        self.new_tokens = part.new_tokens if part.new_tokens is not None else self.new_tokens
        self.ended, self.stopped_by = part.ended or self.ended, part.stopped_by or self.stopped_by
        for token in self.writer.take(part):
            if self.first_at is None:
                self.first_at = token.at
            self.last_at = token.at
            yield token
        if part.ended == "content_filter":
            raise ServerError(
                f"{wire.host} held the rest of the reply back (content filter).",
                hint="What came so far is kept.",
            )

    def _piece(self, wire: Wire, data: bytes) -> Piece:
        try:
            answer = json.loads(data)
        except ValueError:
            raise failures.garbled(wire.host, "sent broken JSON", data, wire.key) from None
        if isinstance(answer, dict) and answer.get("error"):
            raise failures.of_event(answer["error"], host=wire.host, model=self.engine.model, key=wire.key)
        try:
            return piece(answer)
        except WrongShape as error:
            what = f"answered with something else than a completion ({error})"
            raise failures.garbled(wire.host, what, data, wire.key) from None

    # --- telling

    def _started(self) -> Started:
        raw = (
            (self.question.prompt or "") + self.question.beginning if self.question.prompt is not None else ""
        )
        return Started(
            run_id=self.request.run_id,
            prompt_tokens=self.prompt_tokens,
            reused_tokens=0,
            context_length=self.engine.context_length,
            seed=self.seed,
            prompt_text="" if raw is None else raw + self.question.beginning,
            dropped_messages=self.dropped,
        )

    def _finished(self) -> Finished:
        reason = {"stop": "stop-string" if self.stopped_by else "stop"}.get(self.ended, self.ended)
        new = self.writer.count if self.new_tokens is None else self.new_tokens
        decode = self._seconds().decode
        return Finished(
            run_id=self.request.run_id,
            reason=reason,
            text="".join(self.writer.text),
            prompt_tokens=self.prompt_tokens,
            new_tokens=new,
            seconds=self._seconds(),
            tokens_per_second=(new - 1) / decode if new > 1 and decode > 0 else 0.0,
            memory=memory(),
            path="server",
        )

    def _seconds(self) -> Seconds:
        """Until the first token, and from there to the last."""
        first = self.first_at if self.first_at is not None else time.perf_counter() - self.began
        return Seconds(prefill=first, decode=max(0.0, self.last_at - first))


def _refuse(request: GenerateRequest, controls: SamplingControls) -> None:
    """What can't be done from afar is refused, not left out in silence."""
    if controls.attention or controls.steering.entropy_threshold is not None:
        raise NotAvailable(
            "Attention can't be steered in a model on a server.",
            hint="Let the words in the Steer tab go, or choose a model on this machine.",
        )
    if request.token_healing:
        raise NotAvailable(
            "Token healing needs the model's vocabulary, which a server keeps to itself.",
            hint="Switch it off in raw mode, or choose a model on this machine.",
        )
