"""What the programs that serve models take and tell: one small table, with where each line is from.

A program that is not in it gets what the OpenAI API defines and nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal
from urllib.parse import urlsplit

from inference.events import Probabilities, ServerKind

_OPENAI: Final[Mapping[str, str]] = {
    "temperature": "temperature",
    "top_p": "top_p",
    "frequency_penalty": "frequency_penalty",
    "presence_penalty": "presence_penalty",
    "seed": "seed",
    "max_new_tokens": "max_tokens",
    "stop": "stop",
    "logit_bias": "logit_bias",
}
_LLAMA: Final = {**_OPENAI, "top_k": "top_k", "min_p": "min_p", "repetition_penalty": "repeat_penalty"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Traits:
    """One kind of server.

    Attributes:
        title: Its name.
        controls: For each of our controls that it takes, its own name of it.
        probabilities: Which distribution its log-probabilities are of.
        top: The most candidates that it tells of a token.
        going_on: Fields of a chat request that make it continue the last assistant's message; None: it
            can't be made to.
        scores: How it tells probabilities of given text: "prompt_logprobs" in both kinds of request, "echo"
            for raw texts, or not.
        counts: Whether it may be asked to tell token counts at the end of a stream.
        top_raw: The most candidates in answers to raw texts, where that differs; None: ``top``.
        all_tokens: What top-k is called when it keeps all.
        always: Fields of every request, so that controls mean what they mean here.
    """

    title: str
    controls: Mapping[str, str] = field(default_factory=lambda: _OPENAI)
    probabilities: Probabilities = "unknown"
    top: int = 20
    going_on: Mapping[str, Any] | None = None
    scores: Literal["prompt_logprobs", "echo", ""] = ""
    counts: bool = False
    top_raw: int | None = None
    all_tokens: int = 0
    always: Mapping[str, Any] = field(default_factory=dict)


KINDS: Final[dict[ServerKind, Traits]] = {
    # platform.openai.com/docs/api-reference/chat: top_logprobs up to 20, of the model's distribution.
    "openai": Traits(
        title="OpenAI",
        controls={**_OPENAI, "max_new_tokens": "max_completion_tokens"},
        probabilities="raw",
        counts=True,
        top_raw=5,
    ),
    # docs.vllm.ai: extra parameters of the OpenAI server; --logprobs-mode is raw_logprobs by default and
    # --max-logprobs 20; continue_final_message needs add_generation_prompt to be false.
    "vllm": Traits(
        title="vLLM",
        controls={
            **_OPENAI,
            "top_k": "top_k",
            "min_p": "min_p",
            "repetition_penalty": "repetition_penalty",
        },
        probabilities="raw",
        going_on={"add_generation_prompt": False, "continue_final_message": True},
        scores="prompt_logprobs",
        counts=True,
        all_tokens=-1,
    ),
    # llama.cpp, tools/server/README.md: post_sampling_probs is false by default (raw); a last message of the
    # assistant is continued unless the server was started with --no-prefill-assistant; penalties look at the
    # last 64 tokens unless told otherwise.
    "llama.cpp": Traits(
        title="llama.cpp",
        controls=_LLAMA,
        probabilities="raw",
        top=100,
        going_on={},
        counts=True,
        always={"repeat_last_n": -1},
    ),
    # llama-cpp-python, llama_cpp/llama.py: log-softmax of the logits; needs --logits_all true; echo in
    # /v1/completions; its chat formats always begin a new turn.
    "llama-cpp-python": Traits(
        title="llama-cpp-python", controls=_LLAMA, probabilities="raw", top=100, scores="echo"
    ),
    # lmstudio.ai/docs: supported payload parameters; log-probabilities are not among them.
    "lm-studio": Traits(
        title="LM Studio", controls={**_OPENAI, "top_k": "top_k", "repetition_penalty": "repeat_penalty"}
    ),
    # docs.ollama.com/api/openai-compatibility: no logit_bias; nothing is said of the log-probabilities.
    "ollama": Traits(
        title="Ollama",
        controls={name: their for name, their in _OPENAI.items() if name != "logit_bias"},
        counts=True,
    ),
    # transformers, cli/serving: the fields that it does not ignore; frequency_penalty is turned into a
    # repetition penalty there, so it is not offered.
    "transformers": Traits(
        title="transformers serve",
        controls={
            name: their
            for name, their in _OPENAI.items()
            if name in ("temperature", "top_p", "seed", "max_new_tokens", "stop")
        },
        probabilities="none",
    ),
    "unknown": Traits(title="OpenAI-compatible server"),
}

#: ``owned_by`` of a listed model, which most servers fill with their own name.
_OWNERS: Final[dict[str, ServerKind]] = {
    "vllm": "vllm",
    "llamacpp": "llama.cpp",
    "llama.cpp": "llama.cpp",
    "me": "llama-cpp-python",
    "organization_owner": "lm-studio",
    "library": "ollama",
}


def detect(url: str, server_header: str, entries: list[dict[str, Any]]) -> ServerKind:
    """What a server seems to be, from its answer to ``GET /models``.

    Args:
        url: Its base URL.
        server_header: The answer's Server header.
        entries: The models that it listed.
    """
    if urlsplit(url).hostname == "api.openai.com":
        return "openai"
    if "llama.cpp" in server_header.lower():
        return "llama.cpp"
    owners = {str(entry.get("owned_by", "")).lower() for entry in entries}
    return next((_OWNERS[owner] for owner in sorted(owners) if owner in _OWNERS), "unknown")


def context_length(entry: Mapping[str, Any]) -> int:
    """The context of a listed model; 0 where it is not told."""
    meta = entry.get("meta")
    told = (
        entry.get("max_model_len"),  # vLLM
        meta.get("n_ctx") if isinstance(meta, dict) else None,  # llama.cpp
        entry.get("loaded_context_length"),  # LM Studio
        entry.get("context_length"),
        meta.get("n_ctx_train") if isinstance(meta, dict) else None,
    )
    return next((value for value in told if isinstance(value, int) and value > 0), 0)
