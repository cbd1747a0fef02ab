"""Every family of models as a tiny random one, in real files, and the table that the tests of them write.

A test here takes ``case``, so it runs once for each family. By default all tests run for the families in
:data:`REPRESENTATIVES`, one for each mechanism, those marked ``every_family`` for all of them and those
marked ``slow_to_load`` for two;
``--families-table FILE`` runs everything and writes the outcomes into FILE.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from inference.errors import NotAvailable
from inference.events import (
    Event,
    Failed,
    GenerateRequest,
    LoadRequest,
    PromptScored,
    Request,
    SamplingControls,
    ScoreRequest,
    Token,
)
from inference.running import RunHandle, new_run_id
from inference.session import Session

#: As the tests' byte-level tokenizer cuts it, longer than every window and chunk below.
TEXT = "The quick brown fox reads a prompt, token by token, while the river flows to the sea: 你好 naïve."

SMALL: dict[str, Any] = {
    "vocab_size": 500,
    "hidden_size": 64,  # bitsandbytes packs 4 bits in blocks of 64
    "intermediate_size": 128,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
    "initializer_range": 0.2,  # distributions that are far from uniform
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
GPT = {"n_embd": 64, "n_head": 4, "n_layer": 3, "n_positions": 256, "rotary_dim": 4}
EXPERTS = {"num_experts": 4, "num_local_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 64}
HEAD = {"head_dim": 16}
WINDOW = {"sliding_window": 16}
LATENT = {
    "kv_lora_rank": 64,
    "q_lora_rank": 64,
    "qk_rope_head_dim": 8,
    "qk_nope_head_dim": 8,
    "v_head_dim": 16,
    "n_routed_experts": 4,
    "n_shared_experts": 1,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 64,
    "first_k_dense_replace": 1,
    "n_group": 1,
    "topk_group": 1,
    "num_key_value_heads": 4,
}
STATE = {"state_size": 8, "expand": 2, "num_heads": 8, "head_dim": 16, "n_groups": 1}
MAMBA = {"mamba_n_heads": 8, "mamba_d_head": 16, "mamba_d_state": 8, "mamba_n_groups": 1}
BLOOM = {"n_head": 4, "n_layer": 3}
MPT = {"d_model": 64, "n_heads": 4, "n_layers": 3, "max_seq_len": 256}
DBRX = {
    **MPT,
    "attn_config": {"kv_n_heads": 2, "clip_qkv": 8.0, "rope_theta": 10000.0},
    "ffn_config": {"hidden_size": 64, "ffn_hidden_size": 128, "moe_num_experts": 4, "moe_top_k": 2},
}

#: What a family can't do, by column of the table; the test then wants the app to say why.
NO_ATTENTION = frozenset(
    {"prefix", "steering", "attention maps"}
    | {"atman", "atman-coarse-to-fine", "atman-target-rows", "atman-first-order"}
)
#: A state that is carried along can't be taken back to where a prompt changes.
STATEFUL = frozenset({"prefix", "atman-target-rows"})
#: Layers that share keys can't be read from the middle on.
SHARED = frozenset({"prefix after a change", "atman-target-rows"})
#: A window that has moved on has forgotten the keys that an earlier place needs.
WINDOWED = frozenset({"prefix after a change"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """A row of the table.

    Attributes:
        name: How people call it.
        kind: transformers' model type.
        has: What is special in it.
        changes: To :data:`SMALL`.
        lacks: Columns that are not available.
        faults: Known faults: column -> what is wrong.
    """

    name: str
    kind: str
    has: str = ""
    changes: dict[str, Any] = field(default_factory=dict)
    lacks: frozenset[str] = frozenset()
    faults: dict[str, str] = field(default_factory=dict)


def _family(
    name: str,
    kind: str,
    has: str = "",
    *changes: dict[str, Any],
    lacks: frozenset[str] = frozenset(),
    faults: dict[str, str] | None = None,
    **more: Any,
) -> Family:
    merged: dict[str, Any] = {}
    for each in (*changes, more):
        merged |= each
    return Family(name=name, kind=kind, has=has, changes=merged, lacks=lacks, faults=faults or {})


FAMILIES = {
    family.name: family
    for family in (
        _family("Llama 1-3, Yi, XGen", "llama", "grouped queries, RoPE"),
        _family(
            "Llama 4",
            "llama4_text",
            "chunked attention, layers without positions, experts",
            EXPERTS,
            HEAD,
            attention_chunk_size=16,
            interleave_moe_layer_step=2,
            intermediate_size_mlp=128,
            lacks=WINDOWED,
        ),
        _family("Mistral", "mistral", "sliding window in every layer", WINDOW, lacks=WINDOWED),
        _family("Mixtral", "mixtral", "experts", EXPERTS),
        _family("Qwen 2, 2.5", "qwen2", "biased queries and keys"),
        _family(
            "Qwen 2 MoE", "qwen2_moe", "experts, a shared one", EXPERTS, shared_expert_intermediate_size=64
        ),
        _family("Qwen 3", "qwen3", "normed queries and keys", HEAD),
        _family("Qwen 3 MoE", "qwen3_moe", "experts", EXPERTS, HEAD),
        _family(
            "Qwen 3 Next",
            "qwen3_next",
            "hybrid: linear attention, experts",
            EXPERTS,
            HEAD,
            num_hidden_layers=4,
            linear_num_value_heads=4,
            linear_num_key_heads=2,
            linear_key_head_dim=16,
            linear_value_head_dim=16,
            shared_expert_intermediate_size=64,
            lacks=STATEFUL,
        ),
        _family("Phi 1, 1.5, 2", "phi", "parallel blocks, partly rotary"),
        _family("Phi 3, 4", "phi3", "joined projections"),
        _family("Phi 3.5 MoE", "phimoe", "experts", EXPERTS),
        _family("Gemma 1", "gemma", "scaled embeddings", HEAD),
        _family("Gemma 2", "gemma2", "soft-capping, alternating windows", HEAD, WINDOW, lacks=WINDOWED),
        _family(
            "Gemma 3", "gemma3_text", "two RoPE bases, alternating windows", HEAD, WINDOW, lacks=WINDOWED
        ),
        _family(
            "Gemma 3n",
            "gemma3n_text",
            "KV shared between layers, embeddings in every layer",
            HEAD,
            WINDOW,
            num_hidden_layers=4,
            num_kv_shared_layers=2,
            layer_types=["sliding_attention", "full_attention"] * 2,
            vocab_size_per_layer_input=500,
            hidden_size_per_layer_input=64,
            laurel_rank=64,
            activation_sparsity_pattern=None,
            altup_num_inputs=2,
            lacks=SHARED | {"logit lens"},
        ),
        _family("Falcon 7B", "falcon", "one KV head, parallel blocks"),
        _family(
            "Falcon RW", "falcon", "ALiBi", alibi=True, multi_query=False, parallel_attn=False, bias=True
        ),
        _family("Falcon 40B", "falcon", "two norms", new_decoder_architecture=True, num_kv_heads=2),
        _family("MPT", "mpt", "ALiBi", MPT),
        _family("GPT-NeoX (Pythia, Dolly, RedPajama)", "gpt_neox", "parallel blocks"),
        _family("GPT-NeoX, serial (StableLM-alpha)", "gpt_neox", "", use_parallel_residual=False),
        _family("StableLM 2", "stablelm", "partly rotary"),
        _family("OLMo 1", "olmo", "norms without weights"),
        _family("OLMo 2", "olmo2", "norms behind the blocks"),
        _family("OLMo 3", "olmo3", "windows", WINDOW, lacks=WINDOWED),
        _family("OLMoE", "olmoe", "experts", EXPERTS),
        _family(
            "Command R(+)", "cohere", "parallel blocks, scaled logits", logit_scale=1.0, use_qk_norm=True
        ),
        _family(
            "Command R7B, A",
            "cohere2",
            "windows, layers without positions",
            WINDOW,
            logit_scale=1.0,
            lacks=WINDOWED,
        ),
        _family("DBRX", "dbrx", "experts, clipped projections", DBRX),
        _family(
            "Jamba",
            "jamba",
            "hybrid: Mamba and attention, experts",
            EXPERTS,
            num_hidden_layers=4,
            mamba_d_state=8,
            attn_layer_period=2,
            attn_layer_offset=1,
            expert_layer_period=2,
            expert_layer_offset=1,
            lacks=STATEFUL,
        ),
        _family("Bamba", "bamba", "hybrid: Mamba 2", MAMBA, attn_layer_indices=[1], lacks=STATEFUL),
        _family("Falcon H1", "falcon_h1", "both in each layer", MAMBA, HEAD, mamba_d_ssm=128, lacks=STATEFUL),
        _family("StarCoder 1, SantaCoder", "gpt_bigcode", "one KV head", GPT),
        _family("StarCoder 2", "starcoder2", "biases, windows", WINDOW, lacks=WINDOWED),
        _family("SmolLM3", "smollm3", "layers without positions"),
        _family("GPT-2", "gpt2", "learned positions", GPT),
        _family("GPT-J", "gptj", "parallel blocks", GPT),
        _family(
            "GPT-Neo",
            "gpt_neo",
            "local layers",
            num_hidden_layers=4,
            num_layers=4,
            num_heads=4,
            attention_types=[[["global", "local"], 2]],
            window_size=16,
        ),
        _family("OPT", "opt", "learned positions", ffn_dim=128, word_embed_proj_dim=64),
        _family(
            "OPT 350M",
            "opt",
            "projected embeddings",
            ffn_dim=128,
            word_embed_proj_dim=64,
            hidden_size=128,
            do_layer_norm_before=False,
        ),
        _family("BLOOM", "bloom", "ALiBi from a 2-D mask", BLOOM),
        _family(
            "Granite",
            "granite",
            "multipliers",
            logits_scaling=0.5,
            residual_multiplier=0.5,
            embedding_multiplier=2.0,
            attention_multiplier=0.3,
        ),
        _family("Granite MoE", "granitemoe", "experts", EXPERTS),
        _family(
            "Granite 4",
            "granitemoehybrid",
            "hybrid: Mamba 2, experts",
            EXPERTS,
            MAMBA,
            layer_types=["mamba", "attention", "mamba"],
            shared_intermediate_size=64,
            lacks=STATEFUL,
        ),
        _family("DeepSeek V2", "deepseek_v2", "latent attention, experts", LATENT),
        _family("DeepSeek V3", "deepseek_v3", "latent attention, experts", LATENT),
        _family("Persimmon", "persimmon", "squared ReLU"),
        _family("JetMoE", "jetmoe", "experts of attention, too", EXPERTS, kv_channels=16),
        _family("GLM 4 (9B)", "glm", "partly rotary", HEAD),
        _family("GLM 4 (0414)", "glm4", "four norms", HEAD),
        _family(
            "GLM 4.5",
            "glm4_moe",
            "experts",
            EXPERTS,
            HEAD,
            n_routed_experts=4,
            first_k_dense_replace=1,
            n_group=1,
            topk_group=1,
        ),
        _family(
            "gpt-oss", "gpt_oss", "attention sinks, windows, experts", EXPERTS, HEAD, WINDOW, lacks=WINDOWED
        ),
        _family("EXAONE 4", "exaone4", "windows", WINDOW, num_hidden_layers=4, lacks=WINDOWED),
        _family("Nemotron", "nemotron", "norms around 1"),
        _family("Seed-OSS", "seed_oss", "", HEAD),
        _family(
            "LFM 2",
            "lfm2",
            "hybrid: convolutions",
            layer_types=["conv", "full_attention", "conv"],
            lacks=STATEFUL,
        ),
        _family("RWKV 4", "rwkv", "recurrent", attention_hidden_size=64, lacks=NO_ATTENTION - {"prefix"}),
        _family("Mamba", "mamba", "state space", STATE, lacks=NO_ATTENTION),
        _family("Mamba 2", "mamba2", "state space", STATE, lacks=NO_ATTENTION),
        _family("Falcon Mamba", "falcon_mamba", "state space", STATE, lacks=NO_ATTENTION),
    )
}

#: The families that run every test in the ordinary suite: one for each mechanism.
REPRESENTATIVES = (
    "Llama 1-3, Yi, XGen",
    "Llama 4",
    "Mistral",
    "Gemma 2",
    "Gemma 3n",
    "MPT",
    "Phi 1, 1.5, 2",
    "Jamba",
    "BLOOM",
    "DeepSeek V3",
    "gpt-oss",
    "Mamba",
)


class Case:
    """A family's tiny model: the original, its folder, and a session that has loaded it from there.

    Attributes:
        family: The row.
        original: The model that was saved; the oracle, never touched by the engine.
        folder: Where it was saved, with a tokenizer and a chat template.
        session: Has it loaded.
        ids: :data:`TEXT` in tokens.
        text: The raw prompt of most tests.
    """

    def __init__(self, family: Family, original: Any, folder: Path, ids: list[int]) -> None:
        self.family = family
        self.original = original
        self.folder = folder
        self.ids = ids
        self.text = TEXT
        self.session = Session()
        self.run(self.session, LoadRequest(run_id=new_run_id(), model=str(folder), device="cpu"))

    @property
    def model(self) -> Any:
        """The model that the session works on."""
        return self.session.require_engine().loaded.model

    def fresh(self) -> Session:
        """Another session on the same model, which has read nothing yet."""
        session, loaded = Session(), self.session.loaded
        assert loaded is not None
        session.use(loaded)
        return session

    def run(self, session: Session, request: Request, handle: RunHandle | None = None) -> list[Event]:
        """Run a request to its end, which must be a good one.

        Raises:
            NotAvailable: The app says that the family can't do this.
        """
        controls = getattr(request, "controls", None)
        events = list(session.run(request, handle or RunHandle(request.run_id, controls)))
        end = events[-1]
        if isinstance(end, Failed):
            if end.kind == NotAvailable.kind:
                raise NotAvailable(end.message)
            raise AssertionError(f"{end.kind}: {end.message}\n{end.details}")
        return events

    def tokens(self, session: Session, **options: Any) -> list[Token]:
        """What the session writes behind a prompt, greedily unless told otherwise."""
        controls = SamplingControls(**{"temperature": 0.0, "max_new_tokens": 8} | options.pop("controls", {}))
        request = GenerateRequest(run_id=new_run_id(), controls=controls, candidates=3, **options)
        return [event for event in self.run(session, request) if isinstance(event, Token)]

    def logprobs(self, **options: Any) -> list[float]:
        """The raw log-probability of each token of the text but the first."""
        request = ScoreRequest(run_id=new_run_id(), prompt=self.text, candidates=1, **options)
        scored = next(e for e in self.run(self.fresh(), request) if isinstance(e, PromptScored))
        return [float(token.raw_logprob) for token in scored.tokens[1:] if token.raw_logprob is not None]

    def teacher_forced(self, ids: list[int]) -> Any:
        """transformers' own log-probabilities (tokens, vocabulary) in one pass over the original."""
        import torch

        with torch.no_grad():
            logits = self.original(input_ids=torch.tensor([ids]), use_cache=False).logits[0]
        return logits.float().log_softmax(-1)


