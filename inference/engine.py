"""A loaded model at work: its forward pass, its token table, the prefix it keeps between runs, and the
prefill.
"""

from __future__ import annotations

import os
from collections.abc import Generator, Hashable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Literal

import psutil
import torch
from torch import Tensor

from inference.adapters.attached import Adapters
from inference.captured import kernels
from inference.captured.capturable import why_not
from inference.captured.runner import StepRunner
from inference.detokenizing import TokenTable
from inference.events import AdapterScale, MemoryUse, Progress, SingleTokens
from inference.generation.healing import ByteIndex
from inference.generation.prefix import Prefix, score_positions
from inference.passes.forward import Forward, KeyFactors
from inference.passes.kv_cache import cache_bytes
from inference.running import RunHandle

if TYPE_CHECKING:
    from inference.models.loaded_model import LoadedModel

#: How tokens are decoded: one call of the model each, a captured step, or the same step without a capture.
StepKind = Literal["plain", "captured", "uncaptured"]
#: New tokens that buffers are reserved for before a run.
_RESERVED = 1024
#: Logits (positions x vocabulary) that are held at once while scoring: 128 MB in float32.
_SCORED_AT_ONCE = 1 << 25


class Engine:
    """A loaded model with what is kept between runs."""

    def __init__(self, loaded: LoadedModel, *, steps: StepKind | None = None) -> None:
        if loaded.device.type == "cpu":
            torch.set_num_threads(threads_beside_a_window())
        self.loaded = loaded
        self.forward = Forward(loaded)
        self.table = TokenTable(loaded.tokenizer)
        self.prefix: Prefix | None = None
        kind = steps or ("captured" if loaded.device.type == "cuda" else "plain")
        self.runner, self.runner_reason = _runner(loaded, kind)
        #: Kernels are for GPUs; they also serve runs that are not captured.
        self.kernels = kernels.install(loaded) if kernels_wanted(loaded, kind) else kernels.Kernels()
        self.adapters = Adapters(loaded.model, loaded.dtype)
        #: (layer, expert) pairs that are left out, and the hooks that do it.
        self.experts_off: tuple[tuple[int, int], ...] = ()
        self._experts = ExitStack()
        self._holder: Prefix | None = None

    @property
    def single_tokens(self) -> SingleTokens:
        """How tokens are read one after the other, as far as that is known."""
        if self.runner is not None and not self.runner.failure:
            return SingleTokens(by="captured")
        if self.loaded.device.type != "cpu":
            reason = self.runner_reason if self.runner is None else self.runner.failure
            return SingleTokens(by="transformers", reason=reason)
        return self.forward.single_tokens

    @cached_property
    def byte_index(self) -> ByteIndex:
        """The vocabulary sorted by bytes; takes a moment to build, so only on demand."""
        return ByteIndex(self.table, len(self.loaded.tokenizer))

    def take_prefix(self) -> Prefix:
        """The last run's prefix, or an empty one. It is the taker's until it is put back, so a run that
        breaks off inside a forward pass leaves no half-written cache behind.
        """
        prefix, self.prefix = self.prefix, None
        return prefix if prefix is not None else self.empty_prefix()

    def empty_prefix(self) -> Prefix:
        """Nothing read yet. Where steps have fixed buffers there is one cache, and who held it loses it."""
        if self.runner is None:
            return Prefix(self.forward.new_cache())
        self.runner.buffers.settle(0)
        self._holder = Prefix(self.runner.cache)
        return self._holder

    def put_back(self, prefix: Prefix) -> None:
        """Keep a prefix for the next run, if its cache is whole and still its own."""
        self.prefix = prefix if self.owns(prefix) else None

    def owns(self, prefix: Prefix) -> bool:
        """Whether a prefix's cache holds what it says."""
        return prefix.consistent and (self.runner is None or prefix is self._holder)

    def use_adapters(self, scales: Sequence[AdapterScale]) -> bool:
        """Let these adapters act from now on, and no others; returns whether that changes anything.

        What computes layers without calling them stands back while one is on, and steps have to be captured
        anew. Between two runs, fused layers come back once all are off.

        Raises:
            InvalidRequest: One is not attached, or two can't be on together.
        """
        return self.adapters.use(scales) and self._model_changed()

    def leave_out(self, off: Sequence[tuple[int, int]]) -> bool:
        """Leave these (layer, expert) pairs out from now on, and no others; returns whether that changes
        anything.

        Raises:
            NotAvailable: The model has no experts, or they can't be switched off.
            InvalidRequest: There is no such expert.
        """
        from inference.inspection import experts

        if tuple(off) == self.experts_off:
            return False
        hooks = experts.switched_off(self.loaded.model, off)
        self._experts.close()
        self._experts, self.experts_off = hooks, tuple(off)
        return self._model_changed()

    @property
    def mark(self) -> Hashable:
        """Equal where the model computes the same: with the same adapters, without the same experts; None
        where it is as it was loaded.
        """
        adapters = self.adapters.mark
        return None if adapters is None and not self.experts_off else (adapters, self.experts_off)

    def _model_changed(self) -> bool:
        """Layers have to be called, or need not be any more, for what listens to them."""
        self.forward.hooked = self.mark is not None
        if self.mark is not None:
            self.kernels.set_layers_aside()
        if self.runner is not None:
            self.runner.model_changed()
        return True

    def restore_kernels(self) -> None:
        """Fuse layers again that were set aside, if nothing keeps them from it; takes a moment."""
        if self.mark is None and self.kernels.aside and self.runner is not None:
            self.free_cache()
            self.kernels.restore_layers(self.loaded)

    def reserve(self, prompt_tokens: int, new_tokens: int) -> None:
        """Have room for a run, so that its buffers need not move soon after it has begun."""
        if self.runner is not None:
            self.runner.reserve(prompt_tokens + min(new_tokens, _RESERVED))

    def free_cache(self) -> None:
        """Let go of everything that was kept from run to run."""
        self.prefix = self._holder = None
        if self.runner is not None:
            self.runner.forget()

    def close(self) -> None:
        """Let go of all that hangs on the model, so that its memory is free when it goes."""
        self.free_cache()
        self.adapters.clear()
        self._experts.close()
        self.kernels.uninstall()

    def memory(self) -> MemoryUse:
        """What the process holds, the kept cache included."""
        held = cache_bytes(self.prefix.cache) if self.prefix is not None else 0
        step = 0 if self.runner is None else self.runner.bytes()
        step += 0 if self.forward.step is None else self.forward.step.copied
        measured = self.loaded.memory()
        weights = measured.weights + self.adapters.bytes()
        return replace(measured, weights=weights, kv_cache=held, step=step)


