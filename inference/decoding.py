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

from torch import Tensor

from inference.captured.graphs import CaptureFailed
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
from inference.generation.control_changes import changes_between
from inference.generation.drafting import Draft, FirstOf
from inference.generation.healing import Healing, tokens_to_take_back
from inference.generation.lookup import Guesser, Lookup
from inference.generation.pacing import Paced, least_right
from inference.generation.prefix import PositionScore
from inference.generation.random_stream import RandomStream
from inference.generation.step_choice import steps_for
from inference.generation.steps import PlainSteps, RunState, Steps
from inference.generation.stopping import StopStrings
from inference.inspection.scoring import scored_tokens
from inference.passes.forward import KeyFactors
from inference.passes.kv_cache import cache_bytes
from inference.passes.steered_forward import prompt_factors
from inference.prompts import Prompt, build_prompt
from inference.running import RunHandle
from inference.sampling import Draw, check_controls
from inference.steering import combined, uncertainty_factors


def generate(
    engine: Engine, request: GenerateRequest, handle: RunHandle, *, draft: Engine | None = None
) -> Iterator[Event]:
    """Continue a chat or a text -> Started, Progress ..., [PromptScored], Token ..., and the run's end.

    Args:
        engine: The model that writes.
        request: What to continue.
        handle: Cancels, and has the controls.
        draft: A model of the same vocabulary that guesses ahead.

    Raises:
        InferenceError: The request is refused, or the logits are invalid; the model stays usable.
    """
    yield from _Generation(engine, request, handle, draft).events()


