"""``python -m inference``: names, streams and exit statuses are a contract."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import pytest
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from inference.__main__ import main
from inference.commands.bench import BENCHMARKS
from resources import BUILTIN_MODEL


@pytest.fixture(scope="session")
def folder(
    families: dict[str, PreTrainedModel],
    byte_tokenizer: PreTrainedTokenizerBase,
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """The tiny Llama as a model folder."""
    path: Path = tmp_path_factory.mktemp("models") / "tiny"
    families["llama"].save_pretrained(path)
    byte_tokenizer.save_pretrained(path)
    return path


def lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def test_generate_prints_one_object_a_line(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--prompt", "The quick", "--max-new-tokens", "5", "--temperature", "0", "--candidates", "3"]
    assert main(["generate", "--model", str(folder), *arguments, "--json"]) == 0
    events = lines(capsys.readouterr().out)
    tokens = [event for event in events if event["event"] == "token"]
    assert len(tokens) == 5
    assert {"index", "id", "text", "raw_logprob", "sampled_prob", "entropy", "candidates"} <= tokens[0].keys()
    assert {"id", "text", "raw_logprob", "sampled_prob"} == tokens[0]["candidates"][0].keys()
    assert [len(token["candidates"]) for token in tokens] == [3] * 5
    finished = events[-1]
    assert finished["event"] == "finished"
    assert finished["text"] == "".join(token["text"] for token in tokens)
    assert {"load", "prefill", "decode"} == finished["seconds"].keys()
    assert finished["seconds"]["load"] > 0
    assert finished["new_tokens"] == 5
    assert finished["memory"]["weights"] > 0


def test_without_json_the_text_is_printed(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["generate", "--model", str(folder), "--chat", "Hello", "--system", "Be kind."]
    arguments += ["--seed", "1", "--max-new-tokens", "6"]
    assert main([*arguments, "--json"]) == 0
    text = lines(capsys.readouterr().out)[-1]["text"]
    assert main(arguments) == 0
    assert capsys.readouterr().out.rstrip("\n") == text.rstrip("\n")


def test_every_control_can_be_set(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = shlex.split(
        "--prompt abc --max-new-tokens 3 --temperature 0.9 --top-p 0.8 --top-k 30 --min-p 0.01 "
        "--repetition-penalty 1.1 --frequency-penalty 0.1 --presence-penalty 0.1 --seed 3 --stop zz "
        "--stop yy --logit-bias 40:2.5 --control 0:1:0.5 --control 1:2:2 --prompt-lookup --token-healing "
        "--score-prompt --quantization none --device cpu --context-length 64 --json"
    )
    assert main(["generate", "--model", str(folder), *arguments]) == 0
    events = lines(capsys.readouterr().out)
    assert events[-1]["event"] == "finished"
    assert next(event for event in events if event["event"] == "started")["context_length"] == 64
    assert [event for event in events if event["event"] == "prompt"]


def test_a_control_of_a_chat_is_one_of_its_message(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def logprob(*more: str) -> float:
        arguments = ["--chat", "quick brown fox", "--max-new-tokens", "1", "--temperature", "0", "--json"]
        assert main(["generate", "--model", str(folder), *arguments, *more]) == 0
        return float(next(e for e in lines(capsys.readouterr().out) if e["event"] == "token")["raw_logprob"])

    assert logprob("--control", "6:11:0.0") != pytest.approx(logprob(), abs=1e-4)
    assert logprob("--control", "6:11:1.0") == logprob()


def test_a_failure_goes_to_stderr_with_status_1(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["generate", "--model", "/no/such/folder", "--prompt", "a", "--json"]
    assert main(arguments) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    failed = lines(captured.err)[-1]
    assert failed["event"] == "failed"
    assert failed["kind"] == "model-not-found"
    assert failed["message"]
    assert failed["hint"]


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["nonsense"],
        ["generate", "--json"],
        ["generate", "--prompt", "a", "--chat", "b"],
        ["generate", "--prompt", "a", "--temperature", "warm"],
        ["generate", "--prompt", "a", "--control", "1:2"],
        ["generate", "--prompt", "a", "--max-new-tokens", "-1"],
        ["generate", "--prompt", "a", "--candidates", "-1"],
        ["generate", "--prompt", "a", "--system", "b"],
        ["generate", "--chat", "a", "--token-healing"],
        ["explain", "--prompt", "a", "--target", "b", "--system", "c"],
        ["ask", "--library", "a", "--question", "b", "--limit", "0"],
        ["generate", "--prompt", "a", "--quantization", "int7"],
        ["generate", "--prompt", "a", "--no-such-option"],
        ["bench"],
        ["bench", "passages"],
    ],
)
def test_bad_arguments_exit_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert capsys.readouterr().err


def test_models_are_listed_and_described(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "--folder", str(folder.parent), "--json"]) == 0
    (listed,) = lines(capsys.readouterr().out)
    assert listed["event"] == "models"
    (entry,) = (entry for entry in listed["entries"] if entry["source"] == str(folder))
    assert entry["size"] > 0
    assert main(["models", "--inspect", str(folder), "--json"]) == 0
    (described,) = lines(capsys.readouterr().out)
    assert described["info"]["architecture"] == "LlamaForCausalLM"
    assert described["estimate"]["weights"] > 0


def test_every_benchmark_can_be_asked_for_help(capsys: pytest.CaptureFixture[str]) -> None:
    for name in BENCHMARKS:
        with pytest.raises(SystemExit) as caught:
            main(["bench", name, "--help"])
        assert caught.value.code == 0
        assert f"bench {name}" in capsys.readouterr().out


def test_bench_decode_prints_ratios(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = shlex.split("--new-tokens 4 --prompt-tokens 8 --rounds 1 --json")
    assert main(["bench", "decode", "--model", str(folder), *arguments]) == 0
    (figures,) = lines(capsys.readouterr().out)
    assert figures["benchmark"] == "decode"
    assert "session / generate" in figures["ratios"]
    assert set(figures["tokens_per_second"]) >= {"session", "generate"}


@pytest.mark.builtin
@pytest.mark.skipif(not (BUILTIN_MODEL / "model.safetensors").exists(), reason="no built-in model here")
def test_the_built_in_model_answers(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--chat", "What is the capital of France?", "--temperature", "0", "--max-new-tokens", "40"]
    assert main(["generate", "--model", "builtin", *arguments, "--json"]) == 0
    finished = lines(capsys.readouterr().out)[-1]
    assert finished["reason"] == "stop"
    assert finished["text"].strip()
