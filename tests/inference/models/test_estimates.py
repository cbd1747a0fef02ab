"""What is told before loading against what transformers then holds in memory."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch

from inference import machine
from inference.catalog import find_model, inspect
from inference.errors import NotAvailable, OutOfMemory
from inference.events import InspectRequest, LoadRequest, ModelUnloaded, Quantization, UnloadRequest
from inference.models import architecture, estimates
from inference.models.describing import describe
from inference.models.loaded_model import LoadedModel, returning_heap
from inference.models.quantization import check_quantization
from inference.passes.forward import Forward
from inference.running import RunHandle
from inference.session import Session

from .conftest import FAMILIES, random_model, save_tokenizer

Folders = Callable[..., Path]
Load = Callable[..., LoadedModel]


@pytest.fixture(scope="module")
def larger_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twenty million parameters, nearly all of them in linear layers."""
    folder = tmp_path_factory.mktemp("larger")
    random_model("llama", hidden_size=512, intermediate_size=1536, num_hidden_layers=6).save_pretrained(
        folder
    )
    save_tokenizer(folder)
    return folder


@pytest.mark.parametrize("family", FAMILIES)
def test_parameters_are_counted_exactly(model_folders: Folders, family: str) -> None:
    model = random_model(family)
    assert describe(find_model(str(model_folders(family)))).parameters == sum(
        p.numel() for p in model.parameters()
    )


@pytest.mark.parametrize("quantization", ["none", "bf16", "int8", "nf4", "fp4"])
@pytest.mark.parametrize("family", FAMILIES)
def test_weights_take_what_was_estimated(
    model_folders: Folders, load_model: Load, family: str, quantization: str
) -> None:
    folder = model_folders(family)
    request = InspectRequest(
        run_id=1, model=str(folder), quantization=check_quantization(quantization), device="cpu"
    )
    estimated = inspect(request).estimate.weights
    measured = load_model(folder, quantization=quantization).weight_bytes()
    assert estimated == pytest.approx(measured, rel=0.01)


@pytest.mark.parametrize("tokens", [16, 100])
@pytest.mark.parametrize("family", [family for family in FAMILIES if family != "mamba"])
def test_kv_cache_takes_what_was_estimated(model_folders: Folders, family: str, tokens: int) -> None:
    model = random_model(family, "float32").eval()
    with torch.no_grad():
        cache = model(torch.arange(tokens).view(1, -1) % 100, use_cache=True).past_key_values
    held: list[Any] = [getattr(layer, name, None) for layer in cache.layers for name in ("keys", "values")]
    measured = sum(tensor.numel() for tensor in held if isinstance(tensor, torch.Tensor))
    shape = architecture.kv_shape(find_model(str(model_folders(family))).text_config)
    # transformers keeps one position less than the window, as the next token brings its own.
    window_slack = shape.values_sliding if tokens > shape.window else 0
    assert measured <= shape.values(tokens) <= measured + window_slack


def test_a_model_without_attention_has_no_cache_that_grows(model_folders: Folders) -> None:
    info = describe(find_model(str(model_folders("mamba"))))
    assert (info.kv_bytes_per_token, info.has_attention) == (0, False)


def test_weights_and_full_cache_of_a_larger_model_take_what_was_estimated(
    larger_model: Path, load_model: Load
) -> None:
    plan = inspect(InspectRequest(run_id=1, model=str(larger_model), device="cpu", context_length=128))
    loaded = load_model(larger_model, context_length=128)
    with torch.no_grad():
        cache = loaded.model(torch.zeros(1, 128, dtype=torch.long), use_cache=True).past_key_values
    held = sum(layer.keys.nbytes + layer.values.nbytes for layer in cache.layers)
    assert plan.estimate.weights + plan.estimate.kv_cache == pytest.approx(
        loaded.weight_bytes() + held, rel=0.02
    )


# --- choosing -----------------------------------------------------------------------------------------