class _Generation:
    """One run of the decode loop."""

    def __init__(
        self, engine: Engine, request: GenerateRequest, handle: RunHandle, draft: Engine | None
    ) -> None:
        self.began = time.perf_counter()
        self.engine = engine
        self.request = request
        self.handle = handle
        self.controls = handle.controls
        check_controls(self.controls)
        self.path_reason = ""
        if self.controls.adapters is not None:
            engine.use_adapters(self.controls.adapters)
        if self.controls.experts_off is not None:
            engine.leave_out(self.controls.experts_off)
        engine.restore_kernels()
        prompt = build_prompt(engine.loaded, engine.table, request, room=1)
        self.prompt, self.healing = _healed(engine, request, prompt)
        self.spans = [
            (end, end) if engine.table.is_special(token) else (start, end)
            for token, (start, end) in zip(self.prompt.ids, self.prompt.offsets, strict=True)
        ]
        self.entropies: list[float] = []
        steering = self._key_factors()
        self.reading = Reading(engine, handle, engine.take_prefix(), steering)
        self.draft = None if draft is None else Draft(draft, self.prompt.ids, handle)
        self.steps: Steps | None = None
        self.accepted = 0
        self.reused = 0
        self.written: list[int] = []
        self.text: list[str] = []
        self.prefill_seconds = 0.0
        self.decode_began: float | None = None

    def events(self) -> Iterator[Event]:
        try:
            logits = yield from self._prefill()
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
            if self.steps is not None and self.engine.owns(self.reading.prefix):
                self.steps.close()
            self.engine.put_back(self.reading.prefix)
            if self.draft is not None:
                self.draft.close()

    def _prefill(self) -> Generator[Event, None, Tensor]:
        scored = self.request.candidates if self.request.score_prompt else None
        ids = self.prompt.ids
        self.reused = self.reading.reuse(ids, scored=scored)
        self.engine.reserve(len(ids), self.controls.max_new_tokens)
        self.seed = _seed(self.controls)
        yield Started(
            run_id=self.request.run_id,
            prompt_tokens=len(ids),
            reused_tokens=self.reused,
            context_length=self.engine.loaded.context_length,
            seed=self.seed,
            prompt_text=self.prompt.text,
            dropped_messages=self.prompt.dropped_messages,
            adapters=self.engine.adapters.active,
        )
        logits = yield from self.reading.prefill(ids, scored=scored)
        self.steps = self._steps(logits, RandomStream(self.seed))
        self.prefill_seconds = time.perf_counter() - self.began
        if scored is not None:
            tokens = scored_tokens(self.prompt, self.reading.prefix, self.engine.table, scored, self.handle)
            yield PromptScored(run_id=self.request.run_id, tokens=tokens)
        return logits

    def _steps(self, logits: Tensor, stream: RandomStream) -> Steps:
        """How the next tokens are decoded: captured where that is possible."""
        reply = self.prompt.reply_start
        self.state = RunState(
            reading=self.reading,
            controls=self.controls,
            read=self.prompt.ids,
            written=[*self.prompt.ids[reply:], *self.written],
            stream=stream,
            candidates=self.request.candidates,
            context_length=self.engine.loaded.context_length,
            lookup=self._guesser(),
        )
        steps, self.path_reason = steps_for(self.engine, self.state, logits)
        return steps

    def _guesser(self) -> Paced | None:
        """Who guesses ahead, where that pays: the text's own words first, where both are asked for."""
        lookup = Lookup(self.prompt.ids) if self.request.prompt_lookup else None
        found: list[Guesser] = [each for each in (lookup, self.draft) if each is not None]
        if not found:
            return None
        loaded = self.engine.loaded
        share = None if self.draft is None else self.draft.weight_bytes() / max(1, loaded.weight_bytes())
        return Paced(FirstOf(found), least_right(draft_share=share, on_gpu=loaded.device.type == "cuda"))

    def _decode(self, logits: Tensor) -> Generator[Event, None, str]:
        """One token a step until something ends the reply; returns what did."""
        self.decode_began = time.perf_counter()
        if self.controls.max_new_tokens == 0:
            return "length"
        assert self.steps is not None
        detokenizer = Detokenizer(self.engine.table, self.prompt.ids)
        stops = StopStrings(self.controls.stop)
        while True:
            self.handle.check()
            if self.handle.controls is not self.controls and (changes := self._take_controls()):
                yield ControlsChanged(run_id=self.request.run_id, index=self._index(), changes=changes)
                self._change({name for name, _, _ in changes})
                stops.change(self.controls.stop)
            allowed = self.healing.mask(len(logits), logits.device) if self.healing.active else None
            guess = self.steps.guess
            draw = self.steps.draw(allowed)
            self.accepted += guess == draw.token
            self.written.append(draw.token)
            self.state.written.append(draw.token)
            owed = self.healing.take(self.engine.table.data(draw.token)) if allowed is not None else 0
            shown, stopped = stops.push(detokenizer.push(draw.token, skip=owed))
            reason = self._end(draw.token, stopped)
            if reason and not stopped:  # nothing follows, so what was held back is text
                tail, stopped = stops.push(detokenizer.finish())
                shown += tail if stopped else tail + stops.finish()
                reason = "stop-string" if stopped else reason
            self.text.append(shown)
            yield self._token(draw, shown, guessed=guess == draw.token)
            if reason:
                return reason
            self._read(draw)

    def _read(self, draw: Draw) -> None:
        """Read the token that was just drawn, after noting what is known of it."""
        assert self.steps is not None
        self.reading.prefix.scores[self.steps.position] = PositionScore(
            draw.raw_logprob, draw.entropy, [(token, logprob) for token, logprob, _ in draw.candidates]
        )
        self.entropies.append(draw.entropy)
        if self.controls.steering.entropy_threshold is not None:
            self.reading.steering = self._key_factors()
        self.steps.read(draw.token)

    def _change(self, names: set[str]) -> None:
        """Let changed controls act on the next draw."""
        assert self.steps is not None
        self.state.controls = self.controls
        if "seed" in names:
            self.state.stream.restart(_seed(self.controls))
        if names & {"adapters", "experts_off"} and self.steps.path == "captured":
            what = "an adapter" if "adapters" in names else "an expert"
            self._go_on_plainly(f"{what} was switched while the reply was written")
        elif names & {"attention", "steering", "adapters", "experts_off"}:
            try:
                self.steps.steering_changed()
            except CaptureFailed as error:
                self._go_on_plainly(str(error))
        self.steps.controls_changed()

    def _go_on_plainly(self, reason: str) -> None:
        """The captured step can't do what is asked for now."""
        assert self.steps is not None
        self.path_reason = reason
        self.steps = PlainSteps(self.state, self.steps.close())
        self.steps.steering_changed()

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
        if self.controls.adapters is not None:
            self.engine.use_adapters(self.controls.adapters)
        if self.controls.experts_off is not None:
            self.engine.leave_out(self.controls.experts_off)
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

    def _token(self, draw: Draw, text: str, *, guessed: bool) -> Token:
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
            guessed=guessed,
        )

    def _seconds(self) -> Seconds:
        decode = 0.0 if self.decode_began is None else time.perf_counter() - self.decode_began
        return Seconds(prefill=self.prefill_seconds, decode=decode)

    def _finished(self, reason: str) -> Finished:
        seconds = self._seconds()
        memory = replace(self.engine.memory(), kv_cache=cache_bytes(self.reading.prefix.cache))
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
            path="plain" if self.steps is None else self.steps.path,
            path_reason=self.path_reason,
            guesses=0 if self.steps is None else self.state.guessed,
            accepted=self.accepted,
            single_tokens=self.engine.single_tokens,
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
