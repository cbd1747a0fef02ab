"""Lets a network write texts, for another to learn from what teachers predict in them.

``python packaging/builtin_model/imagine.py --model FOLDER --data FOLDER --tokenizer FOLDER --out FOLDER``

On its training text a teacher predicts what it has learnt by heart; on text that nobody has seen it predicts
what it knows. Each text begins with words of the training prose and goes on as drawn from the network, at
temperature 1. `--out` gets files texts-N.npy, (texts, LENGTH) uint16.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from corpus import load_corpus, split_corpus
from export import load_model
from network import Layer, PackedLlama, rotary_tables, rotate
from packing import TokenizedProse
from shape import HEAD_DIM
from tokenizer import BOS, SPECIAL_TOKENS, load_tokenizer
from torch import Tensor

LENGTH = 640
PROMPTS = (16, 128)


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    """Command line."""
    plain = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=plain)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--tokenizer", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--texts", type=int, default=6144, help="texts at a time")
    parser.add_argument("--seconds", type=float, default=50.0, help="begin no further texts after that time")
    return parser.parse_args(arguments)


def draw_prompts(prose: TokenizedProse, count: int, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Beginnings (count, LENGTH) and how many tokens of each are given; half begin where a document does."""
    tokens = np.zeros((count, LENGTH), dtype=np.int64)
    for row in tokens:
        document = rng.integers(len(prose))
        begin, end = int(prose.offsets[document]), int(prose.offsets[document + 1])
        if rng.random() < 0.5:
            ids = np.concatenate(([SPECIAL_TOKENS.index(BOS)], prose.ids[begin : begin + LENGTH - 1]))
        else:
            at = int(rng.integers(begin, max(begin + 1, end - LENGTH)))
            ids = prose.ids[at : at + LENGTH]
        row[: len(ids)] = ids
    lengths = rng.integers(PROMPTS[0], PROMPTS[1] + 1, count)
    return torch.from_numpy(tokens), torch.from_numpy(lengths)


@torch.inference_mode()
def imagine(model: PackedLlama, prompts: Tensor, given: Tensor) -> Tensor:
    """Texts (n, LENGTH) that begin with the first `given` (n,) tokens of `prompts` (n, LENGTH)."""
    shape, device = model.shape, model.embed_tokens.weight.device
    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    model = model.to(dtype).eval()
    tokens, given = prompts.to(device), given.to(device)
    size = (2, shape.layers, len(tokens), shape.kv_heads, LENGTH, HEAD_DIM)
    cache = torch.zeros(size, device=device, dtype=dtype)
    for at in range(LENGTH - 1):
        cos, sin = rotary_tables(torch.full((1,), at, device=device), shape.rope_theta)
        x = model.embed_tokens(tokens[:, at])
        for layer, keys, values in zip(model.layers, cache[0], cache[1], strict=True):
            assert isinstance(layer, Layer)
            attention, seen = layer.self_attn, layer.input_layernorm(x)
            q = rotate(attention.q_proj(seen).view(-1, shape.heads, HEAD_DIM), cos, sin)
            k = rotate(attention.k_proj(seen).view(-1, shape.kv_heads, HEAD_DIM), cos, sin)
            keys[:, :, at] = k
            values[:, :, at] = attention.v_proj(seen).view(-1, shape.kv_heads, HEAD_DIM)
            # The queries that share a key stand where a sequence's queries would: all see the same keys.
            q = q.view(-1, shape.kv_heads, shape.heads // shape.kv_heads, HEAD_DIM)
            mixed = F.scaled_dot_product_attention(q, keys[:, :, : at + 1], values[:, :, : at + 1])
            x = x + attention.o_proj(mixed.reshape(len(tokens), -1))
            x = x + layer.mlp(layer.post_attention_layernorm(x))
        logits = model.logits(model.norm(x)).float()
        # The largest of logit + Gumbel noise is a draw from the softmax.
        drawn = (logits - torch.empty_like(logits).exponential_().log()).argmax(-1)
        tokens[:, at + 1] = torch.where(at + 1 < given, tokens[:, at + 1], drawn)
    return tokens


def main(arguments: list[str] | None = None) -> None:
    """Writes texts until the time is over."""
    options = parse_arguments(arguments)
    began = time.monotonic()
    torch.manual_seed(0)
    options.out.mkdir(parents=True, exist_ok=True)
    tokenizer = load_tokenizer(options.tokenizer)
    corpus, _ = split_corpus(load_corpus(options.data))
    prose = TokenizedProse.encode([document.text for document in corpus.prose], tokenizer)
    model = load_model(options.model).to("cuda" if torch.cuda.is_available() else "cpu")
    rng, took, number = np.random.default_rng(0), 0.0, 0
    print(f"ready after {time.monotonic() - began:.0f} s", flush=True)
    while time.monotonic() - began + took < options.seconds or number == 0:
        started = time.monotonic()
        texts = imagine(model, *draw_prompts(prose, options.texts, rng)).cpu().numpy().astype(np.uint16)
        fresh = options.out / "fresh"
        with fresh.open("wb") as file:
            np.save(file, texts)
        fresh.rename(options.out / f"texts-{number}.npy")
        took, number = time.monotonic() - started, number + 1
        print(f"{texts.size:,} tokens in {took:.1f} s", flush=True)
    for text in texts[:3]:
        print("---", tokenizer.decode([int(token) for token in text[:250]]))


if __name__ == "__main__":
    main()
