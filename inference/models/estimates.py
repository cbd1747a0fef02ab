"""How much memory a model will take, from its files alone, and what is free.

bitsandbytes shrinks linear layers only: embeddings, the output layer, norms, and the merged experts of
mixtures keep the precision that is computed in.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from inference import machine
from inference.errors import OutOfMemory
from inference.events import Device, MemoryEstimate, Quantization, RopeScaling
from inference.models import architecture, exceptions, rope
from inference.models.checkpoints import TensorHeader
from inference.models.model_files import OUTPUT_LAYER, ModelFiles, stored_dtype
from inference.models.packing import bytes_held, stored_method, stored_quantization
from inference.models.quantization import BITSANDBYTES, BLOCK_SIZE, DTYPE_BYTES, can_pack, effective_dtype

#: Tokens that are read at once in a prefill on a GPU; sets the size of its intermediate tensors.
GPU_CHUNK = 2048
#: Multiplications that a chunk of the prompt may cost on a CPU: some 30 to 60 ms on one core.
_CPU_CHUNK = 1.5e9

#: A conversation needs at least this much context; a model that can't have it does not fit.
SMALLEST_CONTEXT = 512

#: Share of the free memory that a context chosen by the app may fill.
_COMFORTABLE = 0.8

#: What libraries keep on a CPU beside the tensors that are counted: measured, the more the more they repack.
_CPU_LIBRARIES = {"int8": 14 * 2**20, "nf4": 28 * 2**20, "fp4": 28 * 2**20}
_CPU_LIBRARIES_PLAIN = 8 * 2**20

#: Float32 copies of a tensor that there are at once while a GGUF file is unpacked.
_UNPACKING = 4

#: Families that are built like Llama, by their classes: see :mod:`inference.passes.cpu_step`.
STEP_FAMILIES = frozenset(
    ["LlamaForCausalLM", "MistralForCausalLM", "Qwen2ForCausalLM", "Qwen3ForCausalLM", "Phi3ForCausalLM"]
)
#: Models with more parameters than this get no copy of their weights for that: it is not worth the memory.
LARGEST_COPY = 200_000_000

#: What a CUDA context and its libraries take on each GPU beside torch's own tensors.
_CUDA_CONTEXT = 600 * 2**20

_EMBEDDING = re.compile(r"(^|\.)(\w*embed\w*|wte|wpe|token_embd\w*|position_embd|shared)(\.|$)")
_EXPERTS = re.compile(
    r"\.experts\.|_exps\.|block_sparse_moe\.(input|output)_linear|\.router\.|\.gate\.weight$|gate_inp"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadPlan:
    """How a model would be loaded, and what that takes. ``note`` says what the user did not ask for."""

    quantization: Quantization
    device: str
    dtype: str
    context_length: int
    estimate: MemoryEstimate
    note: str = ""


def plan(
    files: ModelFiles,
    *,
    quantization: Quantization,
    device: Device,
    context_length: int | None,
    free: int | None = None,
    scaling: RopeScaling | None = None,
) -> LoadPlan:
    """Choose precision and context for a model as :func:`inference.loading.load` does.

    Args:
        files: The model.
        quantization: What was asked for; a model that is stored quantized stays as it is stored.
        device: "auto" takes the GPUs if there are any.
        context_length: None: the model's own, or as much of it as fits comfortably.
        free: Free bytes; None measures them.
        scaling: Stretches the model's own context.
    """
    place = machine.choose_device(device)
    free = machine.free_memory(place) if free is None else free
    notes = []
    if method := stored_method(files.config):
        stored = stored_quantization(files.config)
        if quantization not in ("none", stored):
            notes.append(f"This model is stored in {(stored or method).upper()} and stays in it.")
        quantization = stored or "none"
    elif quantization in BITSANDBYTES and not can_shrink(files):
        notes.append("bitsandbytes can't shrink the layers of this architecture; they stay as they are.")
    dtype = effective_dtype(quantization, place, stored_dtype(files))
    if place == "cpu" and quantization == "none" and _smallest(files, quantization, dtype, place) > free:
        half = effective_dtype(quantization, "cuda", stored_dtype(files))
        if DTYPE_BYTES[half] < DTYPE_BYTES[dtype]:
            dtype = half
            notes.append(f"Kept in {half}, because float32 does not fit into memory; it is slower on a CPU.")
    trained = architecture.context_length(files.text_config)
    if scaling is not None:
        rope.check(scaling)
        notes.append(rope.warning(trained, scaling))
    own = rope.stretched(trained, scaling)
    context = min(context_length or own, own)
    overhead = overhead_bytes(files, quantization, dtype, place)
    overhead += copy_bytes(files, quantization, dtype, place)
    base = weight_bytes(files, quantization, dtype, place) + overhead
    if context_length is None:
        context = _comfortable_context(files, dtype, place, context, round(free * _COMFORTABLE) - base)
    overhead += working_bytes(files, dtype, place, context)
    estimate = MemoryEstimate(
        device=place,
        weights=weight_bytes(files, quantization, dtype, place),
        kv_cache=kv_bytes(files, dtype, context),
        overhead=overhead,
        free=free,
        loading=_on_the_way(files, quantization, dtype, place) + overhead,
    )
    return LoadPlan(
        quantization=quantization,
        device=place,
        dtype=dtype,
        context_length=context,
        estimate=estimate,
        note=" ".join(notes),
    )


def _on_the_way(files: ModelFiles, quantization: Quantization, dtype: str, device: str) -> int:
    """Most bytes of memory that the weights take while they load on a CPU."""
    packed = weight_bytes(files, quantization, dtype, device)
    if device != "cpu" or files.gguf is None or quantization not in BITSANDBYTES:
        return packed if device == "cpu" else 0
    largest = max((tensor.elements for tensor in files.parameters()), default=0)
    return weight_bytes(files, "none", dtype, device) + packed + _UNPACKING * 4 * largest


def refuse_if_too_big(files: ModelFiles, chosen: LoadPlan) -> None:
    """Refuse a plan that does not fit before anything is read: Linux would end the whole program.

    Raises:
        OutOfMemory: It does not fit; the hint names what would.
    """
    estimate = chosen.estimate
    if estimate.fits:
        return
    where = "on the GPU" if chosen.device == "cuda" else "in memory"
    message = f"This model needs about {_gb(estimate.total)} {where}, and {_gb(estimate.free)} are free."
    if estimate.total <= estimate.free:
        raise OutOfMemory(
            f"Unpacking this file takes about {_gb(estimate.loading)}, and {_gb(estimate.free)} are free.",
            hint="Load it in 16 bit, or use a file with safetensors weights.",
        )
    working = working_bytes(files, chosen.dtype, chosen.device, chosen.context_length)
    room = estimate.free - estimate.weights - estimate.overhead + working
    context = _comfortable_context(files, chosen.dtype, chosen.device, chosen.context_length, room)
    if context_bytes(files, chosen.dtype, chosen.device, context) <= room:
        raise OutOfMemory(message, hint=f"A context of {context:,} tokens would fit.")
    for quantization in ("bf16", "int8", "nf4"):
        dtype = effective_dtype(quantization, chosen.device, stored_dtype(files))
        needed = _smallest(files, quantization, dtype, chosen.device)
        if needed < estimate.free and needed < _smallest(
            files, chosen.quantization, chosen.dtype, chosen.device
        ):
            raise OutOfMemory(message, hint=f"It would fit in {quantization.upper()} ({_gb(needed)}).")
    raise OutOfMemory(message, hint="Choose a smaller model, or close other programs.")


def weight_bytes(files: ModelFiles, quantization: Quantization, dtype: str, device: str) -> int:
    """Bytes of the weights in memory.

    int8 adds a float32 scale for each row; the 4-bit formats add one for each block of 64, and their 16
    values.
    """
    size = DTYPE_BYTES[dtype]
    if stored_method(files.config):
        return sum(bytes_held(tensor, files.config, size) for tensor in files.parameters())
    total = _mask_bytes(files)
    shrinks = quantization in BITSANDBYTES and can_shrink(files)
    for tensor in files.parameters():
        packed = shrinks and is_linear(tensor) and can_pack(tensor.shape, quantization, device)
        if not packed or _is_kept_whole(files, tensor):
            total += tensor.elements * size
        elif quantization == "int8":
            total += tensor.elements + tensor.shape[0] * 4
        else:
            total += tensor.elements // 2 + -(-tensor.elements // BLOCK_SIZE) * 4 + 16 * 4
    return total


def _mask_bytes(files: ModelFiles) -> int:
    """Bytes of the causal masks that a few old families keep: one for each pair of positions."""
    config = files.text_config
    kept = exceptions.MASK_BUFFERS.get(str(config.get("model_type")))
    masks = {"each layer": architecture.layer_count(config), "one": 1}.get(kept or "", 0)
    return masks * architecture.context_length(config) ** 2


def can_shrink(files: ModelFiles) -> bool:
    """Whether bitsandbytes knows the classes of the model's layers."""
    return files.text_config.get("model_type") not in exceptions.OWN_LINEAR_CLASS