def random_model(family: Family) -> Any:
    """The family's model with random weights, the same at every run."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    torch.manual_seed(3)
    config = type(AutoConfig.for_model(family.kind))(**SMALL | family.changes)
    model = AutoModelForCausalLM.from_config(config).float().eval().requires_grad_(False)
    for parameter in model.parameters():  # what starts as zeros or ones: biases, norms, sinks
        if bool((parameter == parameter.flatten()[0]).all()):
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model


@pytest.fixture(scope="session")
def case(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, byte_tokenizer: Any
) -> Iterator[Case]:
    """The family that a test runs for."""
    import torch
    from transformers.utils import logging

    verbosity, threads = logging.get_verbosity(), torch.get_num_threads()
    logging.set_verbosity_error()
    torch.set_num_threads(1)
    family = FAMILIES[request.param]
    folder = tmp_path_factory.mktemp("family")
    model = random_model(family)
    model.save_pretrained(folder)
    byte_tokenizer.save_pretrained(folder)
    yield Case(family, model, folder, list(byte_tokenizer(TEXT)["input_ids"]))
    shutil.rmtree(folder)
    logging.set_verbosity(verbosity)
    torch.set_num_threads(threads)


@pytest.fixture
def note(request: pytest.FixtureRequest) -> Callable[[str], None]:
    """``note(words)``: what the table says of this test if it passes, in place of "works"."""
    return lambda words: request.node.user_properties.append(("cell", words))


@pytest.fixture
def unless_lacking(
    case: Case, request: pytest.FixtureRequest, note: Callable[[str], None]
) -> Callable[[Callable[[], Any]], Any]:
    """``unless_lacking(call)``: what the call returns; where the family lacks the test's column, the app must
    say why instead, and None is returned.
    """
    column = request.node.get_closest_marker("column").args[0]

    def attempt(call: Callable[[], Any]) -> Any:
        if column not in case.family.lacks:
            return call()
        with pytest.raises(NotAvailable) as problem:
            call()
        note(f"not available: {problem.value.message}")
        return None

    return attempt


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run what takes ``case`` for the families that it is for."""
    if "case" not in metafunc.fixturenames:
        return
    mixtures = next(metafunc.definition.iter_markers("mixtures"), None) is not None
    everywhere = metafunc.config.getoption("families_table", None) is not None
    if everywhere or next(metafunc.definition.iter_markers("every_family"), None) is not None:
        names: tuple[str, ...] = tuple(FAMILIES)
    elif next(metafunc.definition.iter_markers("slow_to_load"), None) is not None:
        names = ("Mamba", "gpt-oss")
    else:
        names = REPRESENTATIVES
    if mixtures:
        names = tuple(name for name, family in FAMILIES.items() if "expert" in family.has)
    metafunc.parametrize("case", names, indirect=True)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Known faults must fail, so that one that is mended is noticed."""
    for item in items:
        name = getattr(item, "callspec", None) and item.callspec.params.get("case")  # type: ignore[attr-defined]
        column = item.get_closest_marker("column")
        if name in FAMILIES and column is not None:
            fault = FAMILIES[name].faults.get(column.args[0])
            if fault:
                item.add_marker(pytest.mark.xfail(strict=True, reason=fault))


def pytest_addoption(parser: pytest.Parser) -> None:
    """``--families-table FILE``: run everything for every family, and write the table."""
    parser.addoption("--families-table", default=None, help="run every family and write the table there")


COLUMNS = (
    "load, unload",
    "chat and raw",
    "greedy",
    "probabilities",
    "prefix",
    "live controls",
    "steering",
    "atman",
    "atman-coarse-to-fine",
    "atman-target-rows",
    "atman-first-order",
    "leave-one-out",
    "re-embedding",
    "gradient-x-input",
    "integrated-gradients",
    "logit lens",
    "attention maps",
    "experts",
    "int8",
    "nf4",
)
#: What the tests of a family and a column came to, worst last.
_outcomes: dict[tuple[str, str], list[str]] = {}


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    """Collect the outcomes for the table."""
    report = (yield).get_result()  # type: ignore[attr-defined]
    column = item.get_closest_marker("column")
    name = item.callspec.params.get("case") if hasattr(item, "callspec") else None
    if column is None or name is None or (report.when != "call" and report.passed):
        return
    if hasattr(report, "wasxfail"):
        cell = f"known fault: {report.wasxfail}"
    elif report.failed:
        cell = "fails"
    else:
        cell = dict(item.user_properties).get("cell", "works")
    _outcomes.setdefault((name, column.args[0]), []).append(cell)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Write the table where that was asked for."""
    file = session.config.getoption("families_table", None)
    if file is not None and _outcomes:
        Path(file).write_text(_table(), "utf-8")


