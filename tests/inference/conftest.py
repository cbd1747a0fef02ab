"""Tiny models with random weights, and tokenizers to go with them, built here: no files, no network."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    MambaConfig,
    MambaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
)

from inference.events import Event, GenerateRequest, ModelInfo, Request, SamplingControls
from inference.models.loaded_model import LoadedModel
from inference.running import RunHandle, new_run_id
from inference.session import Session

# As the engine does on two cores; two threads on a busy machine wait for each other at every layer.
torch.set_num_threads(1)

CORPUS = [
    "The quick brown fox jumps over the lazy dog while the river flows to the sea.",
    "A model reads a prompt, token by token, and then writes the next word of the reply.",
    "Grüße aus Köln, naïve café, 你好世界, Привет мир, emoji 🦊🐕 and 👩‍👩‍👧 families.",
    "http://example.org/path?query=1 and https://example.com are addresses.",
    "def add(a, b):\n    return a + b\n\n\nprint(add(1, 2))\n",
]
ROLES = ("system", "user", "assistant")
SPECIAL = ["<|pad|>", "<|bos|>", "<|eos|>", *(f"<|{role}|>" for role in ROLES), "<|end|>"]
TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}"
    "{{ '<|' + message['role'] + '|>' + message['content'] | trim + '<|end|>' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)


def wrapped(tokenizer: Tokenizer) -> PreTrainedTokenizerFast:
    """As transformers loads it."""
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<|bos|>",
        eos_token="<|eos|>",
        pad_token="<|pad|>",
        additional_special_tokens=SPECIAL[3:],
        chat_template=TEMPLATE,
        clean_up_tokenization_spaces=False,
    )


@pytest.fixture(scope="session")
def byte_tokenizer() -> PreTrainedTokenizerFast:
    """Byte-level BPE, 500 tokens: any text, and characters that are split over several tokens."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=500,
        special_tokens=SPECIAL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    return wrapped(tokenizer)


@pytest.fixture(scope="session")
def sentencepiece_tokenizer() -> PreTrainedTokenizerFast:
    """The make of Llama 2: a space mark, byte fallback, and a leading space that is added and taken away."""
    trained = Tokenizer(models.BPE())
    mark = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    trained.normalizer = mark
    trainer = trainers.BpeTrainer(vocab_size=200, limit_alphabet=60, show_progress=False)
    trained.train_from_iterator(CORPUS, trainer)
    learned = json.loads(trained.to_str())["model"]
    pieces = [*SPECIAL, "<unk>", *(f"<0x{byte:02X}>" for byte in range(256)), *learned["vocab"]]
    tokenizer = Tokenizer(
        models.BPE(
            vocab={piece: index for index, piece in enumerate(pieces)},
            merges=[tuple(pair) for pair in learned["merges"]],
            byte_fallback=True,
            fuse_unk=True,
            unk_token="<unk>",
        )
    )
    tokenizer.normalizer = mark
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    return wrapped(tokenizer)


def build(model_class: type[PreTrainedModel], config: Any, *, spread: float = 0.2) -> PreTrainedModel:
    """A model whose random weights are large enough for distributions that are far from uniform."""
    torch.manual_seed(7)
    config.initializer_range = spread
    model = model_class(config).eval().requires_grad_(False)
    model.generation_config.pad_token_id = 0
    return model


SIZES: dict[str, Any] = {
    "vocab_size": 500,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
    "bos_token_id": 1,
    "eos_token_id": 2,
}


@pytest.fixture(scope="session")
def families() -> dict[str, PreTrainedModel]:
    """One small model each of: grouped queries, sliding windows, learned positions, a recurrent state."""
    gpt2 = GPT2Config(vocab_size=500, n_embd=32, n_layer=2, n_head=4, n_positions=512, bos_token_id=1)
    mamba = MambaConfig(vocab_size=500, hidden_size=32, num_hidden_layers=2, state_size=8, bos_token_id=1)
    return {
        "llama": build(LlamaForCausalLM, LlamaConfig(**SIZES)),
        "sliding": build(MistralForCausalLM, MistralConfig(**SIZES, sliding_window=16)),
        "gpt2": build(GPT2LMHeadModel, gpt2),
        "mamba": build(MambaForCausalLM, mamba),
    }


@pytest.fixture
def as_loaded(byte_tokenizer: PreTrainedTokenizerBase) -> Callable[..., LoadedModel]:
    """Wrap a model as ``loading.load`` returns it."""

    def wrap(
        model: PreTrainedModel, *, context_length: int = 512, tokenizer: PreTrainedTokenizerBase | None = None
    ) -> LoadedModel:
        config: Any = model.config
        return LoadedModel(
            model=model,
            tokenizer=tokenizer or byte_tokenizer,
            info=ModelInfo(
                source="test",
                name="test",
                architecture=type(model).__name__,
                parameters=sum(parameter.numel() for parameter in model.parameters()),
                context_length=512,
                vocabulary=500,
                layers=config.num_hidden_layers,
                hidden_size=config.hidden_size,
                kv_bytes_per_token=0,
                stored_bytes=0,
                stored_dtype="float32",
                licence=None,
                has_chat_template=True,
            ),
            quantization="none",
            device=torch.device("cpu"),
            dtype=next(model.parameters()).dtype,
            context_length=context_length,
            eos_ids=frozenset({2, 6}),
        )

    return wrap


@pytest.fixture
def llama(families: dict[str, PreTrainedModel], as_loaded: Callable[..., LoadedModel]) -> LoadedModel:
    """The tiny Llama with the byte-level tokenizer."""
    return as_loaded(families["llama"])


@pytest.fixture
def session(llama: LoadedModel) -> Session:
    """A session that works on the tiny Llama."""
    made = Session()
    made.use(llama)
    return made


@pytest.fixture
def run() -> Callable[..., list[Event]]:
    """Run a request to its end."""

    def run(session: Session, request: Request, handle: RunHandle | None = None) -> list[Event]:
        controls = getattr(request, "controls", None)
        return list(session.run(request, handle or RunHandle(request.run_id, controls)))

    return run


@pytest.fixture
def generating() -> Callable[..., GenerateRequest]:
    """A request; keywords that are controls go to the controls."""

    def make(**arguments: Any) -> GenerateRequest:
        names = SamplingControls.__dataclass_fields__
        controls = {"temperature": 0.0, "max_new_tokens": 12} | {
            name: arguments.pop(name) for name in tuple(arguments) if name in names
        }
        return GenerateRequest(run_id=new_run_id(), controls=SamplingControls(**controls), **arguments)

    return make
