"""Lets the newest weights of a training run tell stories, so that the run can unlearn their loops.

``python packaging/builtin_model/loop_sampler.py --data FOLDER --run FOLDER --start FOLDER --out FILE``

Runs beside train.py, until it is stopped: it starts with the weights in `--start` and goes on with
`--run`/model.safetensors whenever that has changed. `--out` is replaced as a whole each time.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import time
from pathlib import Path

import torch
from corpus import load_corpus, split_corpus
from dialogues import DialogueMaker
from reader import Reader
from safetensors.torch import load_file
from stories import LOOPS_FROM, repeated_share
from tokenizer import END, EOS, PAD, SPECIAL_TOKENS

_ENDS = [SPECIAL_TOKENS.index(token) for token in (EOS, END, PAD)]
_DRAWN = {"do_sample": True, "temperature": 0.7}


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    """Command line."""
    plain = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=plain)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--start", type=Path, required=True, help="model folder with a tokenizer")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--count", type=int, default=768, help="samples a round")
    parser.add_argument("--tokens", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=0, help="0: without end")
    parser.add_argument("--pause", type=float, default=20.0, metavar="SECONDS")
    return parser.parse_args(arguments)


def draw_prompt(maker: DialogueMaker, rng: random.Random) -> tuple[str, str]:
    """(request, "") of a story or a chat, or ("", beginning of a text)."""
    kind = rng.random()
    if kind < 0.55:
        told = maker.story_maker.draw(rng)
        return (told[0][1] if told else "Tell me a story."), ""
    if kind < 0.7:
        return rng.choice(maker.chats).turns[0][1][:300], ""
    text = rng.choice(maker.prose).text
    at = rng.randrange(max(1, len(text) - 500))
    return "", " ".join(text[at : at + rng.randint(60, 500)].split(" ")[1:-1])


@torch.inference_mode()
def sample(reader: Reader, maker: DialogueMaker, rng: random.Random, count: int, tokens: int) -> list[str]:
    """Lines of JSON with the tokens of "prompt" and "reply". Three in four replies are greedy."""
    tokenizer, lines = reader.tokenizer, []
    greedy = count * 3 // 4
    for number, settings in ((greedy, {"do_sample": False}), (count - greedy, _DRAWN)):
        prompts = []
        for request, begin in (draw_prompt(maker, rng) for _ in range(number)):
            chat = [{"role": "user", "content": request}]
            text = tokenizer.bos_token + begin
            if request:
                text = tokenizer.apply_chat_template(chat, add_generation_prompt=True, tokenize=False)
            prompts.append(tokenizer(text, add_special_tokens=False)["input_ids"])
        inputs = tokenizer.pad({"input_ids": prompts}, return_tensors="pt").to(reader.device)
        output = reader.model.generate(**inputs, max_new_tokens=tokens, **settings)
        for prompt, reply in zip(prompts, output[:, inputs["input_ids"].shape[1] :].tolist(), strict=True):
            ends = [at for at, token in enumerate(reply) if token in _ENDS]
            lines.append(json.dumps({"prompt": prompt, "reply": reply[: ends[0]] if ends else reply}))
    return lines


def main(arguments: list[str] | None = None) -> None:
    """Samples, writes, waits for new weights."""
    options = parse_arguments(arguments)
    rng, seen, rounds = random.Random(31), 0.0, 0
    reader = Reader(options.start)
    maker = DialogueMaker(split_corpus(load_corpus(options.data))[0])
    weights = options.run / "model.safetensors"
    while True:
        began = time.monotonic()
        torch.manual_seed(rounds)
        lines = sample(reader, maker, rng, options.count, options.tokens)
        fresh = options.out.with_suffix(".new")
        fresh.write_text("\n".join(lines) + "\n", encoding="utf-8")
        os.replace(fresh, options.out)
        rounds += 1
        texts = [reader.tokenizer.decode(json.loads(line)["reply"]) for line in lines]
        looping = sum(repeated_share(text) > LOOPS_FROM for text in texts)
        took = time.monotonic() - began
        print(f"round {rounds}: {len(lines)} samples in {took:.1f} s, {looping} loop", flush=True)
        if rounds == options.rounds:
            return
        time.sleep(options.pause)
        while not weights.exists() or weights.stat().st_mtime <= seen:
            time.sleep(1.0)
        seen = weights.stat().st_mtime
        time.sleep(1.0)  # until the file is written
        reader.model.load_state_dict(load_file(weights), strict=False)


if __name__ == "__main__":
    main()
