"""The benchmark of families: one line each, against the Llama of the same run."""

from __future__ import annotations

import json

import pytest

from inference.__main__ import main


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning")
def test_each_family_is_measured_against_the_llama_of_the_same_run(
    capsys: pytest.CaptureFixture[str],
) -> None:
    few = ["--width", "64", "--layers", "2", "--rounds", "1", "--new-tokens", "3", "--prompt-tokens", "4"]
    assert main(["bench", "families", "--family", "gpt2", *few, "--json"]) == 0
    llama, other = map(json.loads, capsys.readouterr().out.splitlines())
    assert (llama["family"], llama["ratio"], llama["cpu_ratio_per_parameter"]) == ("llama", 1.0, 1.0)
    assert other["family"] == "gpt2"
    assert other["tokens_per_second"] > 0
    assert other["bare_ratio"] > 0
