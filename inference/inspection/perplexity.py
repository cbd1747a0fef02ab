"""Perplexity of a long text by strided windows.

Each window overlaps the one before by ``window - stride`` tokens, which are context there and not counted
again, so all but the first tokens are foretold with at least that much context. A larger overlap is more
exact and slower (https://huggingface.co/docs/transformers/perplexity).
"""

from __future__ import annotations

import math
import time
from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING

from inference.errors import EmptyPrompt, InvalidLogits, InvalidRequest
from inference.events import PerplexityMeasured, PerplexityRequest, Progress
from inference.models.loaded_model import LoadedModel
from inference.running import RunHandle

if TYPE_CHECKING:
    import torch

_DEFAULT_WINDOW = 2048


def windows(length: int, window: int, stride: int) -> Iterator[tuple[int, int, int]]:
    """Cut ``length`` tokens into windows; yields (begin, end, first counted token) of each.

    Every token but the first is counted in exactly one window; the first has nothing before it.
    """
    counted = 1
    for begin in range(0, length, stride):
        end = min(begin + window, length)
        if end > counted:
            yield begin, end, counted
        counted = max(counted, end)
        if end == length:
            return


def measure(
    loaded: LoadedModel, request: PerplexityRequest, handle: RunHandle
) -> Generator[Progress | PerplexityMeasured, None, None]:
    """Measure the perplexity of a text -> Progress ..., PerplexityMeasured.

    The tokenizer adds its special tokens, so a beginning-of-text token, where the model has one, is context.

    Raises:
        EmptyPrompt: The text is less than two tokens.
        InvalidRequest: Window or stride are out of range.
        InvalidLogits: The model returned NaN.
        RunCancelled: The run was cancelled.
    """
    import torch

    began = time.perf_counter()
    window = request.window if request.window is not None else min(_DEFAULT_WINDOW, loaded.context_length)
    stride = request.stride if request.stride is not None else max(1, window // 2)
    if not 2 <= window <= loaded.context_length:
        raise InvalidRequest(f"The window must be between 2 and {loaded.context_length:,} tokens.")
    if not 1 <= stride < window:
        raise InvalidRequest("The stride must be at least 1 and smaller than the window.")
    ids: list[int] = loaded.tokenizer(request.text, verbose=False).input_ids
    if len(ids) < 2:
        raise EmptyPrompt("The text is too short to measure: it needs at least two tokens.")
    tokens = torch.tensor([ids], device=loaded.device)
    surprisal = 0.0
    for begin, end, counted in windows(len(ids), window, stride):
        handle.check()
        surprisal += _surprisal(loaded, tokens[:, begin:end], end - counted)
        yield Progress(run_id=request.run_id, stage="Measuring", done=end, total=len(ids), unit="tokens")
    if not math.isfinite(surprisal):
        raise InvalidLogits("The model gave no finite probability for a token of this text.")
    mean = surprisal / (len(ids) - 1)
    yield PerplexityMeasured(
        run_id=request.run_id,
        perplexity=math.exp(mean) if mean < 700 else math.inf,
        nats_per_token=mean,
        bits_per_byte=surprisal / math.log(2) / max(1, len(request.text.encode())),
        tokens=len(ids) - 1,
        window=window,
        stride=stride,
        seconds=time.perf_counter() - began,
    )


def _surprisal(loaded: LoadedModel, tokens: torch.Tensor, count: int) -> float:
    """The summed surprisal, in nats, of the last ``count`` tokens of a window (1, length)."""
    import torch

    with torch.inference_mode():
        logits = loaded.model(tokens, use_cache=False, logits_to_keep=count + 1).logits[0, :-1].float()
        return float(torch.nn.functional.cross_entropy(logits[-count:], tokens[0, -count:], reduction="sum"))
