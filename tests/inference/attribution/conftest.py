"""Tiny random models, and a slow Llama written out by hand that shows every attention score."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM, MistralConfig, MistralForCausalLM, set_seed

from inference.attribution.budget import Budget
from inference.attribution.passage import Passage, Region
from inference.attribution.reader import Reader
from inference.attribution.segments import cut
from inference.attribution.targets import Objective
from inference.attribution.task import Suppression, Task

VOCABULARY = 97
#: Edits the (head, query, key) scores of one layer, before the causal mask and the softmax.
ScoreEdit = Callable[[Tensor], Tensor]


def tiny_settings(**changes: Any) -> dict[str, Any]:
    """A grouped-query transformer of three layers; weights are large so that attention is far from
    uniform.
    """
    return {
        "vocab_size": VOCABULARY,
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 128,
        "initializer_range": 0.25,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "pad_token_id": 0,
    } | changes


@pytest.fixture(scope="session")
def tiny_llama() -> LlamaForCausalLM:
    """A Llama with grouped queries."""
    set_seed(1)
    return LlamaForCausalLM(LlamaConfig(**tiny_settings())).eval().requires_grad_(False)


@pytest.fixture(scope="session")
def tiny_mistral() -> MistralForCausalLM:
    """The same with a sliding window of six keys in every layer."""
    set_seed(2)
    return MistralForCausalLM(MistralConfig(**tiny_settings(sliding_window=6))).eval().requires_grad_(False)


@pytest.fixture(scope="session")
def prompt_ids() -> list[int]:
    """Fourteen tokens of a prompt."""
    return [1, 17, 40, 3, 81, 22, 22, 9, 55, 64, 13, 70, 31, 8]


@pytest.fixture(scope="session")
def target_ids() -> list[int]:
    """Three tokens of a reply."""
    return [45, 6, 90]


class SlowLlama:
    """Llama's and Mistral's forward pass for one sequence, head by head, straight from the weights in
    float64.
    """

    def __init__(self, model: LlamaForCausalLM | MistralForCausalLM) -> None:
        self.weights = {name: value.double() for name, value in model.state_dict().items()}
        self.config = model.config
        self.window = getattr(model.config, "sliding_window", None)

    def logits(self, ids: Sequence[int], edit: ScoreEdit | dict[int, ScoreEdit] | None = None) -> Tensor:
        """(token, vocabulary). ``edit`` changes the scores of all layers, or of those that it names."""
        config, weights = self.config, self.weights
        hidden = weights["model.embed_tokens.weight"][list(ids)]
        for layer in range(config.num_hidden_layers):
            chosen = edit.get(layer) if isinstance(edit, dict) else edit
            hidden = hidden + self._attention(layer, hidden, chosen)
            name = f"model.layers.{layer}."
            inner = self._norm(hidden, name + "post_attention_layernorm.weight")
            gate = torch.nn.functional.silu(inner @ weights[name + "mlp.gate_proj.weight"].T)
            inner = gate * (inner @ weights[name + "mlp.up_proj.weight"].T)
            hidden = hidden + inner @ weights[name + "mlp.down_proj.weight"].T
        return self._norm(hidden, "model.norm.weight") @ weights["lm_head.weight"].T

    def attention(self, layer: int, hidden: Tensor, edit: ScoreEdit | None = None) -> Tensor:
        """The (head, query, key) attention weights of one layer from its normed input."""
        config, weights, name = self.config, self.weights, f"model.layers.{layer}.self_attn."
        size = config.hidden_size // config.num_attention_heads
        group = config.num_attention_heads // config.num_key_value_heads
        tokens = len(hidden)
        rows = []
        for head in range(config.num_attention_heads):
            query = self._rotate(hidden @ weights[name + "q_proj.weight"][head * size : (head + 1) * size].T)
            shared = head // group
            key = self._rotate(
                hidden @ weights[name + "k_proj.weight"][shared * size : (shared + 1) * size].T
            )
            rows.append(query @ key.T / math.sqrt(size))
        scores = torch.stack(rows)
        scores = edit(scores) if edit else scores
        for row in range(tokens):
            for column in range(tokens):
                if column > row or (self.window is not None and row - column >= self.window):
                    scores[:, row, column] = -math.inf
        return scores.softmax(-1)

    def _attention(self, layer: int, hidden: Tensor, edit: ScoreEdit | None) -> Tensor:
        config, weights, name = self.config, self.weights, f"model.layers.{layer}."
        size = config.hidden_size // config.num_attention_heads
        group = config.num_attention_heads // config.num_key_value_heads
        inner = self._norm(hidden, name + "input_layernorm.weight")
        probabilities = self.attention(layer, inner, edit)
        heads = []
        for head in range(config.num_attention_heads):
            shared = head // group
            value = inner @ weights[name + "self_attn.v_proj.weight"][shared * size : (shared + 1) * size].T
            heads.append(probabilities[head] @ value)
        return torch.cat(heads, dim=-1) @ weights[name + "self_attn.o_proj.weight"].T

    def _norm(self, hidden: Tensor, name: str) -> Tensor:
        scale = torch.rsqrt(hidden.pow(2).mean(-1, keepdim=True) + self.config.rms_norm_eps)
        return hidden * scale * self.weights[name]

    def _rotate(self, vectors: Tensor) -> Tensor:
        size, half = vectors.shape[-1], vectors.shape[-1] // 2
        base = self.config.rope_parameters["rope_theta"]
        for_pair = base ** (-torch.arange(0, size, 2, dtype=torch.float64) / size)
        angles = torch.arange(len(vectors), dtype=torch.float64)[:, None] * for_pair[None, :]
        first, second = vectors[:, :half], vectors[:, half:]
        cosine, sine = angles.cos(), angles.sin()
        return torch.cat([first * cosine - second * sine, second * cosine + first * sine], dim=-1)


@pytest.fixture(scope="session")
def slow() -> type[SlowLlama]:
    """The class of the slow model; call it with a fast one."""
    return SlowLlama


@pytest.fixture(scope="session")
def passage(prompt_ids: list[int], target_ids: list[int]) -> Passage:
    """A begin token and thirteen others, two characters each, in two paragraphs of four sentences."""
    text = "<s>Aa bb cc. Dd ee ff gg.\n\nHh ii jj kk. Ll mm."
    spans = [(0, 3)]
    for word in text[3:].split():
        start = text.index(word)
        spans.append((start - (text[start - 1] == " "), start + len(word)))
    return Passage(
        text=text,
        ids=tuple(prompt_ids),
        spans=tuple(spans),
        special=(True, *[False] * 13),
        target_text="xyz",
        target_ids=tuple(target_ids),
        target_spans=((0, 1), (1, 2), (2, 3)),
        regions=(Region(start=3, end=len(text), label="prompt"),),
    )


@pytest.fixture
def task(passage: Passage) -> Callable[..., Task]:
    """Make a task that has been read: ``task(model, granularity, factor=..., mode=..., settings=...,
    rows=...)``.
    """

    def make(
        model: Any,
        granularity: Any = "token",
        *,
        of: Passage | None = None,
        contrast: int | None = None,
        per_token: bool = True,
        settings: dict[str, Any] | None = None,
        useful_tokens: int = 64,
        include_special: bool = False,
        embedder: Any = None,
        controlled: tuple[float, ...] = (),
        **suppression: Any,
    ) -> Task:
        reader = Reader(model)
        chosen = of or passage
        made = Task(
            reader=reader,
            passage=chosen,
            segments=cut(chosen, granularity, include_special=include_special)[0],
            objective=Objective(target_ids=chosen.target_ids, contrast_id=contrast),
            suppression=Suppression(**suppression),
            settings=settings or {},
            budget=Budget(model, reader.device, limit=2**28, useful_tokens=useful_tokens),
            per_token=per_token,
            embedder=embedder,
            controlled=controlled and (*controlled, *[1.0] * (chosen.length - len(controlled))),
        )
        made.read()
        return made

    return make


@pytest.fixture
def scored() -> Callable[[ModuleType, Task], Tensor]:
    """Run a method to its end: (rows, segments) scores; NaN where a segment got none."""

    def run(method: ModuleType, task: Task) -> Tensor:
        scores: Tensor | None = None
        for part in method.score(task):
            if scores is None:
                scores = torch.full((len(part.values), len(task.segments)), math.nan)
            scores[:, list(part.indices)] = part.values
        assert scores is not None
        return scores

    return run