def test_the_context_is_bounded_by_what_fits(model_folders: Folders) -> None:
    files = find_model(str(model_folders("llama")))
    free = machine.free_memory("cpu")
    roomy = estimates.plan(files, quantization="none", device="cpu", context_length=None, free=free)
    assert roomy.context_length == 128
    assert roomy.estimate.fits


def test_a_long_context_is_cut_to_the_free_memory(tmp_path: Path) -> None:
    random_model("llama", max_position_embeddings=1_000_000).save_pretrained(tmp_path)
    files = find_model(str(tmp_path))
    plan = estimates.plan(files, quantization="none", device="cpu", context_length=None, free=80_000_000)
    assert 512 < plan.context_length < 1_000_000
    assert plan.estimate.fits
    less, more = (
        estimates.context_bytes(files, plan.dtype, "cpu", plan.context_length + step) for step in (0, 256)
    )
    assert plan.estimate.total + more - less > 0.8 * 80_000_000


def test_an_explicit_context_is_kept_but_never_above_the_models_own(model_folders: Folders) -> None:
    files = find_model(str(model_folders("llama")))
    for asked, given in ((32, 32), (128, 128), (4096, 128)):
        plan = estimates.plan(files, quantization="none", device="cpu", context_length=asked, free=1 << 40)
        assert plan.context_length == given


def test_a_model_too_large_for_float32_stays_in_bf16_and_says_so(model_folders: Folders) -> None:
    files = find_model(str(model_folders("llama")))
    base = estimates.plan(
        files, quantization="none", device="cpu", context_length=None, free=1 << 40
    ).estimate
    plan = estimates.plan(
        files, quantization="none", device="cpu", context_length=None, free=base.total - base.weights // 4
    )
    assert plan.dtype == "bfloat16"
    assert "bfloat16" in plan.note


def test_what_cannot_fit_is_refused_with_what_would(larger_model: Path) -> None:
    files = find_model(str(larger_model))
    totals = {
        kind: estimates.plan(
            files, quantization=kind, device="cpu", context_length=128, free=1 << 40
        ).estimate.total
        for kind in ("bf16", "nf4")
    }
    free = (totals["nf4"] + totals["bf16"]) // 2
    plan = estimates.plan(files, quantization="bf16", device="cpu", context_length=128, free=free)
    with pytest.raises(OutOfMemory, match="needs about") as caught:
        estimates.refuse_if_too_big(files, plan)
    assert "would fit" in caught.value.hint


def test_a_context_that_cannot_fit_is_refused_with_one_that_would(tmp_path: Path) -> None:
    random_model("llama", max_position_embeddings=1_000_000).save_pretrained(tmp_path)
    files = find_model(str(tmp_path))
    plan = estimates.plan(files, quantization="none", device="cpu", context_length=1_000_000, free=80_000_000)
    with pytest.raises(OutOfMemory) as caught:
        estimates.refuse_if_too_big(files, plan)
    fitting = int(caught.value.hint.split()[3].replace(",", ""))
    again = estimates.plan(files, quantization="none", device="cpu", context_length=fitting, free=80_000_000)
    estimates.refuse_if_too_big(files, again)


def test_asking_for_a_gpu_where_there_is_none_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "gpu_free_bytes", list)
    assert machine.choose_device("auto") == "cpu"
    with pytest.raises(NotAvailable):
        machine.choose_device("cuda")


# --- reading configs ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rope", "model_type", "expected"),
    [
        (None, "llama", 4096),
        ({"rope_type": "llama3", "factor": 8.0, "original_max_position_embeddings": 512}, "llama", 4096),
        ({"type": "linear", "factor": 4.0}, "llama", 16384),
        ({"rope_type": "dynamic", "factor": 2.0}, "llama", 8192),
        ({"type": "yarn", "factor": 4.0, "original_max_position_embeddings": 4096}, "qwen2", 16384),
        ({"type": "yarn", "factor": 8.0, "original_max_position_embeddings": 512}, "deepseek_v3", 4096),
        ({"type": "longrope", "long_factor": [1.0], "short_factor": [1.0]}, "phi3", 4096),
        ({"rope_type": "linear", "factor": 8.0}, "gemma3_text", 4096),
        ({"type": "mrope", "mrope_section": [1, 2]}, "qwen2_vl", 4096),
    ],
)
def test_context_length_knows_how_each_rope_scaling_is_stored(
    rope: Any, model_type: str, expected: int
) -> None:
    config = {"model_type": model_type, "max_position_embeddings": 4096, "rope_scaling": rope}
    assert architecture.context_length(config) == expected


