"""Bringing a model into memory: transformers builds it, accelerate places it, bitsandbytes shrinks it.

Weights are handed to transformers as lazy tensors, so that its own conversions and quantization apply while each
read is counted and asks whether the run was cancelled.
"""

from __future__ import annotations

import time
import traceback
from collections.abc import Generator
from typing import TYPE_CHECKING, Any

from inference import catalog, safety
from inference.background import Reporter, in_background
from inference.errors import (
    InferenceError,
    InternalError,
    ModelDamaged,
    ModelUnsupported,
    OutOfMemory,
    RunCancelled,
    TokenizerMismatch,
)
from inference.events import LoadRequest, ModelLoaded, Progress
from inference.loaded_model import LoadedModel, release_memory
from inference.quantization import check_quantization, effective_dtype, quantization_config
from inference.running import RunHandle
from inference.weights import open_weights

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

STARTING = "Starting the engine"
READING = "Reading the weights"


def load(request: LoadRequest, handle: RunHandle) -> Generator[Progress, None, LoadedModel]:
    """Load a model; yields progress, returns the model.

    The caller has let go of the model that was loaded before, if memory is short.

    Raises:
        InferenceError: One of the kinds for models (not found, damaged, unsafe, unsupported, tokenizer, memory).
        RunCancelled: The run was cancelled; nothing stays in memory.
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
    )


def _load(request: LoadRequest, reporter: Reporter) -> LoadedModel:
    """All of the loading, on the background thread; only :class:`InferenceError` and RunCancelled leave it.

    The errors of libraries are turned into ours outside of their ``except`` block: a traceback that is kept would keep
    the half-loaded weights in its frames.
    """
    try:
        return _load_steps(request, reporter)
    except (InferenceError, RunCancelled) as error:
        failure: Exception = error.with_traceback(None)
        failure.__context__ = None
    except Exception as error:
        reason: BaseException = error
        failure = translate(reason)
        del reason
    release_memory()
    raise failure


def _load_steps(request: LoadRequest, reporter: Reporter) -> LoadedModel:
    quantization = check_quantization(request.quantization)
    files = catalog.find_model(request.model)
    if reference := safety.custom_code(files.config):
        raise safety.refuse_custom_code(reference, part="model")
    import_engine(reporter)
    import torch

    config = _read_config(files)
    model_class = _model_class(config, files)
    tokenizer = _load_tokenizer(files)
    check_tokenizer(tokenizer, config)
    device = _choose_device(request.device)
    dtype = getattr(torch, effective_dtype(quantization, device, catalog.stored_dtype(files)))
    with open_weights(files, reporter, stage=READING) as state_dict:
        model = _build(
            model_class, config, state_dict, dtype, device, quantization_config(quantization, dtype)
        )
    reporter.check()
    _read_generation_config(model, files)
    info = catalog.describe(files)
    return LoadedModel(
        model=model,
        tokenizer=tokenizer,
        info=info,
        quantization=quantization,
        device=model.get_input_embeddings().weight.device,
        dtype=dtype,
        context_length=min(request.context_length or info.context_length, info.context_length),
        eos_ids=end_ids(model, tokenizer),
    )


def import_engine(reporter: Reporter) -> None:
    """Import torch and transformers, which takes seconds the first time."""
    reporter.report(STARTING, 0, 3, "libraries")
    import torch  # noqa: F401

    reporter.report(STARTING, 1, 3, "libraries")
    import transformers
    from transformers.models.auto import modeling_auto  # noqa: F401

    reporter.report(STARTING, 2, 3, "libraries")
    from transformers import AutoTokenizer  # noqa: F401

    transformers.utils.logging.disable_progress_bar()
    transformers.utils.logging.set_verbosity_error()
    reporter.report(STARTING, 3, 3, "libraries")


def _choose_device(device: str) -> str:
    import torch

    if device == "cpu":
        return "cpu"
    return "cuda" if torch.cuda.is_available() else "cpu"


def _read_config(files: catalog.ModelFiles) -> PreTrainedConfig:
    from transformers import AutoConfig

    try:
        return AutoConfig.from_pretrained(files.folder, local_files_only=True, trust_remote_code=False)
    except (ValueError, KeyError) as error:
        raise unknown_architecture(files, str(error)) from None


def unknown_architecture(files: catalog.ModelFiles, details: str) -> ModelUnsupported:
    """The error for a model type that transformers does not know."""
    name = files.config.get("model_type") or "none named"
    return ModelUnsupported(f"This kind of model ({name}) is not known here.", details=details)


def _model_class(config: PreTrainedConfig, files: catalog.ModelFiles) -> type[PreTrainedModel]:
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING

    try:
        model_class: Any = MODEL_FOR_CAUSAL_LM_MAPPING[type(config)]
    except KeyError as error:
        raise ModelUnsupported(
            f"A {files.config.get('model_type')} model does not write text token by token.",
            hint="Choose a causal language model.",
            details=str(error),
        ) from None
    return model_class[0] if isinstance(model_class, (list, tuple)) else model_class  # type: ignore[no-any-return]


def _load_tokenizer(files: catalog.ModelFiles) -> PreTrainedTokenizerBase:
    from transformers import AutoTokenizer

    reference = safety.tokenizer_code(files.folder)
    try:
        return AutoTokenizer.from_pretrained(  # type: ignore[no-any-return]
            files.folder, local_files_only=True, trust_remote_code=False
        )
    except Exception as error:
        if reference:
            raise safety.refuse_custom_code(reference, part="tokenizer") from None
        raise ModelDamaged(
            "The model's tokenizer can't be read.",
            hint="Download or copy the tokenizer files (tokenizer.json) again.",
            details=f"{type(error).__name__}: {error}",
        ) from None


def check_tokenizer(tokenizer: PreTrainedTokenizerBase, config: PreTrainedConfig) -> None:
    """Refuse a tokenizer that makes ids which the embeddings do not have.

    Raises:
        TokenizerMismatch: It does.
    """
    vocabulary = int(getattr(config.get_text_config(decoder=True), "vocab_size", 0))
    highest = max(tokenizer.get_vocab().values(), default=-1)
    if highest < 0:
        raise TokenizerMismatch("The tokenizer has no vocabulary.")
    if vocabulary and highest >= vocabulary:
        raise TokenizerMismatch(
            f"The tokenizer has {highest + 1:,} tokens, the model only {vocabulary:,}: they do not belong together."
        )


def _build(
    model_class: type[PreTrainedModel],
    config: PreTrainedConfig,
    state_dict: dict[str, Any],
    dtype: torch.dtype,
    device: str,
    quantization: Any,
) -> PreTrainedModel:
    model, report = model_class.from_pretrained(
        None,
        config=config,
        state_dict=state_dict,
        dtype=dtype,
        device_map="auto" if device == "cuda" else {"": "cpu"},
        quantization_config=quantization,
        local_files_only=True,
        output_loading_info=True,
    )
    if missing := sorted(report["missing_keys"]):
        raise ModelDamaged(
            f"{len(missing)} of the model's tensors are missing from its files.",
            details="\n".join(missing[:20]),
        )
    model.eval().requires_grad_(False)
    return model  # type: ignore[no-any-return]


def _read_generation_config(model: PreTrainedModel, files: catalog.ModelFiles) -> None:
    from transformers import GenerationConfig

    if (files.folder / "generation_config.json").is_file():
        try:
            model.generation_config = GenerationConfig.from_pretrained(files.folder, local_files_only=True)
        except (OSError, ValueError, TypeError):
            return  # only defaults are in it; the model works without


def end_ids(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> frozenset[int]:
    """Ids that end a reply: the end tokens of generation config, config and tokenizer, and the template's end of turn."""
    ids: set[int] = set()
    for value in (
        getattr(model.generation_config, "eos_token_id", None),
        getattr(model.config.get_text_config(decoder=True), "eos_token_id", None),
        tokenizer.eos_token_id,
    ):
        ids.update(value if isinstance(value, (list, tuple)) else [] if value is None else [value])
    template = tokenizer.chat_template if isinstance(tokenizer.chat_template, str) else ""
    special = tokenizer.get_added_vocab()
    ids.update(special[name] for name in _ENDS_OF_TURN if name in special and name in template)
    return frozenset(int(value) for value in ids)


#: Tokens by which chat templates end a turn; some models' files name only another end token.
_ENDS_OF_TURN = (
    "<|im_end|>",
    "<|eot_id|>",
    "<|eot|>",
    "<end_of_turn>",
    "<|end|>",
    "<|end_of_turn|>",
    "<|return|>",
)


def translate(error: BaseException) -> InferenceError:
    """A library's error while loading, in our words."""
    details = "".join(traceback.format_exception(error))
    text = str(error).lower()
    if isinstance(error, MemoryError) or "out of memory" in text or "can't allocate memory" in text:
        return OutOfMemory("There is not enough free memory to load this model.", details=details)
    if "size mismatch" in text or "mismatch" in text and "shape" in text:
        return ModelDamaged("The weights do not have the sizes that config.json says.", details=details)
    return InternalError(f"Loading failed: {type(error).__name__}.", details=details)


def measure_seconds(start: float) -> float:
    """Seconds since ``start`` of :func:`time.perf_counter`."""
    return time.perf_counter() - start
