"""llama.cpp's own decode loop, run by another Python that has llama-cpp-python; a peer of ``bench decode``.

Started as ``PYTHON llama_cpp_peer.py FILE.gguf THREADS POSITIONS``; each line of JSON on its input (``ids``,
``new_tokens``, ``temperature``, ``top_p``) is answered by one with the ``wall`` and ``cpu`` seconds of all
tokens but the first. The loop is llama.cpp's C interface (decode, sampler chain), nothing of Python's but the
calls. This file imports nothing of the engine.
"""

from __future__ import annotations

import ctypes
import importlib
import json
import sys
import time
from typing import Any

# Only the Python that runs this as a program has it.
llama_cpp: Any = importlib.import_module("llama_cpp") if __name__ == "__main__" else None


class Peer:
    """A GGUF file under llama.cpp."""

    def __init__(self, path: str, threads: int, positions: int) -> None:
        self._llama: Any = llama_cpp.Llama(
            path, n_ctx=positions, n_threads=threads, n_threads_batch=threads, verbose=False
        )
        self._context = self._llama._ctx.ctx

    def decode(self, ids: list[int], new_tokens: int, temperature: float, top_p: float) -> dict[str, Any]:
        """One run from an empty cache."""
        self._llama.reset()
        self._llama._ctx.kv_cache_clear()
        sampler = self._sampler(temperature, top_p)
        token = (ctypes.c_int32 * 1)()
        self._read((ctypes.c_int32 * len(ids))(*ids), len(ids))
        wall = cpu = 0.0
        said = []
        for count in range(new_tokens):
            token[0] = llama_cpp.llama_sampler_sample(sampler, self._context, -1)
            said.append(token[0])
            if count == 0:
                wall, cpu = time.perf_counter(), time.process_time()
            if count + 1 < new_tokens:
                self._read(token, 1)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        llama_cpp.llama_sampler_free(sampler)
        return {"wall": wall, "cpu": cpu, "ids": said}

    def _read(self, tokens: Any, count: int) -> None:
        if llama_cpp.llama_decode(self._context, llama_cpp.llama_batch_get_one(tokens, count)):
            raise RuntimeError("llama_decode failed")

    @staticmethod
    def _sampler(temperature: float, top_p: float) -> Any:
        chain = llama_cpp.llama_sampler_chain_init(llama_cpp.llama_sampler_chain_default_params())
        if temperature <= 0:
            llama_cpp.llama_sampler_chain_add(chain, llama_cpp.llama_sampler_init_greedy())
            return chain
        for each in (
            llama_cpp.llama_sampler_init_temp(temperature),
            llama_cpp.llama_sampler_init_top_p(top_p, 1),
            llama_cpp.llama_sampler_init_dist(1),
        ):
            llama_cpp.llama_sampler_chain_add(chain, each)
        return chain


def main() -> None:
    """Answer until the input ends."""
    peer = Peer(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
    for line in sys.stdin:
        print(json.dumps(peer.decode(**json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
