"""From files to a network: the calls into transformers, accelerate and bitsandbytes."""

from __future__ import annotations

import contextlib
import importlib
import logging
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from inference.background import Reporter
from inference.errors import ModelDamaged, ModelUnsupported, OutOfMemory
from inference.machine import gpu_free_bytes
from inference.models import exceptions, safety
from inference.models.estimates import LoadPlan
from inference.models.model_files import ModelFiles
from inference.models.quantization import BITSANDBYTES, can_pack, quantization_config
from inference.models.weights import ByteCounter, LazyTensor, open_weights

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedConfig, PreTrainedModel

STARTING = "Starting the engine"
READING = "Reading the weights"
UNPACKING = "Unpacking the weights"


def import_engine(reporter: Reporter, quantization: str) -> None:
    """Import torch, transformers and, where it is needed, bitsandbytes: seconds the first time."""
    steps = 4 if quantization in BITSANDBYTES else 3
    reporter.report(STARTING, 0, steps, "files")
    import torch  # noqa: F401

    reporter.report(STARTING, 1, steps, "files")
    import transformers
    from transformers.models.auto import modeling_auto  # noqa: F401

    reporter.report(STARTING, 2, steps, "files")
    from transformers import AutoTokenizer  # noqa: F401

    _import_networks()
    transformers.utils.logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    transformers.utils.logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    reporter.report(STARTING, 3, steps, "files")
    if quantization in BITSANDBYTES:
        import_bitsandbytes()
        reporter.report(STARTING, 4, steps, "files")


def _import_networks() -> None:
    """Import what all networks build on without SciPy, which is there for the losses of object detection
    only: 40 MB that would stay.
    """
    utils: Any = importlib.import_module("transformers.utils")
    asked = utils.is_scipy_available
    utils.is_scipy_available = lambda: False
    try:
        import transformers.modeling_utils  # noqa: F401
    finally:
        utils.is_scipy_available = asked


def import_bitsandbytes() -> None:
    """Import bitsandbytes without its download: on some CPUs it would fetch compiled code and run it.

    It does so through the ``kernels`` package, which is made to look absent for the time of the import.
    """
    if "bitsandbytes" in sys.modules:
        return
    absent = object()
    kernels = sys.modules.get("kernels", absent)
    sys.modules["kernels"] = None  # type: ignore[assignment]
    # It would complain that the package is absent; and int8 tells at every layer and token that it casts.
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
    try:
        import bitsandbytes  # noqa: F401
    finally:
        if kernels is absent:
            del sys.modules["kernels"]
        else:
            sys.modules["kernels"] = kernels  # type: ignore[assignment]


def read_config(files: ModelFiles) -> PreTrainedConfig:
    """transformers' config of the model.

    Raises:
        ModelUnsupported: transformers does not know the architecture.
        ModelDamaged: The config contradicts itself.
    """
    from transformers import AutoConfig

    gguf = {"gguf_file": files.checkpoint.files[0].name} if files.gguf is not None else {}
    try:
        config: PreTrainedConfig = AutoConfig.from_pretrained(
            files.folder, local_files_only=True, trust_remote_code=False, **gguf
        )
    except (ValueError, KeyError, TypeError, AttributeError, ImportError) as error:
        details = f"{type(error).__name__}: {error}"
        if _is_known(str(files.config.get("model_type", ""))) and files.gguf is None:
            raise ModelDamaged("The model's config.json can't be used.", details=details) from None
        name = files.config.get("model_type") or "not named"
        raise ModelUnsupported(
            f"The architecture of this model ({name}) is not known.", details=details
        ) from None
    return config


def _is_known(model_type: str) -> bool:
    from transformers import CONFIG_MAPPING

    return model_type in CONFIG_MAPPING


def causal_class(config: PreTrainedConfig) -> type[PreTrainedModel]:
    """The class that writes text with this config.

    Raises:
        ModelUnsupported: There is none: the model is for something else.
    """
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING

    found: Any = MODEL_FOR_CAUSAL_LM_MAPPING.get(type(config), None)
    if found is None:
        raise ModelUnsupported(
            f"A model of the kind {config.model_type} does not write text token by token.",
            hint="Choose a causal language model.",
        )
    chosen: type[PreTrainedModel] = found[0] if isinstance(found, (list, tuple)) else found
    return chosen


def build(files: ModelFiles, config: PreTrainedConfig, plan: LoadPlan, reporter: Reporter) -> PreTrainedModel:
    """Make the network and fill it with its weights.

    Raises:
        ModelDamaged: Tensors are missing.
        InferenceError: What reading the weights raises.
    """
    if files.gguf is not None:
        return _build_from_gguf(files, plan, reporter)
    with open_weights(files, reporter, stage=READING) as state_dict:
        try:
            return _from_state_dict(causal_class(config), config, state_dict, plan)
        except ModelDamaged:
            if reference := safety.offered_code(files.config):  # a variant of a known architecture
                raise safety.refuse_custom_code(reference, part="model") from None
            raise


