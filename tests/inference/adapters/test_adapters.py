"""Adapters on a model: the same logits as peft's, live switching, and nothing left when they are off."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from torch import Tensor
from transformers import AutoModelForCausalLM, BitsAndBytesConfig, LlamaConfig, LlamaForCausalLM

from inference.engine import Engine
from inference.events import (
    AdapterScale,
    AdaptersChanged,
    AdaptersCompared,
    CompareAdaptersRequest,
    ControlsChanged,
    DetachAdapterRequest,
    ExplainRequest,
    Explanation,
    Failed,
    Finished,
    GenerateRequest,
    PromptScored,
    SamplingControls,
    ScoreRequest,
    SetAdaptersRequest,
    Started,
    Token,
)
from inference.models.loaded_model import LoadedModel
from inference.running import RunHandle, new_run_id
from inference.session import Session

PROMPT = "The quick brown fox jumps over the lazy dog"

# Of peft, the oracle.
pytestmark = [
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
]


@torch.inference_mode()
def logits_of(model: Any, ids: list[int]) -> Tensor:
    return model(input_ids=torch.tensor([ids]), use_cache=False).logits[0]


def ids_of(session: Session, text: str = PROMPT) -> list[int]:
    return list(session.require_engine().loaded.tokenizer(text)["input_ids"])


def said(events: list[Any]) -> list[int]:
    return [event.id for event in events if isinstance(event, Token)]


def on(*names: str, scale: float = 1.0) -> tuple[AdapterScale, ...]:
    return tuple(AdapterScale(name=name, scale=scale) for name in names)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"use_rslora": True},
        {"target_modules": "all-linear"},
        {"target_modules": ["q_proj", "embed_tokens", "lm_head"]},
        {"rank_pattern": {"layers.1.self_attn.q_proj": 2}, "alpha_pattern": {"down_proj": 5}},
        {"lora_bias": True},
        {"modules_to_save": ["lm_head"]},
    ],
    ids=str,
)
def test_logits_are_those_of_peft_and_of_the_merged_model(
    session: Session, make_adapter: Any, by_peft: Any, attach: Any, settings: dict[str, Any]
) -> None:
    model, ids = session.require_engine().loaded.model, ids_of(session)
    base = logits_of(model, ids)
    folder = make_adapter(model, **settings)
    expected = by_peft(model, folder)
    attach(session, folder)

    with_adapter = logits_of(model, ids)
    torch.testing.assert_close(with_adapter, logits_of(expected, ids), rtol=0, atol=1e-5)
    if "lora_bias" not in settings:  # a Llama's layers have no bias to merge it into
        merged = logits_of(expected.merge_and_unload(), ids)
        torch.testing.assert_close(with_adapter, merged, rtol=0, atol=1e-4)
    assert (with_adapter - base).abs().max() > 0.1

    session.require_engine().use_adapters(())
    assert torch.equal(logits_of(model, ids), base)


def test_gpt2_has_its_matrices_the_other_way_round(
    families: Any, as_loaded: Any, make_adapter: Any, by_peft: Any, attach: Any
) -> None:
    model, session = families["gpt2"], Session()
    session.use(as_loaded(model))
    folder = make_adapter(model, target_modules=["c_attn", "c_proj"], fan_in_fan_out=True)
    attach(session, folder)
    ids = ids_of(session)
    torch.testing.assert_close(
        logits_of(model, ids), logits_of(by_peft(model, folder), ids), rtol=0, atol=1e-5
    )
    session.close()
    assert not any(module._forward_hooks for module in model.modules())


def test_several_adapters_add_up_each_at_its_scale(
    session: Session, make_adapter: Any, by_peft: Any, attach: Any
) -> None:
    model, ids = session.require_engine().loaded.model, ids_of(session)
    one, other = make_adapter(model, "one"), make_adapter(model, "other", seed=2)
    attach(session, one)
    changed = next(e for e in attach(session, other, 0.5) if isinstance(e, AdaptersChanged))
    assert [each.name for each in changed.attached] == ["one", "other"]
    assert changed.active == (*on("one"), *on("other", scale=0.5))

    expected = by_peft(model, one, other)
    for module in expected.modules():
        if hasattr(module, "set_scale"):
            module.set_scale("1", 0.5)
    torch.testing.assert_close(logits_of(model, ids), logits_of(expected, ids), rtol=0, atol=1e-5)


@pytest.mark.parametrize("bits", ["int8", "nf4"])
def test_a_quantized_base(bits: str, as_loaded: Any, make_adapter: Any, attach: Any, tmp_path: Path) -> None:
    sizes = {"vocab_size": 500, "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2}
    whole = LlamaForCausalLM(LlamaConfig(**sizes, num_attention_heads=4, initializer_range=0.2)).eval()
    whole.save_pretrained(tmp_path / "base")
    packing = (
        BitsAndBytesConfig(load_in_8bit=True)
        if bits == "int8"
        else BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4")
    )

    def load() -> Any:
        return AutoModelForCausalLM.from_pretrained(
            tmp_path / "base", quantization_config=packing, dtype=torch.float32, device_map="cpu"
        ).eval()

    model, session = load(), Session()
    session.use(as_loaded(model))
    folder = make_adapter(whole)
    ids = ids_of(session)
    base = logits_of(model, ids)
    attach(session, folder)
    expected = PeftModel.from_pretrained(load(), folder).eval()
    torch.testing.assert_close(logits_of(model, ids), logits_of(expected, ids), rtol=0, atol=1e-4)
    session.require_engine().use_adapters(())
    assert torch.equal(logits_of(model, ids), base)


def test_a_reply_is_that_of_peft_on_every_path(
    session: Session,
    llama: LoadedModel,
    make_adapter: Any,
    by_peft: Any,
    attach: Any,
    run: Any,
    generating: Any,
) -> None:
    """The fast step of a CPU and the buffers of a captured step would pass the adapter by."""
    model = llama.model
    folder = make_adapter(model)
    ids = torch.tensor([ids_of(session)])
    peft = by_peft(model, folder)
    expected = peft.generate(input_ids=ids, max_new_tokens=12, do_sample=False, eos_token_id=[2, 6])[0]
    wanted = expected[ids.shape[1] :].tolist()

    plain = said(run(session, generating(prompt=PROMPT)))
    assert session.require_engine().forward.step is not None
    attach(session, folder)
    assert said(run(session, generating(prompt=PROMPT))) == wanted != plain
    assert said(run(session, generating(prompt=PROMPT, adapters=()))) == plain

    buffered = Session()
    buffered.engine = Engine(llama, steps="uncaptured")
    attach(buffered, folder)
    events = run(buffered, generating(prompt=PROMPT))
    assert said(events) == wanted
    assert events[-1].path == "captured"
    assert said(run(buffered, generating(prompt=PROMPT, adapters=()))) == plain


@pytest.mark.parametrize("steps", ["plain", "uncaptured"])
def test_switching_acts_on_the_very_next_token(
    steps: Any, llama: LoadedModel, make_adapter: Any, by_peft: Any, attach: Any, generating: Any, run: Any
) -> None:
    """Keys and values that were read before stay as they were: so does the oracle's cache."""
    session = Session()
    session.engine = Engine(llama, steps=steps)
    folder = make_adapter(llama.model)
    attach(session, folder)
    request = generating(prompt=PROMPT, max_new_tokens=8, adapters=())
    handle = RunHandle(request.run_id, request.controls)
    events = []
    for event in session.run(request, handle):
        events.append(event)
        if isinstance(event, Token) and event.index == 3:
            handle.controls = SamplingControls(temperature=0.0, max_new_tokens=8, adapters=on("pirate"))
    tokens = [event for event in events if isinstance(event, Token)]
    change = next(event for event in events if isinstance(event, ControlsChanged))
    assert (change.index, change.changes) == (4, (("adapters", "none", "pirate"),))

    read = [*ids_of(session), *(token.id for token in tokens[:4])]
    adapted, base = by_peft(llama.model, folder), by_peft(llama.model, folder).unload()
    expected = [*_teacher_forced(base, adapted, read, tokens[4:])]
    got = [token.raw_logprob for token in tokens[4:]]
    assert got == pytest.approx(expected, abs=1e-4)

    end = events[-1]
    assert isinstance(end, Finished)
    assert end.path == "plain"
    assert bool(end.path_reason) == (steps == "uncaptured")
    # What was read under a mixture of states is not what any other run has to read.
    again = run(session, generating(prompt=PROMPT + "".join(token.text for token in tokens[:6])))
    started = next(event for event in again if isinstance(event, Started))
    assert started.reused_tokens == 0
    assert started.adapters == on("pirate")


