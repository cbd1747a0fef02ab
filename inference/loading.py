"""Bringing a model into memory, and letting go of it.

Weights are handed to transformers as lazy tensors, so that its own conversions and quantization apply while
each read is counted and asks whether the run was cancelled.
"""

from __future__ import annotations

import re
import sys
import traceback
from collections.abc import Generator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import psutil

from inference.background import Reporter, in_background
from inference.errors import (
    InferenceError,
    InternalError,
    InvalidRequest,
    ModelDamaged,
    ModelUnsupported,
    NotAvailable,
    OutOfMemory,
    RunCancelled,
)
from inference.events import LoadRequest, MemoryUse, ModelLoaded, ModelUnloaded, Progress, Quantization
from inference.models import architecture, building, estimates, model_files, rope, safety
from inference.models.describing import describe
from inference.models.loaded_model import LoadedModel, release_memory, returning_heap
from inference.models.quantization import BITSANDBYTES, check_quantization
from inference.models.tokenizers import check_tokenizer, end_ids, load_tokenizer, round_trip_problem
from inference.running import RunHandle

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


def load(request: LoadRequest, handle: RunHandle) -> Generator[Progress, None, LoadedModel]:
    """Load a model; yields progress, returns the model.

    Let go of the model that was loaded before (:func:`unload`) first: its memory counts as taken.

    Raises:
        InferenceError: One of the kinds for models: not found, damaged, unsafe, unsupported, tokenizer,
            memory.
        RunCancelled: The run was cancelled; what was read is freed.
    """
    return (yield from in_background(lambda reporter: _load(request, reporter), handle, name="loading"))


def loaded_event(request: LoadRequest, loaded: LoadedModel, seconds: float) -> ModelLoaded:
    """The event that announces a loaded model."""
    return ModelLoaded(
        run_id=request.run_id,
        info=loaded.info,
        quantization=loaded.quantization,
        device=str(loaded.device),
        context_length=loaded.context_length,
        seconds=seconds,
        memory=loaded.memory(),
        note=loaded.note,
    )


def unload(loaded: LoadedModel, run_id: int, *, before: MemoryUse | None = None) -> ModelUnloaded:
    """Free a model's weights, whoever still refers to the model, and tell how much memory came back.

    Args:
        loaded: The model.
        run_id: Of the run that asks for it.
        before: What was held before its cache and its copies went; None: what is held now.
    """
    before = before or loaded.memory()
    for module in loaded.model.modules():
        module._parameters.clear()
        module._buffers.clear()
    release_memory()
    process = psutil.Process().memory_info().rss
    gpu = 0
    if before.gpu_allocated:
        torch = sys.modules["torch"]
        gpu = sum(torch.cuda.memory_allocated(index) for index in range(torch.cuda.device_count()))
    freed = max(0, before.process - process) + max(0, before.gpu_allocated - gpu)
    after = MemoryUse(process=process, gpu_allocated=gpu, gpu_total=before.gpu_total)
    return ModelUnloaded(run_id=run_id, freed=freed, memory=after)


def _load(request: LoadRequest, reporter: Reporter) -> LoadedModel:
    """All of the loading, on the background thread; only InferenceError and RunCancelled leave it.

    Errors are raised anew outside of their ``except`` block: a traceback that is kept would keep the
    half-loaded weights in its frames.
    """
    failure: InferenceError | RunCancelled
    try:
        return _load_steps(request, reporter)
    except RunCancelled:
        failure = RunCancelled()
    except InferenceError as error:
        failure = type(error)(error.message, hint=error.hint, details=error.details)
    except Exception as error:
        failure = translate(error)
    release_memory()
    reporter.check()  # a cancel inside a library may have come out as another error
    raise failure


def _load_steps(request: LoadRequest, reporter: Reporter) -> LoadedModel:
    quantization = check_quantization(request.quantization)
    if request.context_length is not None and request.context_length < 1:
        raise InvalidRequest("The context must hold at least one token.")
    files = model_files.find_model(request.model)
    if reference := safety.needed_code(files.config):
        raise safety.refuse_custom_code(reference, part="model")
    building.import_engine(reporter, quantization)
    with model_files.apart(model_files.with_pickled_tensors(files)) as files:
        return _load_files(files, quantization, request, reporter)


def _load_files(
    files: model_files.ModelFiles, quantization: Quantization, request: LoadRequest, reporter: Reporter
) -> LoadedModel:
    config = building.read_config(files)
    building.causal_class(config)
    plan = estimates.plan(
        files,
        quantization=quantization,
        device=request.device,
        context_length=request.context_length,
        scaling=request.rope,
    )
    if request.rope is not None:
        if files.gguf is not None:
            raise NotAvailable("The context of a GGUF file can't be stretched.")
        rope.apply(config, request.rope, architecture.context_length(files.text_config))
    estimates.refuse_if_too_big(files, plan)
    tokenizer = load_tokenizer(files)
    check_tokenizer(tokenizer, config)
    if files.gguf is not None and (problem := round_trip_problem(tokenizer)):
        plan = replace(plan, note=f"{plan.note} {problem}".strip())
    with returning_heap():
        model = building.build(files, config, plan, reporter)
    reporter.check()
    if plan.quantization in BITSANDBYTES or files.gguf is not None:
        release_memory()  # the unpacked tensors' garbage is larger than the model
    model.train(False)
    model.requires_grad_(False)
    _read_generation_config(model, files)
    return replace(_loaded(files, plan, model, tokenizer), int8=request.int8)


def _loaded(
    files: model_files.ModelFiles,
    plan: estimates.LoadPlan,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
) -> LoadedModel:
    import torch

    embeddings: Any = model.get_input_embeddings()
    info = replace(describe(files, plan.dtype), vocabulary=int(embeddings.weight.shape[0]))
    return LoadedModel(
        model=model,
        tokenizer=tokenizer,
        info=info,
        quantization=plan.quantization,
        device=embeddings.weight.device,
        dtype=getattr(torch, plan.dtype),
        context_length=plan.context_length,
        eos_ids=end_ids(model, tokenizer),
        note=plan.note,
    )


def _read_generation_config(model: PreTrainedModel, files: model_files.ModelFiles) -> None:
    from transformers import GenerationConfig

    if files.gguf is None and (files.folder / "generation_config.json").is_file():
        try:
            model.generation_config = GenerationConfig.from_pretrained(files.folder, local_files_only=True)
        except (OSError, ValueError, TypeError):
            return  # it holds only defaults; the model works without


def translate(error: BaseException) -> InferenceError:
    """A library's error while loading, in our words."""
    details = "".join(traceback.format_exception(error))
    text = str(error)
    if isinstance(error, MemoryError) or re.search(
        r"out of memory|can't allocate memory|alloc_cpu", text, re.IGNORECASE
    ):
        return OutOfMemory("There is not enough free memory to load this model.", details=details)
    if "mismatch" in text and "size" in text:
        return ModelDamaged("The weights do not have the sizes that config.json says.", details=details)
    if isinstance(error, ImportError) or "quantiz" in text.lower():
        return ModelUnsupported(
            "This model is stored in a way that needs software that is not here.", details=details
        )
    return InternalError(f"Loading failed: {type(error).__name__}.", details=details)