def kernels_wanted(loaded: LoadedModel, kind: StepKind) -> bool:
    """Whether a model gets kernels of our own: on a GPU, unless plain steps were asked for."""
    return loaded.device.type == "cuda" and kind != "plain"


def _runner(loaded: LoadedModel, kind: StepKind) -> tuple[StepRunner | None, str]:
    """The step of fixed shapes, or why there is none."""
    if kind == "plain":
        return None, ""
    reason = why_not(loaded)
    return (None, reason) if reason else (StepRunner(loaded, captures=kind == "captured"), "")


def threads_beside_a_window() -> int:
    """Cores to compute on: all but one. Two threads that wait for each other at every layer, while the window
    takes one of two cores, are many times slower than one that is left alone.
    """
    physical = psutil.cpu_count(logical=False) or 1
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(physical, usable) - 1)


@dataclass(slots=True)
class Reading:
    """A sequence on its way into the cache: what the prefill and the decode loop share."""

    engine: Engine
    handle: RunHandle
    prefix: Prefix
    steering: KeyFactors = field(default_factory=KeyFactors)

    def marks(self, start: int, stop: int) -> list[object]:
        """For each of these positions a value that is equal where it is read in the same way: under the same
        attention factors, by the same model.
        """
        marks, model = self.steering.marks(start, stop), self.engine.mark
        return marks if model is None else [(model, mark) for mark in marks]

    def reuse(self, ids: Sequence[int], *, scored: int | None) -> int:
        """Cut the prefix to what it has in common with a prompt, of which at least one token is read for
        its logits.

        Args:
            ids: The prompt.
            scored: How many candidates are wanted of each of its tokens; None: no scores.

        Returns:
            How many tokens need not be read.
        """
        common = self.prefix.common_length(ids, self.marks(0, len(ids)))
        length = min(common, len(ids) - 1)
        if scored is not None:
            # The first new token is scored by the logits of the token before it, which is read again.
            length = min(length, self.prefix.scored_length(scored) - 1)
        if length <= 0 or self.engine.forward.recurrent or not self.prefix.cut(length, known=common):
            self.prefix = self.engine.empty_prefix()
            return 0
        return length

    def prefill(self, ids: Sequence[int], *, scored: int | None) -> Generator[Progress, None, Tensor]:
        """Read what is not in the cache, in chunks between which a cancel is seen.

        Returns:
            The logits (vocabulary,) behind the last token.

        Raises:
            RunCancelled: What was read so far stays in the prefix.
        """
        size = self.engine.forward.chunk
        logits: Tensor | None = None
        while (start := len(self.prefix.ids)) < len(ids):
            self.handle.check()
            yield Progress(
                run_id=self.handle.run_id,
                stage="Reading the prompt",
                done=start,
                total=len(ids),
                unit="tokens",
            )
            if scored is not None and logits is not None:
                size = min(size, max(16, _SCORED_AT_ONCE // logits.shape[-1]))
            elif scored is not None:
                size = min(size, 64)
            chunk = ids[start : start + size]
            logits = self.read(chunk, keep=1 if scored is None else len(chunk))
            if scored is not None:
                scores = score_positions(logits, ids[start + 1 : start + 1 + len(chunk)], scored)
                self.prefix.scores.update(enumerate(scores, start=start + 1))
        self.handle.check()
        assert logits is not None
        return logits[-1]

    def read(self, ids: Sequence[int], *, keep: int = 1) -> Tensor:
        """One forward pass behind the prefix, which grows by ``ids``; returns (keep, vocabulary) logits."""
        start = len(self.prefix.ids)
        with self.prefix.growing(ids, self.marks(start, start + len(ids))):
            return self.engine.forward(list(ids), self.prefix.cache, keep=keep, steering=self.steering)