@torch.inference_mode()
def _teacher_forced(base: Any, adapted: Any, read: list[int], tokens: list[Token]) -> Iterator[float]:
    """Log-probabilities of tokens under the adapter, behind a text that the base model has read but for its
    last token.
    """
    cache = base(input_ids=torch.tensor([read[:-1]]), use_cache=True).past_key_values
    last = read[-1]
    for token in tokens:
        logits = adapted(input_ids=torch.tensor([[last]]), past_key_values=cache, use_cache=True).logits
        yield float(logits[0, -1].log_softmax(-1)[token.id])
        last = token.id


def test_a_prefix_is_reused_only_under_the_same_adapters(
    session: Session, make_adapter: Any, attach: Any, run: Any, generating: Any, llama: LoadedModel
) -> None:
    attach(session, make_adapter(llama.model))

    def reused(adapters: tuple[AdapterScale, ...]) -> int:
        events = run(session, generating(prompt=PROMPT, adapters=adapters))
        return next(event.reused_tokens for event in events if isinstance(event, Started))

    assert reused(()) == 0
    assert reused(()) > 0
    assert reused(on("pirate")) == 0
    assert reused(on("pirate")) > 0
    assert reused(on("pirate", scale=0.5)) == 0
    assert reused(()) == 0


def test_scores_and_explanations_are_those_under_the_adapter(
    session: Session, make_adapter: Any, by_peft: Any, attach: Any, run: Any, llama: LoadedModel
) -> None:
    folder = make_adapter(llama.model)
    ids = ids_of(session)
    attach(session, folder)
    expected = logits_of(by_peft(llama.model, folder), ids).log_softmax(-1)
    scored = next(
        event
        for event in run(session, ScoreRequest(run_id=new_run_id(), prompt=PROMPT))
        if isinstance(event, PromptScored)
    )
    wanted = [float(expected[place, token]) for place, token in enumerate(ids[1:])]
    assert [token.raw_logprob for token in scored.tokens[1:]] == pytest.approx(wanted, abs=1e-4)

    def scores() -> tuple[Any, ...]:
        request = ExplainRequest(
            run_id=new_run_id(), method="gradient-x-input", prompt=PROMPT, target=" and", granularity="token"
        )
        return next(event.scores for event in run(session, request) if isinstance(event, Explanation))

    with_it = scores()
    run(session, SetAdaptersRequest(run_id=new_run_id()))
    assert scores() != with_it