def test_qwen2_windows_only_the_layers_above_its_threshold() -> None:
    config = {
        "model_type": "qwen2",
        "num_hidden_layers": 4,
        "num_attention_heads": 2,
        "hidden_size": 8,
        "sliding_window": 16,
        "max_window_layers": 3,
    }
    assert architecture.kv_shape(config | {"use_sliding_window": False}).values_sliding == 0
    used = architecture.kv_shape(config | {"use_sliding_window": True})
    assert (used.values_full, used.values_sliding) == (3 * 16, 16)


def test_inspecting_imports_no_torch(model_folders: Folders) -> None:
    import subprocess

    code = (
        "import sys; from inference.catalog import inspect; from inference.events import InspectRequest\n"
        f"inspect(InspectRequest(run_id=1, model={str(model_folders('llama'))!r}, quantization='nf4'))\n"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[3])


@pytest.mark.parametrize(("stored", "copied"), [("bfloat16", True), ("float32", False)])
def test_the_copy_for_steps_on_a_cpu_takes_what_was_estimated(
    tmp_path: Path, load_model: Load, stored: str, copied: bool
) -> None:
    random_model("llama", stored).save_pretrained(tmp_path)
    save_tokenizer(tmp_path)
    estimated = estimates.copy_bytes(find_model(str(tmp_path)), "none", "float32", "cpu")
    step = Forward(load_model(tmp_path)).step
    assert step is not None
    assert (estimated > 0) == copied
    if copied and step.copied:  # FBGEMM is for x86 only
        assert step.copied == estimated


@pytest.mark.skipif(sys.platform != "linux", reason="glibc only")
def test_what_is_freed_while_a_model_is_read_goes_back_to_the_system() -> None:
    process = psutil.Process()
    with returning_heap():
        before = process.memory_info().rss
        kept, freed = [], []
        for _ in range(40):
            freed.append(torch.ones(1 << 19))
            kept.append(torch.ones(1 << 10))
        del freed
        assert process.memory_info().rss - before < 20 << 20
    del kept


@pytest.mark.parametrize(
    ("quantization", "tokens", "megabytes"),
    [("none", 600, 165), ("nf4", 600, 75), ("int8", 600, 68), ("nf4", 4096, 206), ("int8", 4096, 218)],
)
def test_the_whole_of_a_small_model_takes_what_was_estimated(
    quantization: Quantization, tokens: int, megabytes: int
) -> None:
    """Measured: growth of the resident memory by a second load of the built-in model and a full context, with
    torch 2.13, transformers 5.23 and bitsandbytes 0.50 on Linux.
    """
    plan = estimates.plan(
        find_model("builtin"), quantization=quantization, device="cpu", context_length=tokens, free=10**10
    )
    assert plan.estimate.total / 1e6 == pytest.approx(megabytes, rel=0.1)


def test_unloading_tells_the_cache_and_the_copies_as_freed(model_folders: Folders) -> None:
    session = Session()
    load = LoadRequest(run_id=1, model=str(model_folders("llama")), device="cpu")
    assert list(session.run(load, RunHandle(1)))[-1].event == "finished"
    engine = session.require_engine()
    held = 100 << 20
    engine.ballast = torch.ones(held // 4)  # type: ignore[attr-defined]  # as a cache or a copy would be
    del engine
    freed = next(
        e for e in session.run(UnloadRequest(run_id=2), RunHandle(2)) if isinstance(e, ModelUnloaded)
    )
    assert freed.freed >= held
