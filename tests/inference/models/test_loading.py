"""Loading: the same numbers as transformers, progress, cancel, unload."""

from __future__ import annotations

import gc
import shutil
import threading
import weakref
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from inference import loading
from inference.errors import InferenceError, OutOfMemory, RunCancelled
from inference.events import LoadRequest, Progress
from inference.models import building
from inference.models.loaded_model import LoadedModel
from inference.running import RunHandle, new_run_id

from .conftest import FAMILIES, edit_json, random_model

Folders = Callable[..., Path]
Load = Callable[..., LoadedModel]
TEXT = torch.arange(24).view(1, -1) * 7 % 400


@pytest.mark.parametrize("family", FAMILIES)
def test_the_loaded_model_computes_what_transformers_computes(
    model_folders: Folders, load_model: Load, family: str
) -> None:
    from transformers import AutoModelForCausalLM

    folder = model_folders(family)
    loaded = load_model(folder)
    reference = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    with torch.no_grad():
        torch.testing.assert_close(loaded.model(TEXT).logits, reference(TEXT).logits)
    assert not loaded.model.training
    assert not any(parameter.requires_grad for parameter in loaded.model.parameters())


@pytest.mark.parametrize("quantization", ["int8", "nf4", "fp4"])
def test_quantized_models_compute_what_transformers_computes(
    model_folders: Folders, load_model: Load, quantization: str
) -> None:
    from transformers import AutoModelForCausalLM, BitsAndBytesConfig

    config = (
        BitsAndBytesConfig(load_in_8bit=True)
        if quantization == "int8"
        else BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type=quantization)
    )
    loaded = load_model(model_folders("llama"), quantization=quantization)
    reference = AutoModelForCausalLM.from_pretrained(
        model_folders("llama"), dtype=torch.float32, quantization_config=config, device_map={"": "cpu"}
    )
    with torch.no_grad():
        torch.testing.assert_close(loaded.model(TEXT).logits, reference(TEXT).logits)
    assert (loaded.quantization, loaded.dtype) == (quantization, torch.float32)


@pytest.mark.parametrize(
    ("quantization", "dtype"), [("none", torch.float32), ("bf16", torch.bfloat16), ("fp16", torch.float16)]
)
def test_each_precision_is_what_it_says(
    model_folders: Folders, load_model: Load, quantization: str, dtype: torch.dtype
) -> None:
    loaded = load_model(model_folders("llama"), quantization=quantization)
    assert {parameter.dtype for parameter in loaded.model.parameters()} == {dtype}
    assert loaded.dtype == dtype


def test_shards_are_read_as_one_model(model_folders: Folders, load_model: Load) -> None:
    folder = model_folders("llama", max_shard_size="100KB")
    assert len(list(folder.glob("*.safetensors"))) > 1
    with torch.no_grad():
        torch.testing.assert_close(
            load_model(folder).model(TEXT).logits, load_model(model_folders("llama")).model(TEXT).logits
        )


def test_tied_embeddings_stay_tied(model_folders: Folders, load_model: Load) -> None:
    model = load_model(model_folders("llama")).model
    assert model.get_output_embeddings().weight is model.get_input_embeddings().weight


def test_pickled_weights_are_read_by_the_restricted_unpickler(
    copy_of: Callable[..., Path], load_model: Load
) -> None:
    folder = copy_of()
    expected = load_model(folder).model(TEXT).logits
    from safetensors.torch import load_file

    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    loaded = load_model(folder)
    torch.testing.assert_close(loaded.model(TEXT).logits, expected)
    assert loaded.info.format == "pytorch"
    assert loaded.info.parameters == sum(p.numel() for p in loaded.model.parameters())


def test_a_model_stored_in_four_bits_stays_in_them(
    tmp_path: Path, model_folders: Folders, load_model: Load
) -> None:
    packed = load_model(model_folders("llama"), quantization="nf4")
    packed.model.save_pretrained(tmp_path)
    packed.tokenizer.save_pretrained(tmp_path)
    again = load_model(tmp_path, quantization="int8")
    assert again.quantization == "nf4"
    assert "stored in NF4" in again.note
    assert again.info.parameters == sum(p.numel() for p in random_model("llama").parameters())
    with torch.no_grad():
        torch.testing.assert_close(again.model(TEXT).logits, packed.model(TEXT).logits)


def test_the_ends_of_a_reply_come_from_all_files(copy_of: Callable[..., Path], load_model: Load) -> None:
    folder = copy_of()
    edit_json(folder / "generation_config.json", eos_token_id=[1, 7])
    edit_json(folder / "config.json", eos_token_id=9)
    assert load_model(folder).eos_ids == {1, 7, 9}


def test_the_context_is_the_models_own_or_what_was_asked_for(
    model_folders: Folders, load_model: Load
) -> None:
    assert load_model(model_folders("llama")).context_length == 128
    assert load_model(model_folders("llama"), context_length=32).context_length == 32


def test_progress_grows_up_to_all_bytes(model_folders: Folders, load_model: Load) -> None:
    told: list[Progress] = []
    folder = model_folders("llama", max_shard_size="100KB")
    load_model(folder, told)
    stages = [event.stage for event in told]
    assert stages.index(building.STARTING) == 0
    read = [event for event in told if event.stage == building.READING]
    assert [event.done for event in read] == sorted(event.done for event in read)
    weights = sum(file.stat().st_size for file in folder.glob("*.safetensors"))
    assert read[-1].total == weights
    assert 0.9 * weights < read[-1].done <= weights