def test_both_distributions_side_by_side(
    session: Session, make_adapter: Any, by_peft: Any, attach: Any, run: Any, llama: LoadedModel
) -> None:
    folder = make_adapter(llama.model)
    attach(session, folder)
    request = CompareAdaptersRequest(
        run_id=new_run_id(), prompt=PROMPT, reply_text=" and reads", candidates=5
    )
    got = next(event for event in run(session, request) if isinstance(event, AdaptersCompared))

    ids = [*ids_of(session, PROMPT), *ids_of(session, " and reads")]
    base = logits_of(by_peft(llama.model, folder).unload(), ids).log_softmax(-1)
    adapted = logits_of(by_peft(llama.model, folder), ids).log_softmax(-1)
    assert [token.id for token in got.tokens] == ids[-len(got.tokens) :]
    for token in got.tokens:
        assert token.base == pytest.approx(float(base[token.index - 1, token.id]), abs=1e-4)
        assert token.adapted == pytest.approx(float(adapted[token.index - 1, token.id]), abs=1e-4)
    top = {*base[-1].topk(5).indices.tolist(), *adapted[-1].topk(5).indices.tolist()}
    assert {each.id for each in got.following} == top
    for each in got.following:
        assert each.base == pytest.approx(float(base[-1, each.id]), abs=1e-4)
        assert each.adapted == pytest.approx(float(adapted[-1, each.id]), abs=1e-4)
    kl = float((adapted[-1].exp() * (adapted[-1] - base[-1])).sum())
    assert got.divergence == pytest.approx(kl, abs=1e-4)
    assert session.require_engine().adapters.active == on("pirate")


def test_adapters_of_one_name_are_told_apart_and_taken_off(
    session: Session, make_adapter: Any, attach: Any, run: Any, llama: LoadedModel, tmp_path: Path
) -> None:
    memory = session.require_engine().memory().weights
    first, second = make_adapter(llama.model, "a/last"), make_adapter(llama.model, "b/last", seed=2)
    attach(session, first)
    changed = next(e for e in attach(session, second) if isinstance(e, AdaptersChanged))
    assert [each.name for each in changed.attached] == ["last", "last (2)"]
    held = sum(each.memory for each in changed.attached)
    assert session.require_engine().memory().weights == memory + held
    assert len(next(e for e in attach(session, first) if isinstance(e, AdaptersChanged)).attached) == 2

    events = run(session, DetachAdapterRequest(run_id=new_run_id(), name="last"))
    changed = next(e for e in events if isinstance(e, AdaptersChanged))
    assert [each.name for each in changed.attached] == ["last (2)"]
    assert changed.active == on("last (2)")
    failed = run(
        session, GenerateRequest(run_id=1, prompt="x", controls=SamplingControls(adapters=on("last")))
    )
    assert isinstance(failed[-1], Failed)
    assert failed[-1].kind == "invalid-request"
