"""Lets a model folder answer many chats at once, greedily, through transformers."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

Messages = list[dict[str, str]]


class Reader:
    """A loaded model; float32 on a CPU, bf16 on a GPU."""

    def __init__(self, folder: Path) -> None:
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        began = time.perf_counter()
        dtype = torch.bfloat16 if self.device.type == "cuda" else torch.float32
        model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype)
        self.model = model.to(self.device).eval()
        self.tokenizer: Any = AutoTokenizer.from_pretrained(folder)
        self.load_seconds = time.perf_counter() - began
        self.context_length = int(self.model.config.max_position_embeddings)

    def reply(self, chats: Sequence[Messages], *, max_new_tokens: int, batch: int = 400) -> list[str]:
        """Greedy replies, in the order of `chats`. Prompts that do not fit lose tokens at their start."""
        prompts = [
            self.tokenizer.apply_chat_template(list(chat), add_generation_prompt=True, tokenize=False)
            for chat in chats
        ]
        return self.complete(prompts, max_new_tokens=max_new_tokens, batch=batch)

    @torch.inference_mode()
    def complete(
        self, prompts: Sequence[str], *, max_new_tokens: int, batch: int = 400, temperature: float = 0.0
    ) -> list[str]:
        """Continuations of raw texts; sampled where `temperature` is above 0."""
        room = self.context_length - max_new_tokens
        ids = [self.tokenizer(prompt, add_special_tokens=False)["input_ids"][-room:] for prompt in prompts]
        order = sorted(range(len(ids)), key=lambda index: len(ids[index]))
        batch = batch if self.device.type == "cuda" else 4
        replies = [""] * len(ids)
        for begin in range(0, len(order), batch):
            chosen = order[begin : begin + batch]
            inputs = self.tokenizer.pad({"input_ids": [ids[i] for i in chosen]}, return_tensors="pt")
            sampling: dict[str, Any] = {"do_sample": temperature > 0}
            if temperature > 0:
                sampling["temperature"] = temperature
            inputs = inputs.to(self.device)
            output = self.model.generate(**inputs, max_new_tokens=max_new_tokens, **sampling)
            fresh = output[:, inputs["input_ids"].shape[1] :]
            texts = self.tokenizer.batch_decode(fresh, skip_special_tokens=True)
            for index, text in zip(chosen, texts, strict=True):
                replies[index] = text
        return replies
