"""Measures loading, prefill, decoding and memory of a model folder on this machine's CPU.

``python packaging/builtin_model/speed.py --model FOLDER [--threads 2]``
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import psutil
import torch
from reader import Reader


def main(arguments: list[str] | None = None) -> None:
    """Loads twice (the second time warm), then decodes greedily with batch size 1; prints one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--tokens", type=int, default=100)
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    before = psutil.Process().memory_info().rss
    Reader(options.model)
    reader = Reader(options.model)
    prompt = torch.randint(7, 8000, (1, 500))
    began = time.perf_counter()
    with torch.inference_mode():
        reader.model(prompt)
    prefill = time.perf_counter() - began
    began = time.perf_counter()
    reader.model.generate(prompt[:, :20], min_new_tokens=options.tokens, max_new_tokens=options.tokens)
    decode = time.perf_counter() - began
    result = {
        "load_seconds_warm": round(reader.load_seconds, 3),
        "prefill_tokens_per_second": round(prompt.shape[1] / prefill),
        "decode_tokens_per_second": round(options.tokens / decode, 1),
        "memory_mb": round((psutil.Process().memory_info().rss - before) / 1e6),
        "threads": options.threads,
        "load_average": psutil.getloadavg()[0],
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