# --- cancelling and letting go ------------------------------------------------------------------------


def _request(folder: Path) -> tuple[LoadRequest, RunHandle]:
    handle = RunHandle(new_run_id())
    return LoadRequest(run_id=handle.run_id, model=str(folder), device="cpu"), handle


def _wait_for_loading_threads() -> None:
    for thread in threading.enumerate():
        if thread.name == "loading":
            thread.join(timeout=30)
            assert not thread.is_alive()


def test_a_cancelled_load_stops_reading(model_folders: Folders, monkeypatch: pytest.MonkeyPatch) -> None:
    """The flag is set when the first tensor is read; hardly any other tensor is read after it."""
    from inference.models import weights

    request, handle = _request(model_folders("llama", max_shard_size="100KB"))
    reads: list[str] = []

    class Cancelling(weights.LazyTensor):
        def __getitem__(self, index: object) -> torch.Tensor:
            tensor = super().__getitem__(index)
            reads.append("read")
            handle.cancel()
            return tensor

    monkeypatch.setattr(weights, "LazyTensor", Cancelling)
    with pytest.raises(RunCancelled):
        for _ in loading.load(request, handle):
            pass
    _wait_for_loading_threads()
    assert 1 <= len(reads) <= 4  # as many as transformers has reading threads


def test_a_cancel_does_not_wait_for_a_library(
    model_folders: Folders, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run ends while the loading thread is still inside a call that can't be interrupted."""
    request, handle = _request(model_folders("llama"))
    inside, release = threading.Event(), threading.Event()

    def stuck(*_: object) -> None:
        inside.set()
        assert release.wait(30)

    monkeypatch.setattr(building, "import_engine", stuck)
    threading.Thread(target=lambda: (inside.wait(30), handle.cancel())).start()
    with pytest.raises(RunCancelled):
        for _ in loading.load(request, handle):
            pass
    assert not release.is_set()
    release.set()
    _wait_for_loading_threads()


def test_a_run_that_is_closed_early_ends_its_thread(model_folders: Folders) -> None:
    request, handle = _request(model_folders("llama"))
    steps = loading.load(request, handle)
    next(steps)
    steps.close()
    assert handle.cancelled
    _wait_for_loading_threads()


def test_a_failed_load_keeps_no_weights(
    copy_of: Callable[..., Path], load_model: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    held: list[weakref.ref[torch.nn.Module]] = []
    original = loading._read_generation_config

    def fail(model: torch.nn.Module, files: object) -> None:
        held.append(weakref.ref(model))
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 bytes")

    monkeypatch.setattr(loading, "_read_generation_config", fail)
    with pytest.raises(OutOfMemory) as caught:
        load_model(copy_of())
    assert original is not fail
    assert "DefaultCPUAllocator" in caught.value.details
    gc.collect()
    assert held[0]() is None


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError(
            "[enforce fail at alloc_cpu.cpp:124] err == 0. DefaultCPUAllocator: can't allocate memory"
        ),
        RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB"),
    ],
)
def test_every_way_of_running_out_of_memory_has_one_name(error: Exception) -> None:
    assert loading.translate(error).kind == "out-of-memory"


def test_unloading_frees_the_weights_whoever_holds_the_model(tmp_path: Path, load_model: Load) -> None:
    from .conftest import save_tokenizer

    random_model("llama", hidden_size=768, intermediate_size=3072, num_hidden_layers=6).save_pretrained(
        tmp_path
    )
    save_tokenizer(tmp_path)
    loaded = load_model(tmp_path)
    model, weights, before = loaded.model, loaded.weight_bytes(), loaded.memory()
    held = [weakref.ref(parameter) for parameter in model.parameters()]
    event = loading.unload(loaded, run_id=5)
    assert [reference for reference in held if reference() is not None] == []
    assert list(model.parameters()) == []
    assert weights > 200e6
    # The rest of the process grows and shrinks meanwhile.
    assert event.freed > 0.5 * weights, (before, event)
    assert event.memory.weights == 0


def test_a_quantized_model_can_be_unloaded(model_folders: Folders, load_model: Load) -> None:
    loaded = load_model(model_folders("llama"), quantization="nf4")
    loading.unload(loaded, run_id=5)
    assert loaded.weight_bytes() == 0


def test_the_files_may_go_after_loading(copy_of: Callable[..., Path], load_model: Load) -> None:
    folder = copy_of()
    loaded = load_model(folder, quantization="bf16")  # the stored precision, which could stay mapped
    expected = loaded.model(TEXT).logits
    shutil.rmtree(folder)
    torch.testing.assert_close(loaded.model(TEXT).logits, expected)


@pytest.mark.parametrize("options", [{"quantization": "int3"}, {"context_length": 0}])
def test_values_out_of_range_are_refused(
    model_folders: Folders, load_model: Load, options: dict[str, object]
) -> None:
    with pytest.raises(InferenceError) as caught:
        load_model(model_folders("llama"), **options)
    assert caught.value.kind == "invalid-request"