def _is_kept_whole(files: ModelFiles, tensor: TensorHeader) -> bool:
    names = exceptions.KEPT_WHOLE.get(str(files.text_config.get("model_type")), ())
    return any(f".{name}." in tensor.name for name in names)


def is_linear(tensor: TensorHeader) -> bool:
    """Whether bitsandbytes would shrink it: the matrix of a linear layer other than the output layer."""
    return (
        len(tensor.shape) == 2
        and tensor.name.endswith(".weight")
        and not any(pattern.search(tensor.name) for pattern in (_EMBEDDING, OUTPUT_LAYER, _EXPERTS))
    )


def kv_bytes(files: ModelFiles, dtype: str, tokens: int) -> int:
    """Bytes of the KV cache after ``tokens`` tokens, in the precision that is computed in."""
    return architecture.kv_shape(files.text_config).values(tokens) * DTYPE_BYTES[dtype]


def working_bytes(files: ModelFiles, dtype: str, device: str, tokens: int) -> int:
    """Bytes that grow with the context beside the cache, on a CPU: a layer's keys and values once more while
    its buffer grows and once more for their groups, and a chunk's mask.
    """
    if device != "cpu":
        return 0
    layers = max(1, architecture.layer_count(files.text_config))
    return 2 * kv_bytes(files, dtype, tokens) // layers + _chunk(files, device) * tokens * 4