def _from_state_dict(
    model_class: type[PreTrainedModel], config: PreTrainedConfig, state_dict: dict[str, Any], plan: LoadPlan
) -> PreTrainedModel:
    import torch

    dtype: torch.dtype = getattr(torch, plan.dtype)
    stored = getattr(config, "quantization_config", None) is not None
    kept_whole = [
        *exceptions.KEPT_WHOLE.get(config.model_type, ()),
        *(
            name.removesuffix(".weight")
            for name, tensor in state_dict.items()
            if name.endswith(".weight")
            and len(tensor.shape) == 2
            and not can_pack(tensor.shape, plan.quantization, plan.device)
        ),
    ]
    loaded: Any = model_class.from_pretrained(
        None,
        config=config,
        state_dict=state_dict,
        dtype=dtype,
        quantization_config=None if stored else quantization_config(plan.quantization, dtype, kept_whole),
        output_loading_info=True,
        **placement(plan),
    )
    model: PreTrainedModel = loaded[0]
    if plan.quantization in BITSANDBYTES:
        _lay_out_inputs(model)
    missing = sorted(loaded[1]["missing_keys"])
    if missing:
        raise ModelDamaged(
            f"{len(missing)} of the model's tensors are missing from its files.",
            details="\n".join(missing[:20]),
        )
    return model


def _lay_out_inputs(model: PreTrainedModel) -> None:
    """Hand packed layers their inputs as bitsandbytes (0.50) can read them.

    Its 4-bit kernel for CPUs reads inputs as if they were contiguous and multiplies the wrong numbers
    otherwise (Mamba hands on transposed states); int8 takes inputs of two or three dimensions only (DeepSeek
    has four).
    """

    def contiguous(_: Any, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        return (inputs[0].contiguous(), *inputs[1:])

    def flat(module: Any, inputs: tuple[Any, ...]) -> tuple[Any, ...] | None:
        module._given = inputs[0].shape
        return (inputs[0].flatten(0, -2), *inputs[1:]) if inputs[0].dim() > 3 else None

    def unflat(module: Any, _: Any, output: Any) -> Any:
        return output.view(*module._given[:-1], output.shape[-1]) if len(module._given) > 3 else None

    for module in model.modules():
        if type(module).__name__ == "Linear4bit":
            module.register_forward_pre_hook(contiguous)
        elif type(module).__name__ == "Linear8bitLt":
            module.register_forward_pre_hook(flat)
            module.register_forward_hook(unflat)


def _build_from_gguf(files: ModelFiles, plan: LoadPlan, reporter: Reporter) -> PreTrainedModel:
    """Unpack a GGUF file; then, where that was asked for, pack its weights again in bitsandbytes' way."""
    import transformers

    file = files.checkpoint.files[0]
    options: dict[str, Any] = {"gguf_file": file.name, "local_files_only": True, "dtype": plan.dtype}
    if hasattr(
        transformers, "GgufConfig"
    ):  # newer versions would fetch kernels for packed weights from the hub
        options["quantization_config"] = transformers.GgufConfig(dequantize=True)
    again = plan.quantization in BITSANDBYTES
    where = {"device_map": {"": "cpu"}} if again else placement(plan)
    with _gguf_progress(files, reporter):
        model: PreTrainedModel = transformers.AutoModelForCausalLM.from_pretrained(
            files.folder, **options, **where
        )
    if not again:
        return model
    state_dict, config, model_class = model.state_dict(), model.config, type(model)
    if getattr(config, "quantization_config", None) is not None:
        del config.quantization_config
    del model
    counter = ByteCounter(reporter, READING, sum(t.numel() * t.element_size() for t in state_dict.values()))
    lazy = {name: LazyTensor(tensor, counter) for name, tensor in state_dict.items()}
    return _from_state_dict(model_class, config, lazy, plan)


@contextlib.contextmanager
def _gguf_progress(files: ModelFiles, reporter: Reporter) -> Iterator[None]:
    """Make transformers' progress bar over a GGUF file's tensors report to us, and end on a cancel."""
    # Not as an attribute of transformers, whose lazy module may have been replaced since it was imported.
    gguf_loader: Any = importlib.import_module("transformers.modeling_gguf_pytorch_utils")
    counter = ByteCounter(reporter, UNPACKING, files.checkpoint.nbytes)
    counter.add(0)

    def counted(tensors: Any, **_: Any) -> Iterator[Any]:
        for tensor in tensors:
            yield tensor
            counter.add(int(getattr(tensor, "n_bytes", 0)))

    bar = gguf_loader.tqdm
    gguf_loader.tqdm = counted
    try:
        yield
    finally:
        gguf_loader.tqdm = bar


def placement(plan: LoadPlan) -> dict[str, Any]:
    """Where accelerate puts the layers: one GPU if it has room for all, else all GPUs; never the disk.

    Raises:
        OutOfMemory: The GPUs have no room.
    """
    if plan.device == "cpu":
        return {"device_map": {"": "cpu"}}
    free = gpu_free_bytes()
    if not free:
        raise OutOfMemory("There is no GPU to load the model on.", hint="Choose the CPU as the device.")
    roomiest = max(range(len(free)), key=lambda index: free[index])
    if plan.estimate.total <= free[roomiest]:
        return {"device_map": {"": roomiest}}
    return {"device_map": "auto", "max_memory": dict(enumerate(free)) | {"cpu": 0}}
