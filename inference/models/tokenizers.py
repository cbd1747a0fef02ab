"""The tokenizer of a model folder: reading it, and making sure that it belongs to the model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from inference.errors import ModelDamaged, TokenizerMismatch
from inference.models import safety
from inference.models.model_files import ModelFiles

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

#: Tokens by which chat templates end a turn; some models' files name only another end token.
_ENDS_OF_TURN = (
    "<|im_end|>",
    "<|eot_id|>",
    "<|eot|>",
    "<end_of_turn>",
    "<|end|>",
    "<|end_of_turn|>",
    "<|return|>",
)

#: Models pad their vocabulary by a few percent; a tokenizer below this share of it is another model's.
_SMALLEST_SHARE = 0.5


def load_tokenizer(files: ModelFiles) -> PreTrainedTokenizerBase:
    """Read the tokenizer that lies beside the weights, or in the GGUF file.

    Raises:
        ModelDamaged: It is missing or can't be read.
        ModelUnsafe: It needs code that comes with the model.
    """
    from transformers import AutoTokenizer

    gguf = {"gguf_file": files.checkpoint.files[0].name} if files.gguf is not None else {}
    reference = safety.tokenizer_code(files.folder) if files.gguf is None else ""
    try:
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(
            files.folder, local_files_only=True, trust_remote_code=False, **gguf
        )
    except Exception as error:
        if reference:
            raise safety.refuse_custom_code(reference, part="tokenizer") from None
        raise ModelDamaged(
            "The model's tokenizer is missing or can't be read.",
            hint="Download or copy the tokenizer files (tokenizer.json) again.",
            details=f"{type(error).__name__}: {error}",
        ) from None
    return tokenizer


def check_tokenizer(tokenizer: PreTrainedTokenizerBase, config: PreTrainedConfig) -> None:
    """Make sure that what the tokenizer makes of text has embeddings, and that the two are of one size.

    Tokens that were added to a tokenizer and not to its model (a padding token, most often) are common and do
    no harm unless the model's replies begin or end with them.

    Raises:
        TokenizerMismatch: They do not belong together.
    """
    text = config.get_text_config(decoder=True)
    vocabulary = int(getattr(text, "vocab_size", 0) or 0)
    added = tokenizer.get_added_vocab()
    ids = {index for name, index in tokenizer.get_vocab().items() if name not in added}
    ids.update(index for index in (tokenizer.bos_token_id, tokenizer.eos_token_id) if index is not None)
    if not ids:
        raise TokenizerMismatch("The tokenizer has no vocabulary.")
    if vocabulary and max(ids) >= vocabulary:
        raise TokenizerMismatch(
            f"The tokenizer has {max(ids) + 1:,} tokens and the model only {vocabulary:,}: "
            "they do not belong together."
        )
    if len(ids) + len(added) < vocabulary * _SMALLEST_SHARE:
        raise TokenizerMismatch(
            f"The tokenizer has only {len(ids):,} tokens and the model {vocabulary:,}: "
            "they do not belong together."
        )
    ends = getattr(text, "eos_token_id", None)
    for end in ends if isinstance(ends, (list, tuple)) else [ends]:
        if isinstance(end, int) and vocabulary and not -1 <= end < vocabulary:
            raise TokenizerMismatch(f"The model ends its replies with token {end}, which does not exist.")


def end_ids(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> frozenset[int]:
    """Ids that end a reply: what generation config, config and tokenizer name, and the end of a turn."""
    ids: set[int] = set()
    for value in (
        getattr(model.generation_config, "eos_token_id", None),
        getattr(model.config.get_text_config(decoder=True), "eos_token_id", None),
        tokenizer.eos_token_id,
    ):
        ids.update(value if isinstance(value, (list, tuple)) else [] if value is None else [value])
    template = tokenizer.chat_template if isinstance(tokenizer.chat_template, str) else ""
    added = tokenizer.get_added_vocab()
    ids.update(added[name] for name in _ENDS_OF_TURN if name in added and name in template)
    return frozenset(int(value) for value in ids)


#: What a tokenizer must give back as it was: spaces, line ends, several scripts, characters of several bytes.
_TRIALS = (
    "Two  spaces, a\ttab\nand a line.",
    "naïve café 你好 Привет 🦊",
    "def f(x):\n    return x[0] + 1\n",
)


def round_trip_problem(tokenizer: PreTrainedTokenizerBase) -> str:
    """Why texts do not come back from the tokenizer as they were; "" if they do.

    A leading space that is put before every text (SentencePiece) does no harm.
    """
    for text in _TRIALS:
        ids = tokenizer(text, add_special_tokens=False)["input_ids"]
        back = str(tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False))
        if back.removeprefix(" ") != text:
            return f"The tokenizer in this file changes texts: {text!r} comes back as {back!r}."
    return ""
