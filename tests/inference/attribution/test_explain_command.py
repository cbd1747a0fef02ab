"""``python -m inference explain``: the contract of the headless door."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from inference.__main__ import main

PROMPT = "The quick brown fox jumps over the lazy dog."


@pytest.fixture(scope="module")
def folder(families: Any, byte_tokenizer: Any, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A model on disk."""
    path: Path = tmp_path_factory.mktemp("model")
    families["llama"].save_pretrained(path)
    byte_tokenizer.save_pretrained(path)
    return str(path)


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_json_has_the_fields_of_the_contract(folder: str, capsys: pytest.CaptureFixture[str]) -> None:
    options = "--method atman --granularity word --target-granularity token --factor 0.2 --json"
    options += " --mode multiplicative --similarity-threshold 0.9 --layers 0:1"
    status = main(
        ["explain", "--model", folder, "--prompt", PROMPT, "--target", " The fox", *options.split()]
    )
    assert status == 0
    started, *parts, found, finished = lines(capsys)
    assert (started["event"], finished["event"]) == ("explanation-started", "finished")
    assert {part["event"] for part in parts} == {"explanation-part"}
    assert found["event"] == "explanation"
    assert found["method"] == "atman"
    assert [segment["text"] for segment in found["segments"]] == PROMPT.split()
    for segment in found["segments"]:
        assert PROMPT[segment["start"] : segment["end"]] == segment["text"]
    assert "".join(target["text"] for target in found["targets"]) == " The fox"
    assert len(found["scores"]) == len(found["targets"])
    assert all(len(row) == len(found["segments"]) for row in found["scores"])
    assert found["forward_passes"] >= 2
    assert found["seconds"] > 0


def test_a_person_gets_a_ranked_list(folder: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "--model", folder, "--prompt", PROMPT, "--target", " dog"]) == 0
    title, *rows, end = capsys.readouterr().out.splitlines()
    assert title.startswith("' dog'")
    scores = [abs(float(row.split()[0])) for row in rows]
    assert scores == sorted(scores, reverse=True)
    assert "forward passes" in end


def test_a_chat_and_settings_of_a_method(folder: str, capsys: pytest.CaptureFixture[str]) -> None:
    options = [
        "--method",
        "integrated-gradients",
        "--setting",
        "steps=4",
        "--setting",
        "baseline=mean",
        "--json",
    ]
    chat = ["--chat", "Where to?", "--system", "Be brief.", "--target", "There"]
    status = main(["explain", "--model", folder, *chat, *options])
    assert status == 0
    found = lines(capsys)[-2]
    assert {segment["label"] for segment in found["segments"]} == {"system", "user"}


def test_an_estimate_ends_before_the_scores(folder: str, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["explain", "--model", folder, "--prompt", PROMPT, "--target", " dog", "--estimate", "--json"]
    assert main(arguments) == 0
    started, finished = lines(capsys)
    assert started["cost"]["forward_passes"] >= 2
    assert finished["event"] == "finished"


def test_failures_go_to_stderr_with_status_one(folder: str, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["explain", "--model", folder, "--prompt", PROMPT, "--target", "", "--json"]
    assert main(arguments) == 1
    failed = json.loads(capsys.readouterr().err.splitlines()[-1])
    assert (failed["event"], failed["kind"]) == ("failed", "invalid-request")
    assert failed["hint"]


@pytest.mark.parametrize("wrong", [["--layers", "a:b"], ["--setting", "x"], ["--granularity", "letters"], []])
def test_bad_arguments_exit_with_two(wrong: list[str], folder: str) -> None:
    arguments = ["explain", "--model", folder, "--prompt", PROMPT, *wrong]
    if wrong:
        arguments += ["--target", "x"]
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 2


def test_the_benchmark_prints_ratios_to_the_naive_loop(
    folder: str, capsys: pytest.CaptureFixture[str]
) -> None:
    sizes = ["--prompt-tokens", "40", "--target-tokens", "4", "--rounds", "1", "--naive-passes", "1"]
    assert main(["bench", "explain", "--model", folder, *sizes]) == 0
    (found,) = lines(capsys)
    assert found["naive"]["forward_passes"] == 41
    assert set(found["methods"]) == {
        "atman",
        "atman-coarse-to-fine",
        "atman-target-rows",
        "atman-first-order",
    }
    exact = found["methods"]["atman"]
    assert exact["spearman"] == pytest.approx(1.0)
    assert exact["same_of_ten"] == 10
    assert all(method["naive / this"] > 0 for method in found["methods"].values())
    assert found["methods"]["atman-target-rows"]["token_forwards"] < exact["token_forwards"]


def test_the_benchmark_prints_cost_against_length(folder: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "explain", "--model", folder, "--target-tokens", "4", "--lengths", "16,32"]) == 0
    (found,) = lines(capsys)
    assert [row["prompt_tokens"] for row in found["rows"]] == [16, 32]
    first, second = (row["methods"]["atman"] for row in found["rows"])
    assert second["token_forwards"] > first["token_forwards"]
    assert first["seconds"] > 0


def test_a_run_that_would_take_too_long_is_only_estimated(
    folder: str, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--target-tokens", "4", "--lengths", "32", "--at-most", "0", "--methods", "atman"]
    assert main(["bench", "explain", "--model", folder, *options]) == 0
    (found,) = lines(capsys)
    row = found["rows"][0]["methods"]["atman"]
    assert row["estimated_seconds"] >= 0
    assert "seconds" not in row


def test_a_model_of_random_weights_stands_in_for_one_on_disk(capsys: pytest.CaptureFixture[str]) -> None:
    shape = ["--shape", "tiny", "--quantization", "nf4", "--device", "cpu", "--methods", "atman"]
    sizes = ["--prompt-tokens", "12", "--target-tokens", "2", "--rounds", "1", "--naive-passes", "1"]
    assert main(["bench", "explain", *shape, *sizes]) == 0
    (found,) = lines(capsys)
    assert (found["quantization"], found["prompt_tokens"]) == ("nf4", 12)
    assert found["model"] == "tiny, random weights"
    assert found["methods"]["atman"]["naive / this"] > 0


def test_the_evidence_benchmark_ranks_sentences(
    folder: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    data = tmp_path / "qa.jsonl"
    row = {
        "context": "The sky is blue. The fox is brown. The dog is lazy. The sea is deep.",
        "question": "What is the dog?",
        "answer": "lazy",
        "evidence": "The dog is lazy.",
    }
    unanswerable = row | {"answer": "", "evidence": ""}
    data.write_text(json.dumps(unanswerable) + "\n" + json.dumps(row) + "\n")
    methods = ["--methods", "atman,leave-one-out"]
    assert main(["bench", "evidence", "--model", folder, "--data", str(data), *methods]) == 0
    (found,) = lines(capsys)
    assert (found["questions"], found["sentences"]) == (1, 4.0)
    assert found["methods"]["last sentence"] == {"top1": 0.0, "map": 0.5, "recall2": 1.0}
    assert found["methods"]["first sentence"] == {"top1": 0.0, "map": 0.333, "recall2": 0.0}
    assert set(found["methods"]) >= {"atman", "leave-one-out", "random"}