def context_bytes(files: ModelFiles, dtype: str, device: str, tokens: int) -> int:
    """All bytes that grow with the context."""
    return kv_bytes(files, dtype, tokens) + working_bytes(files, dtype, device, tokens)


def cpu_chunk(parameters: int) -> int:
    """Tokens to read at once on a CPU, so few that a cancel is soon seen."""
    return min(512, max(16, 1 << int(_CPU_CHUNK / max(1, parameters)).bit_length() - 1))


def _chunk(files: ModelFiles, device: str) -> int:
    return GPU_CHUNK if device == "cuda" else cpu_chunk(sum(one.elements for one in files.parameters()))


def overhead_bytes(files: ModelFiles, quantization: Quantization, dtype: str, device: str) -> int:
    """Bytes beside weights and cache, whatever the context: a prefill chunk's activations, float32 logits,
    and libraries' own.
    """
    config = files.text_config
    width = architecture.hidden_size(config)
    inner = architecture.first_int(config, "intermediate_size", "n_inner", "ffn_dim", default=4 * width)
    activations = _chunk(files, device) * (6 * width + 3 * inner) * DTYPE_BYTES[dtype]
    logits = 4 * 4 * architecture.first_int(config, "vocab_size")
    if device == "cuda":
        return activations + logits + _CUDA_CONTEXT
    return activations + logits + _CPU_LIBRARIES.get(quantization, _CPU_LIBRARIES_PLAIN)


def copy_bytes(files: ModelFiles, quantization: Quantization, dtype: str, device: str) -> int:
    """Bytes of the float16 weights that steps on a CPU read (see :mod:`inference.passes.packed_linear`)."""
    exact = stored_dtype(files) in ("bfloat16", "float16") and not stored_method(files.config)
    if device != "cpu" or quantization != "none" or dtype != "float32" or not exact:
        return 0
    parameters = files.parameters()
    if sum(one.elements for one in parameters) > LARGEST_COPY:
        return 0
    width, words = (
        architecture.hidden_size(files.text_config),
        architecture.first_int(files.config, "vocab_size"),
    )
    experts = (one for one in parameters if len(one.shape) > 1 and _EXPERTS.search(one.name))
    read = sum(one.elements for one in (*filter(is_linear, parameters), *experts))
    return 2 * (read + width * words)


def _smallest(files: ModelFiles, quantization: Quantization, dtype: str, device: str) -> int:
    """What the model takes at the least: with the smallest context."""
    weights = weight_bytes(files, quantization, dtype, device)
    weights += overhead_bytes(files, quantization, dtype, device)
    weights += copy_bytes(files, quantization, dtype, device)
    return weights + context_bytes(files, dtype, device, SMALLEST_CONTEXT)


def _comfortable_context(files: ModelFiles, dtype: str, device: str, longest: int, room: int) -> int:
    """The largest context that fits into ``room``, in steps of 256, at least the smallest one."""
    if context_bytes(files, dtype, device, longest) <= room:
        return longest
    low, high = 0, longest
    while low < high:
        middle = (low + high + 1) // 2
        fits = context_bytes(files, dtype, device, middle) <= room
        low, high = (middle, high) if fits else (low, middle - 1)
    return min(longest, max(SMALLEST_CONTEXT, low // 256 * 256))


def _gb(nbytes: int) -> str:
    return f"{nbytes / 1e9:.1f} GB" if nbytes >= 1e8 else f"{nbytes / 1e6:.0f} MB"
