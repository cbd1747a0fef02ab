"""The decode loop: prefill, then one step a token, with the controls read anew at every step.

What is recorded of a token (raw log-probability, entropy, candidates, every stage of sampling) comes from
the logits that it was drawn from; there is no second forward pass. Changed attention factors act from the
next token on: keys and values that were computed under the old ones stay as they are.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Generator, Iterator
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from inference.control_changes import changes_between
from inference.detokenizing import Detokenizer
from inference.engine import Engine, Reading
from inference.errors import RunCancelled
from inference.events import (
    Cancelled,
    Candidate,
    ControlsChanged,
    Event,
    Finished,
    GenerateRequest,
    PromptScored,
    SamplingControls,
    Seconds,
    Stage,
    Started,
    Token,
)
from inference.forward import KeyFactors
from inference.healing import Healing, tokens_to_take_back
from inference.kv_cache import cache_bytes
from inference.lookup import Ahead, Lookup, can_take_back
from inference.prefix import PositionScore
from inference.prompts import Prompt, build_prompt
from inference.running import RunHandle
from inference.sampling import Draw, History, Sampler, check_controls
from inference.scoring import scored_tokens
from inference.steered_forward import prompt_factors
from inference.steering import combined, uncertainty_factors
from inference.stopping import StopStrings


def generate(engine: Engine, request: GenerateRequest, handle: RunHandle) -> Iterator[Event]:
    """Continue a chat or a text -> Started, Progress ..., [PromptScored], Token ..., and the run's end.

    Raises:
        InferenceError: The request is refused, or the logits are invalid; the model stays usable.
    """
    yield from _Generation(engine, request, handle).events()


class _Generation:
    """One run of the decode loop."""

    def __init__(self, engine: Engine, request: GenerateRequest, handle: RunHandle) -> None:
        self.began = time.perf_counter()
        self.engine = engine
        self.request = request
        self.handle = handle
        self.controls = handle.controls
        check_controls(self.controls)
        prompt = build_prompt(engine.loaded, engine.table, request, room=1)
        self.prompt, self.healing = _healed(engine, request, prompt)
        self.spans = [
            (end, end) if engine.table.is_special(token) else (start, end)
            for token, (start, end) in zip(self.prompt.ids, self.prompt.offsets, strict=True)
        ]
        self.entropies: list[float] = []
        steering = self._key_factors()
        self.reading = Reading(engine, handle, engine.take_prefix(), steering)
        self.lookup = Lookup(self.prompt.ids) if request.prompt_lookup else None
        self.ahead = Ahead()
        self.reused = 0
        self.written: list[int] = []
        self.text: list[str] = []
        self.prefill_seconds = 0.0
        self.decode_began: float | None = None

    def events(self) -> Iterator[Event]:
        try:
            logits = yield from self._prefill()
            self.decode_began = time.perf_counter()
            reason = yield from self._decode(logits)
            yield self._finished(reason)
        except RunCancelled:
            yield Cancelled(
                run_id=self.request.run_id,
                text="".join(self.text),
                prompt_tokens=len(self.prompt.ids),
                new_tokens=len(self.written),
                seconds=self._seconds(),
            )
        finally:
            self.engine.put_back(self.reading.prefix)

    def _prefill(self) -> Generator[Event, None, Tensor]:
        scored = self.request.candidates if self.request.score_prompt else None
        ids = self.prompt.ids
        self.reused = self.reading.reuse(ids, scored=scored)
        self.seed = _seed(self.controls)
        yield Started(
            run_id=self.request.run_id,
            prompt_tokens=len(ids),
            reused_tokens=self.reused,
            context_length=self.engine.loaded.context_length,
            seed=self.seed,
            prompt_text=self.prompt.text,
            dropped_messages=self.prompt.dropped_messages,
        )
        logits = yield from self.reading.prefill(ids, scored=scored)
        self.prefill_seconds = time.perf_counter() - self.began
        if scored is not None:
            tokens = scored_tokens(self.prompt, self.reading.prefix, self.engine.table, scored, self.handle)
            yield PromptScored(run_id=self.request.run_id, tokens=tokens)
        return logits

    def _decode(self, logits: Tensor) -> Generator[Event, None, str]:
        """One token a step until something ends the reply; returns what did."""
        if self.controls.max_new_tokens == 0:
            return "length"
        device, vocabulary, reply = logits.device, len(logits), self.prompt.reply_start
        sampler = Sampler(self.controls, vocabulary, device)
        generator = torch.Generator(device).manual_seed(self.seed)
        history = History(self.prompt.ids, self.prompt.ids[reply:], vocabulary, device)
        detokenizer = Detokenizer(self.engine.table, self.prompt.ids)
        stops = StopStrings(self.controls.stop)
        while True:
            self.handle.check()
            if self.handle.controls is not self.controls and (changes := self._take_controls()):
                yield ControlsChanged(run_id=self.request.run_id, index=self._index(), changes=changes)
                if any(name in ("attention", "steering") for name, _, _ in changes):
                    logits = self._read_again(logits)
                sampler = Sampler(self.controls, vocabulary, device)
                stops.change(self.controls.stop)
                if any(name == "seed" for name, _, _ in changes):
                    generator.manual_seed(_seed(self.controls))
            allowed = self.healing.mask(vocabulary, device) if self.healing.active else None
            draw = sampler.draw(logits, history, generator, self.request.candidates, allowed)
            history.add(draw.token)
            self.written.append(draw.token)
            owed = self.healing.take(self.engine.table.data(draw.token)) if allowed is not None else 0
            shown, stopped = stops.push(detokenizer.push(draw.token, skip=owed))
            reason = self._end(draw.token, stopped)
            if reason and not stopped:  # nothing follows, so what was held back is text
                tail, stopped = stops.push(detokenizer.finish())
                shown += tail if stopped else tail + stops.finish()
                reason = "stop-string" if stopped else reason
            self.text.append(shown)
            yield self._token(draw, shown)
            if reason:
                return reason
            logits = self._read(draw)

    def _read(self, draw: Draw) -> Tensor:
        """Read the token that was just drawn; returns the logits behind it (vocabulary,)."""
        prefix = self.reading.prefix
        prefix.scores[len(prefix.ids) - len(self.ahead)] = PositionScore(
            draw.raw_logprob, draw.entropy, [(token, logprob) for token, logprob, _ in draw.candidates]
        )
        self.entropies.append(draw.entropy)
        by_entropy = self.controls.steering.entropy_threshold is not None
        if by_entropy:
            self.reading.steering = self._key_factors()
        if self.lookup is None or by_entropy or not can_take_back(prefix.cache):
            return self.reading.read((draw.token,))[-1]
        self.lookup.add(draw.token)
        if (logits := self.ahead.take(draw.token)) is not None:
            return logits
        if wrong := self.ahead.clear():
            self._take_back(wrong)
        room = self.engine.loaded.context_length - len(prefix.ids) - 1
        guesses = self.lookup.guess()[: max(0, room)]
        rows = self.reading.read((draw.token, *guesses), keep=1 + len(guesses))
        self.ahead.fill(guesses, rows[1:])
        return rows[0]

    def _read_again(self, logits: Tensor) -> Tensor:
        """The last token's logits under the attention factors that act now; the old ones where the cache
        can't give the token back, so that there the change acts one token later.
        """
        last = (*self.prompt.ids, *self.written)[-1]
        if not self._take_back(self.ahead.clear() + 1):
            self.reading.prefix.steering_changes()
            return logits
        self.reading.prefix.steering_changes()
        return self.reading.read((last,))[-1]

    def _take_back(self, count: int) -> bool:
        """Take the last tokens out of the cache, but not what is known of them."""
        length = len(self.reading.prefix.ids)
        return self.reading.prefix.cut(length - count, known=length)

    def _end(self, token: int, stopped: bool) -> str:
        """What ends the reply with this token; empty if it goes on."""
        if stopped:
            return "stop-string"
        if token in self.engine.loaded.eos_ids:
            return "stop"
        if len(self.written) >= self.controls.max_new_tokens:
            return "length"
        if len(self.prompt.ids) + len(self.written) >= self.engine.loaded.context_length:
            return "context-full"
        return ""

    def _take_controls(self) -> tuple[tuple[str, str, str], ...]:
        """Let the handle's controls act from now on; returns what changed."""
        old, self.controls = self.controls, self.handle.controls
        if (old.attention, old.steering) != (self.controls.attention, self.controls.steering):
            self.reading.steering = self._key_factors()
        return changes_between(old, self.controls)

    def _key_factors(self) -> KeyFactors:
        """The attention factors that the controls mean, one for each token so far."""
        options = self.controls.steering
        factors: tuple[float, ...] = ()
        if self.controls.attention:
            factors = prompt_factors(
                self.prompt.absolute(self.controls.attention),
                options,
                spans=self.spans,
                ids=self.prompt.ids,
                text=self.prompt.text,
                embeddings=self._embeddings() if options.similarity_threshold is not None else None,
            )
        if options.entropy_threshold is not None:
            known = [*[None] * len(self.prompt.ids), *self.entropies]
            unsure = uncertainty_factors(
                known, threshold=options.entropy_threshold, factor=options.entropy_factor
            )
            factors = combined(factors, unsure)
        return KeyFactors(factors, options)

    def _index(self) -> int:
        """The next token's place in the reply, of which the request may have given the beginning."""
        return len(self.prompt.ids) - self.prompt.reply_start + len(self.written)

    def _embeddings(self) -> Tensor:
        embeddings: Any = self.engine.loaded.model.get_input_embeddings()
        table: Tensor = embeddings.weight
        return table

    def _token(self, draw: Draw, text: str) -> Token:
        table = self.engine.table
        return Token(
            run_id=self.request.run_id,
            index=self._index() - 1,
            id=draw.token,
            text=text,
            data=table.data(draw.token),
            special=table.is_special(draw.token),
            raw_logprob=draw.raw_logprob,
            sampled_prob=draw.sampled_prob,
            entropy=draw.entropy,
            candidates=tuple(
                Candidate(id=token, text=table.text(token), raw_logprob=logprob, sampled_prob=prob)
                for token, logprob, prob in draw.candidates
            ),
            stages=tuple(
                Stage(name=name, probs=probs, removed=removed) for name, probs, removed in draw.stages
            ),
            at=time.perf_counter() - self.began,
        )

    def _seconds(self) -> Seconds:
        decode = 0.0 if self.decode_began is None else time.perf_counter() - self.decode_began
        return Seconds(prefill=self.prefill_seconds, decode=decode)

    def _finished(self, reason: str) -> Finished:
        seconds = self._seconds()
        memory = replace(self.engine.loaded.memory(), kv_cache=cache_bytes(self.reading.prefix.cache))
        return Finished(
            run_id=self.request.run_id,
            reason=reason,
            text="".join(self.text),
            prompt_tokens=len(self.prompt.ids),
            reused_tokens=self.reused,
            new_tokens=len(self.written),
            seconds=seconds,
            tokens_per_second=len(self.written) / seconds.decode if seconds.decode > 0 else 0.0,
            memory=memory,
        )


def _seed(controls: SamplingControls) -> int:
    """The controls' seed in the range that torch takes, or a fresh one."""
    return secrets.randbits(32) if controls.seed is None else controls.seed % (1 << 63)


def _healed(engine: Engine, request: GenerateRequest, prompt: Prompt) -> tuple[Prompt, Healing]:
    """The prompt without the tokens that are to be chosen again, and what the reply has to spell instead.

    ``text`` stays whole, and so do the offsets of the tokens that are left.
    """
    if not (request.token_healing and request.prompt is not None):
        return prompt, Healing(None, b"")
    count = tokens_to_take_back(prompt.ids, engine.table, engine.byte_index)
    kept = len(prompt.ids) - count
    wanted = b"".join(engine.table.data(token) for token in prompt.ids[kept:])
    shorter = replace(
        prompt,
        ids=prompt.ids[:kept],
        offsets=prompt.offsets[:kept],
        spans=prompt.spans[:kept],
        reply_start=min(prompt.reply_start, kept),
    )
    return shorter, Healing(engine.byte_index, wanted)
