"""Which files of a repository a model needs: one set of weights, the tokenizer, and what says what it is."""

from __future__ import annotations

import re

_BESIDE = re.compile(
    r"(config|generation_config|tokenizer|tokenizer_config|special_tokens_map|added_tokens|vocab"
    r"|chat_template|preprocessor_config|processor_config)\.json"
    r"|tokenizer\.model(\.v3)?|spiece\.model|sentencepiece\.bpe\.model|merges\.txt|vocab\.txt"
    r"|chat_template\.jinja|README\.md|(LICEN[CS]E|NOTICE|USE_POLICY)[\w.-]*",
    re.IGNORECASE,
)

#: Weights in the order in which they are preferred: one file, its index with shards; safe formats first.
_WEIGHTS = (
    re.compile(r"model\.safetensors"),
    re.compile(r"model(-\d+-of-\d+\.safetensors|\.safetensors\.index\.json)"),
    re.compile(r"pytorch_model\.bin"),
    re.compile(r"pytorch_model(-\d+-of-\d+\.bin|\.bin\.index\.json)"),
)

#: GGUF quantizations in the order in which one is chosen when none was named: small, with little loss.
_GGUF_KINDS = ("q4_k_m", "q4_k_s", "q4_0", "q5_k_m", "q8_0", "f16", "bf16")


def choose_files(names: list[str], wanted: str = "") -> list[str]:
    """Choose what to fetch; empty if there are no weights that can be loaded.

    Python files are never fetched: code from a repository is not run. Other formats of the weights (ONNX,
    TensorFlow, consolidated copies, subfolders) are left out.

    Args:
        names: All files of the repository.
        wanted: One GGUF file to take; "" chooses.
    """
    if wanted:
        return [name for name in names if name == wanted and name.endswith(".gguf")]
    weights: list[str] = []
    for pattern in _WEIGHTS:
        if weights := sorted(name for name in names if pattern.fullmatch(name)):
            break
    if weights and "config.json" in names:
        return sorted(name for name in names if _BESIDE.fullmatch(name)) + weights
    ggufs = sorted(
        name for name in names if name.endswith(".gguf") and "-of-" not in name and "mmproj" not in name
    )
    for kind in _GGUF_KINDS:
        if chosen := [name for name in ggufs if kind in name.lower()]:
            ggufs = chosen
            break
    beside = sorted(name for name in names if re.fullmatch(r"README\.md|LICEN[CS]E[\w.-]*", name))
    return beside + ggufs[:1] if ggufs else []