def _table() -> str:
    """The outcomes in Markdown: a mark in each cell, and what the marks mean below."""
    import torch
    import transformers

    notes: dict[str, int] = {}

    def mark(cells: list[str]) -> str:
        cell = next((each for each in cells if each != "works"), "works")
        if cell in ("works", "fails", "–"):
            return {"works": "✓", "fails": "✗", "–": ""}[cell]
        sign = {"not": "–", "kno": "!"}.get(cell[:3], "✓")
        return f"{sign} {notes.setdefault(cell, len(notes) + 1)}"

    rows = [
        f"| {family.name} | `{family.kind}` | {family.has} | "
        + " | ".join(mark(_outcomes.get((family.name, column), ["fails"])) for column in COLUMNS)
        + " |"
        for family in FAMILIES.values()
    ]
    head = "| family | model type | what is special | " + " | ".join(COLUMNS) + " |"
    lines = [
        *INTRODUCTION.format(
            transformers=transformers.__version__, torch=torch.__version__.split("+")[0]
        ).splitlines()
    ]
    lines += ["", head, "|" + " --- |" * (3 + len(COLUMNS)), *rows, ""]
    for note, number in notes.items():
        words = note.removeprefix("not available: ")
        lines.append(f"{number}. {words[0].upper()}{words[1:]}")
    return "\n".join(lines) + "\n"


