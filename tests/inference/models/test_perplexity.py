"""Perplexity against a plain loop over tokens."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from inference.errors import EmptyPrompt, InvalidRequest, RunCancelled
from inference.events import PerplexityMeasured, PerplexityRequest, Progress
from inference.inspection import perplexity
from inference.models.loaded_model import LoadedModel
from inference.running import RunHandle

TEXT = "The longest river is the Nile; the widest is the Amazon. " * 3


@pytest.fixture
def tiny(model_folders: Callable[..., Path], load_model: Callable[..., LoadedModel]) -> LoadedModel:
    """A Llama with a context of 128 tokens."""
    return load_model(model_folders("llama"))


def measured(loaded: LoadedModel, text: str = TEXT, **options: Any) -> PerplexityMeasured:
    *progress, result = perplexity.measure(
        loaded, PerplexityRequest(run_id=1, text=text, **options), RunHandle(1)
    )
    assert all(isinstance(event, Progress) for event in progress)
    assert isinstance(result, PerplexityMeasured)
    return result


def plain_loop(loaded: LoadedModel, ids: list[int], window: int, stride: int) -> float:
    """Mean surprisal: each token on its own, behind the context of the first window that reaches it."""
    total = 0.0
    for index in range(1, len(ids)):
        begin = 0
        while begin + window <= index:
            begin += stride
        with torch.no_grad():
            logits = loaded.model(torch.tensor([ids[begin:index]])).logits[0, -1].double()
        total -= float(torch.log_softmax(logits, -1)[ids[index]])
    return total / (len(ids) - 1)


@pytest.mark.parametrize(("window", "stride"), [(128, 64), (32, 16), (32, 31), (17, 5), (2, 1)])
def test_every_token_is_counted_once_behind_its_context(tiny: LoadedModel, window: int, stride: int) -> None:
    result = measured(tiny, window=window, stride=stride)
    ids = tiny.tokenizer(TEXT).input_ids
    expected = plain_loop(tiny, ids, window, stride)
    assert result.nats_per_token == pytest.approx(expected, abs=1e-5)
    assert result.perplexity == pytest.approx(math.exp(expected), rel=1e-4)
    assert result.bits_per_byte == pytest.approx(
        expected * (len(ids) - 1) / math.log(2) / len(TEXT), rel=1e-4
    )
    assert result.tokens == len(ids) - 1


def test_the_defaults_fit_the_context(tiny: LoadedModel) -> None:
    result = measured(tiny)
    assert (result.window, result.stride) == (128, 64)


@given(length=st.integers(2, 200), window=st.integers(2, 60), data=st.data())
def test_windows_count_each_token_but_the_first_exactly_once(
    length: int, window: int, data: st.DataObject
) -> None:
    stride = data.draw(st.integers(1, window - 1))
    counted: list[int] = []
    for begin, end, first in perplexity.windows(length, window, stride):
        assert end - begin <= window
        assert begin < first < end
        counted.extend(range(first, end))
    assert counted == list(range(1, length))


@pytest.mark.parametrize(
    "options", [{"window": 129}, {"window": 1}, {"window": 8, "stride": 8}, {"stride": 0}]
)
def test_windows_out_of_range_are_refused(tiny: LoadedModel, options: dict[str, int]) -> None:
    with pytest.raises(InvalidRequest):
        measured(tiny, **options)


def test_a_text_without_a_second_token_is_refused(tiny: LoadedModel) -> None:
    with pytest.raises(EmptyPrompt):
        measured(tiny, text="a")


def test_measuring_can_be_cancelled(tiny: LoadedModel) -> None:
    handle = RunHandle(1)
    steps = perplexity.measure(tiny, PerplexityRequest(run_id=1, text=TEXT, window=16), handle)
    next(steps)
    handle.cancel()
    with pytest.raises(RunCancelled):
        next(steps)


# --- from the command line --------------------------------------------------------------------------


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "inference", *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parents[3],
    )


def test_the_command_prints_what_the_function_measures(
    tiny: LoadedModel, model_folders: Callable[..., Path], tmp_path: Path
) -> None:
    (tmp_path / "text.txt").write_text(TEXT, "utf-8")
    folder, file = str(model_folders("llama")), str(tmp_path / "text.txt")
    done = command(
        "measure", "perplexity", "--model", folder, "--text-file", file, "--window", "32", "--json"
    )
    assert done.returncode == 0, done.stderr
    (line,) = done.stdout.splitlines()
    assert json.loads(line)["event"] == "perplexity"
    assert json.loads(line)["perplexity"] == pytest.approx(measured(tiny, window=32).perplexity, rel=1e-5)


def test_a_text_file_that_is_not_there_fails_in_json(tmp_path: Path) -> None:
    done = command("measure", "perplexity", "--text-file", str(tmp_path / "none.txt"), "--json")
    assert done.returncode == 1
    assert json.loads(done.stderr)["kind"] == "unreadable-file"


def test_models_are_listed_and_described_in_json(model_folders: Callable[..., Path]) -> None:
    folder = model_folders("llama")
    listed = command("models", "--folder", str(folder), "--json")
    entries = json.loads(listed.stdout)["entries"]
    assert {"builtin", str(folder)} <= {entry["source"] for entry in entries}
    described = json.loads(
        command("models", "--inspect", str(folder), "--quantization", "nf4", "--json").stdout
    )
    assert described["info"]["architecture"] == "LlamaForCausalLM"
    assert described["estimate"]["weights"] > 0


def test_describing_what_is_not_there_fails_in_json() -> None:
    done = command("models", "--inspect", "/no/such/model", "--json")
    assert done.returncode == 1
    assert json.loads(done.stderr)["kind"] == "model-not-found"
