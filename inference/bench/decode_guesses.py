"""What guesses cost and gain on a GPU: prompt lookup and a draft model, where none is right and where
all are.

Random weights can't tell how often a guess is right; between the two ends, speed is that of
``tokens a pass / milliseconds a pass``, which a real model's share of accepted guesses decides.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from inference.bench.decode_gpu import decode_once
from inference.command_line import print_json
from inference.engine import Engine
from inference.events import SamplingControls
from inference.session import Session

if TYPE_CHECKING:
    from inference.models.loaded_model import LoadedModel

#: What every draw gives where guesses are to be right.
_SAID = 7


def measure_guesses(loaded: LoadedModel, draft: LoadedModel, arguments: argparse.Namespace) -> None:
    """Print one line.

    Args:
        loaded: The model that writes.
        draft: Of the same vocabulary.
        arguments: Of the command.

    Raises:
        RunFailed: A run failed.
    """
    session = Session()
    session.engine = Engine(loaded)
    free = SamplingControls(temperature=0.0, max_new_tokens=arguments.new_tokens)
    forced = replace(free, logit_bias=((_SAID, 1e5),))
    ids = [256 + place % 200 for place in range(arguments.prompt_tokens)]
    found: dict[str, dict[str, Any]] = {}

    def put(
        name: str, controls: SamplingControls, *, prompt_lookup: bool = False, draft: bool = False
    ) -> None:
        for count in (16, controls.max_new_tokens):  # the first run captures
            run = decode_once(
                session,
                ids,
                replace(controls, max_new_tokens=count),
                arguments,
                prompt_lookup=prompt_lookup,
                draft=draft,
            )
        found[name] = {
            "tokens_per_second": round(run["tokens_per_second"], 1),
            "guessed": run["guesses"],
            "accepted": run["accepted"],
            "path": run["path"],
        }

    put("no guesses", free)
    put("lookup, all right", forced, prompt_lookup=True)
    session.draft = Engine(draft)
    put("draft, hardly any right", free, draft=True)
    model: Any = draft.model
    hook = model.get_output_embeddings().register_forward_hook(_say)
    session.draft.close()
    session.draft = Engine(draft)
    put("draft, all right", forced, draft=True)
    hook.remove()
    session.drop_draft()
    session.close()
    line = {
        "event": "benchmark",
        "benchmark": "guesses",
        "model": loaded.info.name,
        "draft": draft.info.name,
        "quantization": loaded.quantization,
        "prompt_tokens": len(ids),
        "new_tokens": arguments.new_tokens,
        "runs": found,
    }
    print_json(line)


def _say(_: Any, __: Any, logits: Any) -> Any:
    logits[..., _SAID] += 1e4
    return logits