INTRODUCTION = """# Families of models

Written by `make families` with transformers {transformers} and torch {torch}: a tiny model with random
weights of every family is made from its config, saved, loaded by the app and put through everything below.
The tests are in `tests/inference/families`; the ordinary suite runs all of them for one family of each
mechanism, and those of writing, probabilities, steering, lens and attention maps for every family. What
transformers adds later is loaded by default; the few families that need a word of their own are listed in
`inference/models/exceptions.py`, with the reason for each.

Speed: single tokens on a CPU are read without transformers' layers in 58 of these 61 families: four built
like Llama by `inference/passes/cpu_step.py`, the others by what the model's own forward was seen to call
(`inference/passes/recording.py`); Llama 4, JetMoE and RWKV are left to transformers, and the
log and the model card say why. Measured on
2026-11-23 on 2 cores, random weights of bfloat16, 8 layers of 512, against a Llama that reads as many
weights in the same run (`python -m inference bench families --rounds 3 --new-tokens 32`, in two halves;
Llama 105 tokens/s): Bloom 1.06, OPT 1.02, GPT-2 1.01, Qwen 2 1.00, Phi 3 0.99, MPT 0.96, Cohere 0.95,
StableLM 0.95, Granite 0.95, Phi 0.95, Qwen 3 0.95, OLMo 2 0.94, GLM 0.93, Mistral 0.93, GPT-NeoX 0.93,
Falcon 0.91, GPT-J 0.90, Gemma 2 0.88, Gemma 3 0.87, Mixtral (by active weights) 0.86, LFM 2 0.82, Mamba
0.73 (by the token, at fewer weights, 0.97 and 0.96). On an H200 in bfloat16 (16 layers of 2048, captured,
one round, Llama 1,360 tokens/s; `--device cuda --width 2048 --layers 16 --new-tokens 128 --bare-tokens 6
--rounds 1`, 2026-11-24, torch 2.11): Mistral 1.01, Gemma 2 0.92, Cohere 0.89, Phi 0.75, Falcon 0.70,
OPT 0.70, StarCoder 2 0.62 (fewer: 0.80 by the token), GPT-NeoX 0.62 and Mixtral 0.30, whose experts are not
fused; the day before Qwen 3 0.99 and Phi 3 0.96, Cohere and GPT-NeoX 0.37 before their layers were fused.
Since 2026-11-24 the layers of Cohere, GPT-NeoX, Phi, Falcon, StarCoder 2, OPT and StableLM are
fused, too, each proven against its own forward when a model is loaded.

✓ works, – not available (the app says why, as below), ! known fault, ✗ fails.

- greedy: the tokens that transformers' `generate` writes; probabilities: those of teacher forcing in one
  pass.
- prefix: what was read is not read again when a text goes on, or changes; the same tokens come out.
- steering: factors leave earlier positions alone, change later ones by degrees, 1 changes nothing, and 0 is
  the same as hiding the tokens from transformers' own model; log-additive and multiplicative.
- The methods of explanation: all scores are finite; AtMan's equal those of steering, leave-one-out's those
  of transformers without the token, gradient x input's those of finite differences.
- logit lens: the last row is what the model says; attention maps: what `output_attentions` tells.
- experts: the routing adds up, and an expert that is switched off is one whose last matrix is zero.
- int8, nf4: bitsandbytes on a CPU, in less memory, near what the whole weights say.

Not in the table: Qwen 1 (its code comes with its weights and is never run here), StableLM-alpha, RedPajama,
Dolly and Pythia (GPT-NeoX), Yi and XGen (Llama)."""
