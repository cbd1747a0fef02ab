"""GGUF files: their header, their weights, and what is said of damaged ones."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import gguf
import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers

from inference.catalog import find_model, inspect
from inference.errors import ModelDamaged, ModelUnsupported, OutOfMemory
from inference.events import InspectRequest, Progress
from inference.models import estimates
from inference.models.gguf_files import read_header
from inference.models.loaded_model import LoadedModel
from inference.models.quantization import check_quantization

from .conftest import random_model, save_tokenizer, write_gguf

Load = Callable[..., LoadedModel]
TEXT = torch.arange(40).view(1, -1) * 7 % 500


@pytest.fixture(params=[True, False], ids=["tied", "untied"])
def tiny(request: pytest.FixtureRequest) -> torch.nn.Module:
    """A Llama whose weights the GGUF files hold."""
    model: torch.nn.Module = random_model("llama", "float32", tie_word_embeddings=request.param)
    return model.eval()


@pytest.fixture
def gguf_file(tmp_path: Path) -> Path:
    """A whole file."""
    write_gguf(random_model("llama", "float32"), tmp_path / "tiny.gguf", kind="Q8_0")
    return tmp_path / "tiny.gguf"


@pytest.mark.parametrize(("kind", "tolerance"), [("F32", 1e-5), ("F16", 5e-3), ("Q8_0", 5e-2)])
def test_a_loaded_gguf_computes_what_its_source_computes(
    tiny: torch.nn.Module, tmp_path: Path, load_model: Load, kind: str, tolerance: float
) -> None:
    write_gguf(tiny, tmp_path / "tiny.gguf", kind=kind)
    loaded = load_model(tmp_path / "tiny.gguf")
    with torch.no_grad():
        torch.testing.assert_close(
            loaded.model(TEXT).logits, tiny(TEXT).logits, rtol=tolerance, atol=tolerance
        )
    assert loaded.dtype == torch.float32
    assert loaded.eos_ids == {1}
    assert loaded.tokenizer.decode(loaded.tokenizer("naïve text").input_ids) == "naïve text"


@pytest.mark.parametrize("quantization", ["int8", "nf4"])
def test_a_gguf_can_be_packed_again(gguf_file: Path, load_model: Load, quantization: str) -> None:
    request = InspectRequest(
        run_id=1, model=str(gguf_file), quantization=check_quantization(quantization), device="cpu"
    )
    loaded = load_model(gguf_file, quantization=quantization)
    assert inspect(request).estimate.weights == pytest.approx(loaded.weight_bytes(), rel=0.01)
    plain = load_model(gguf_file)
    with torch.no_grad():
        packed, whole = loaded.model(TEXT).logits, plain.model(TEXT).logits
    assert torch.nn.functional.cosine_similarity(packed, whole, dim=-1).min() > 0.9


def test_the_memory_of_every_way_is_told_first(gguf_file: Path) -> None:
    """Packing again takes the unpacked weights, too, while it goes on."""
    told = inspect(InspectRequest(run_id=1, model=str(gguf_file), device="cpu"))
    ways = {way.quantization: way for way in told.ways}
    assert ways["none"].total == told.estimate.total
    # Of a tiny model the libraries that pack take more than is saved; its weights do not.
    told_of = {
        way: inspect(InspectRequest(run_id=1, model=str(gguf_file), quantization=way, device="cpu")).estimate
        for way in ways
    }
    assert all(told_of[way].total == ways[way].total for way in ways)
    assert told_of["nf4"].weights < told_of["int8"].weights < told_of["none"].weights
    assert told_of["bf16"].weights < told_of["none"].weights
    assert all(way.fits for way in told.ways)
    packed = inspect(
        InspectRequest(run_id=1, model=str(gguf_file), quantization="nf4", device="cpu")
    ).estimate
    assert packed.loading >= told.estimate.weights + packed.weights + packed.overhead


def test_what_can_not_be_unpacked_is_refused_before_it_is_read(gguf_file: Path) -> None:
    files = find_model(str(gguf_file))

    def plan(free: int) -> estimates.LoadPlan:
        return estimates.plan(files, quantization="nf4", device="cpu", context_length=None, free=free)

    roomy = plan(10**9).estimate
    assert roomy.total < roomy.loading
    with pytest.raises(OutOfMemory, match="Unpacking"):
        estimates.refuse_if_too_big(files, plan((roomy.total + roomy.loading) // 2))


def test_template_and_tokenizer_come_from_the_file(tmp_path: Path, load_model: Load) -> None:
    """The tokens are those that its own vocabulary and merges give in the reference implementation."""
    template = "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}"
    write_gguf(random_model("llama", "float32"), tmp_path / "tiny.gguf", template=template)
    loaded = load_model(tmp_path / "tiny.gguf")
    assert loaded.tokenizer.chat_template == template
    assert loaded.note == ""
    words = gguf.GGUFReader(tmp_path / "tiny.gguf").fields["tokenizer.ggml.tokens"].contents()
    reference = Tokenizer(models.BPE(vocab={word: i for i, word in enumerate(words)}, merges=[("a", "b")]))
    reference.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    for text in ("about cab, abba", "naïve 你好 🦊\n\tx"):
        assert loaded.tokenizer(text, add_special_tokens=False)["input_ids"] == reference.encode(text).ids


def test_a_tokenizer_that_changes_texts_is_told(tmp_path: Path, load_model: Load) -> None:
    write_gguf(random_model("llama", "float32"), tmp_path / "tiny.gguf", leave_out="T")
    assert "changes texts" in load_model(tmp_path / "tiny.gguf").note


def test_unpacking_is_told_in_bytes(gguf_file: Path, load_model: Load) -> None:
    told: list[Progress] = []
    load_model(gguf_file, told)
    last = [event for event in told if event.unit == "bytes"][-1]
    assert 0 < last.done <= last.total == gguf_file.stat().st_size


def test_the_header_says_what_the_model_is(gguf_file: Path) -> None:
    info = inspect(InspectRequest(run_id=1, model=str(gguf_file), device="cpu")).info
    model = random_model("llama")
    assert (info.name, info.architecture, info.format, info.stored_dtype) == ("tiny", "llama", "gguf", "Q8_0")
    assert info.parameters == sum(p.numel() for p in model.parameters())
    assert (info.layers, info.hidden_size, info.context_length, info.vocabulary) == (2, 64, 128, 512)
    assert (info.licence, info.has_chat_template) == ("mit", False)


def test_the_header_agrees_with_the_reference_reader(gguf_file: Path) -> None:
    import gguf

    reference = gguf.GGUFReader(gguf_file)
    ours = {tensor.name: (tensor.elements, tensor.nbytes) for tensor in read_header(gguf_file).tensors}
    assert ours == {
        tensor.name: (int(tensor.n_elements), int(tensor.n_bytes)) for tensor in reference.tensors
    }


def test_a_folder_with_one_gguf_is_that_model(gguf_file: Path) -> None:
    assert find_model(str(gguf_file.parent)).checkpoint.files == (gguf_file,)


def test_files_of_other_models_in_the_same_folder_are_not_taken(gguf_file: Path, load_model: Load) -> None:
    folder = gguf_file.parent
    save_tokenizer(folder, size=300)
    (folder / "adapter_config.json").write_text('{"base_model_name_or_path": "someone/else"}')
    (folder / "generation_config.json").write_text('{"eos_token_id": 77}')
    loaded = load_model(gguf_file)
    assert len(loaded.tokenizer.get_vocab()) > 500
    assert loaded.eos_ids == {1}


def test_every_truncation_is_told_as_damage(gguf_file: Path) -> None:
    whole = gguf_file.read_bytes()
    for length in (1, 4, 7, 20, 25, 100, 5_000, len(whole) // 2, len(whole) - 1):
        gguf_file.write_bytes(whole[:length])
        with pytest.raises(ModelDamaged):
            read_header(gguf_file)


def test_random_bytes_in_the_header_never_escape_as_another_error(gguf_file: Path) -> None:
    import random

    whole, source = gguf_file.read_bytes(), random.Random(0)
    for _ in range(200):
        data = bytearray(whole)
        for _ in range(8):
            data[source.randrange(4, 4000)] = source.randrange(256)
        gguf_file.write_bytes(data)
        try:
            read_header(gguf_file)
        except (ModelDamaged, ModelUnsupported):
            continue


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"", ModelDamaged),
        (b"not a model", ModelDamaged),
        (b"GGUF" + (99).to_bytes(4, "little") + bytes(16), ModelUnsupported),
    ],
)
def test_what_is_no_gguf_is_told(tmp_path: Path, content: bytes, kind: type[Exception]) -> None:
    (tmp_path / "bad.gguf").write_bytes(content)
    with pytest.raises(kind):
        find_model(str(tmp_path / "bad.gguf"))


def test_an_unknown_architecture_is_told(tmp_path: Path, load_model: Load) -> None:
    import gguf
    import numpy as np

    writer = gguf.GGUFWriter(tmp_path / "odd.gguf", "no-such-architecture")
    writer.add_block_count(2)
    writer.add_tensor("token_embd.weight", np.zeros((8, 4), np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    with pytest.raises(ModelUnsupported, match="no-such-architecture"):
        load_model(tmp_path / "odd.gguf")


def test_a_part_of_a_split_file_says_how_to_join(tmp_path: Path) -> None:
    import gguf

    writer = gguf.GGUFWriter(tmp_path / "part.gguf", "llama")
    writer.add_uint16("split.count", 3)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    with pytest.raises(ModelUnsupported, match="one of 3 parts") as caught:
        find_model(str(tmp_path / "part.gguf"))
    assert "merge" in caught.value.hint
