"""The products' CUDA text, compiled for the processor and run thread by thread, against the twin.

It shows without a GPU that every byte is read where it lies and every sum is put where it belongs.
"""

from __future__ import annotations

import ctypes
import re
import shutil
import struct
import subprocess
from pathlib import Path
from typing import Any

import pytest
import torch

from inference.bench.kernel_weights import Storage, random_weight
from inference.kernels.gemv import SEGMENT, Product
from inference.kernels.weights import multiply_twin

_HERE = Path(__file__).parent
_CUDA = Path(__file__).parents[3] / "inference/kernels/cuda"
_CPU = torch.device("cpu")
_NUMBER = {"bf16": 0, "int8": 1, "nf4": 2, "nf4-nested": 3}

pytestmark = pytest.mark.skipif(shutil.which("g++") is None, reason="needs g++")

_LOOK_UP = "return *(const u32*)(shared + __byte_perm(lane4, word, 0x1100 | (4 + index) << 4));"
_WIDEN = (
    "result = 0; for (int s = 0; s < 32; s += 16) result |= "
    "(u32)Bf16::from_float(Bf16::to_float(positive >> s) + Bf16::to_float(negative >> s)) << s;"
)
_REPLACED = (
    (r"extern __shared__ .*? shared\[\];", ""),
    (r'asm volatile\("bar\.sync.*?"memory"\)', "group_barrier(group)"),
    (r"u32 pair;\s*asm volatile\(.*?return pair;", _LOOK_UP),
    (r'asm\("fma\.rn\.bf16x2.*?\(negative\)\);', _WIDEN),
    (r"template <> __device__ __forceinline__ u32 widen<Fp16>.*?\n}\n", ""),
    (r'extern "C" __global__ void shared_base.*', ""),
)


def _compiled(file: str, options: dict[str, int], folder: Path) -> Any:
    text = (_CUDA / "stored.cuh").read_text() + (_CUDA / file).read_text()
    for pattern, replacement in _REPLACED:
        text = re.sub(pattern, lambda _, r=replacement: r, text, flags=re.DOTALL)
    source, library = folder / "kernel.cpp", folder / "kernel.so"
    source.write_text('#include "emulator.h"\n' + text + '#include "emulated_main.h"\n')
    flags = [f"-D{name}={value}" for name, value in {"ACT": "Bf16", "MIN_BLOCKS": 1, **options}.items()]
    command = ["g++", "-std=c++20", "-w", "-pthread", "-shared", "-fPIC", f"-I{_HERE}"]
    subprocess.run([*command, *flags, "-o", str(library), str(source)], check=True)
    return ctypes.CDLL(str(library))


@pytest.mark.parametrize(
    ("file", "storage", "features", "rows", "options"),
    [
        ("gemv_row.cu", "nf4-nested", 2048, 1, {"X_ODD": 1}),
        ("gemv_row.cu", "nf4", 2048, 1, {"X_ODD": 0, "PAIRED": 1}),
        ("gemv.cu", "nf4-nested", 320, 5, {"DEPTH": 2, "X_SHARED": 0}),
        ("gemv.cu", "int8", 320, 8, {"DEPTH": 2}),
    ],
)
def test_the_kernels_text_computes_the_product(
    file: str, storage: Storage, features: int, rows: int, options: dict[str, int], tmp_path: Path
) -> None:
    torch.manual_seed(features + rows)
    paired = bool(options.get("PAIRED"))
    weights = tuple(random_weight(n, features, storage, _CPU) for n in ((20, 20) if paired else (20, 9)))
    product = Product(weights, dtype=torch.bfloat16, paired=paired)
    x = torch.randn(rows, features).bfloat16()
    residual = torch.randn(rows, product.rows).bfloat16()
    out = torch.full((rows, product.rows), float("nan"), dtype=torch.bfloat16)

    build = {"FORMAT": _NUMBER[storage], "ROWS": rows, "WARPS": 4, "GROUPS": 1, **options}
    library = _compiled(file, build, tmp_path)
    segments, code = product.arguments(out, residual)
    pointers = (x.data_ptr(), 0 if product.nested_code is None else product.nested_code.data_ptr())
    packed = (struct.pack("@" + SEGMENT * 3, *segments), struct.pack("16f", *code))
    sizes = (product.tiles, features, x.stride(0), product.rows)
    library.run(1, *map(ctypes.c_void_p, pointers), *packed, *sizes)

    expected = multiply_twin(x, weights, paired=paired, residual=residual)
    assert float((out.double() - expected).norm() / expected.norm()) < 5e-3
