"""Models with the shape of known ones and random weights, made where they are used: speed needs no training.

Each linear layer is drawn on the device and quantized at once, so that a model never takes more room than it
takes when it is quantized. The tokenizer's vocabulary is as large as the model's, and its words mean nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from inference.events import ModelInfo, Quantization

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerBase

    from inference.models.loaded_model import LoadedModel


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """Dimensions of a Llama."""

    layers: int
    hidden: int
    inner: int
    heads: int
    kv_heads: int
    vocabulary: int = 128256
    tied: bool = False

    def config(self, context: int) -> Any:
        """As transformers has it."""
        from transformers import LlamaConfig

        return LlamaConfig(
            vocab_size=self.vocabulary,
            hidden_size=self.hidden,
            intermediate_size=self.inner,
            num_hidden_layers=self.layers,
            num_attention_heads=self.heads,
            num_key_value_heads=self.kv_heads,
            head_dim=self.hidden // self.heads,
            max_position_embeddings=context,
            rope_parameters={"rope_type": "default", "rope_theta": 500000.0},
            tie_word_embeddings=self.tied,
            bos_token_id=0,
            eos_token_id=1,
        )


SHAPES = {
    "llama-3-8b": Shape(layers=32, hidden=4096, inner=14336, heads=32, kv_heads=8),
    "llama-3.2-1b": Shape(layers=16, hidden=2048, inner=8192, heads=32, kv_heads=8, tied=True),
    "llama-3-70b": Shape(layers=80, hidden=8192, inner=28672, heads=64, kv_heads=8),
    "tiny": Shape(layers=2, hidden=128, inner=256, heads=4, kv_heads=2, vocabulary=512),
}


def random_model(name: str, quantization: Quantization, device: str, context: int) -> LoadedModel:
    """A model of :data:`SHAPES` on a device, as if it had been loaded.

    Args:
        name: Of the shape.
        quantization: "none" is bfloat16 on a GPU and float32 on a CPU.
        device: Of torch.
        context: Positions of its context.
    """
    import torch
    from transformers import LlamaForCausalLM

    from inference.models.loaded_model import LoadedModel, weight_bytes

    shape, place = SHAPES[name], torch.device(device, 0) if device == "cuda" else torch.device(device)
    dtype = torch.float32 if device == "cpu" else torch.bfloat16
    config = shape.config(context)
    with torch.device("meta"):
        model: Any = LlamaForCausalLM(config)
    generator = torch.Generator(place).manual_seed(0)
    with torch.inference_mode(False), torch.no_grad():
        _fill(model, quantization, dtype, place, generator)
    model.model.rotary_emb = type(model.model.rotary_emb)(config).to(place)
    model = model.eval().requires_grad_(False)
    parameters = shape.layers * (
        2 * shape.hidden**2
        + 2 * shape.hidden * shape.hidden // shape.heads * shape.kv_heads
        + 3 * shape.hidden * shape.inner
    ) + shape.vocabulary * shape.hidden * (1 if shape.tied else 2)
    return LoadedModel(
        model=model,
        tokenizer=tokenizer_of(shape.vocabulary),
        info=ModelInfo(
            source="random",
            name=f"{name}, random weights",
            architecture="LlamaForCausalLM",
            parameters=parameters,
            context_length=context,
            vocabulary=shape.vocabulary,
            layers=shape.layers,
            hidden_size=shape.hidden,
            kv_bytes_per_token=4 * shape.layers * shape.kv_heads * shape.hidden // shape.heads,
            stored_bytes=weight_bytes(model),
            stored_dtype="bfloat16",
            licence=None,
            has_chat_template=False,
        ),
        quantization=quantization,
        device=place,
        dtype=dtype,
        context_length=context,
        eos_ids=frozenset(),
    )


def _fill(
    model: Any, quantization: str, dtype: torch.dtype, device: torch.device, generator: torch.Generator
) -> None:
    """Replace every parameter on the meta device by random numbers on the device."""
    import torch

    def drawn(shape: Any) -> torch.Tensor:
        return torch.empty(shape, dtype=dtype, device=device).normal_(0.0, 0.02, generator=generator)

    for name, module in list(model.named_modules()):
        if (
            isinstance(module, torch.nn.Linear)
            and name != "lm_head"
            and quantization in ("nf4", "fp4", "int8")
        ):
            parent, _, child = name.rpartition(".")
            weight = drawn((module.out_features, module.in_features))
            setattr(model.get_submodule(parent), child, _quantized(weight, quantization, dtype))
            continue
        for key, parameter in list(module.named_parameters(recurse=False)):
            norm = "norm" in name
            value = (
                torch.ones(parameter.shape, dtype=dtype, device=device) if norm else drawn(parameter.shape)
            )
            setattr(module, key, torch.nn.Parameter(value, requires_grad=False))
    if model.config.tie_word_embeddings:
        model.lm_head.weight = model.model.embed_tokens.weight


def _quantized(weight: torch.Tensor, quantization: str, dtype: torch.dtype) -> Any:
    """bitsandbytes' linear layer with this weight (out, in)."""
    from inference.models.building import import_bitsandbytes

    import_bitsandbytes()
    import bitsandbytes

    bnb: Any = bitsandbytes
    outputs, inputs = weight.shape
    layer: Any
    if quantization == "int8":
        layer = bnb.nn.Linear8bitLt(
            inputs, outputs, bias=False, has_fp16_weights=False, threshold=6.0, device="meta"
        )
        packed, scales, _ = bnb.functional.int8_vectorwise_quant(weight.half())
        layer.weight = bnb.nn.Int8Params(
            packed, requires_grad=False, has_fp16_weights=False, CB=packed, SCB=scales
        )
        return layer
    layer = bnb.nn.Linear4bit(
        inputs, outputs, bias=False, compute_dtype=dtype, quant_type=quantization, device="meta"
    )
    layer.weight = bnb.nn.Params4bit(
        weight, requires_grad=False, compress_statistics=False, quant_type=quantization, module=layer
    ).to(weight.device)
    return layer


def tokenizer_of(size: int) -> PreTrainedTokenizerBase:
    """One token a byte, and numbered words."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    pieces = sorted(pre_tokenizers.ByteLevel.alphabet())
    pieces += [f"Ġw{number}" for number in range(size - len(pieces))]
    tokenizer = Tokenizer(models.BPE(vocab={piece: index for index, piece in enumerate(pieces)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    made: Any = PreTrainedTokenizerFast
    found: PreTrainedTokenizerBase = made(tokenizer_object=tokenizer, clean_up_tokenization_spaces=False)
    return found
