"""The embedder against sentence-transformers, which it stands in for."""

from __future__ import annotations

import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from inference.documents.embedding import BUILTIN, Embedder, embedder_folder
from inference.errors import ModelDamaged, ModelNotFound, ModelUnsupported

TEXTS = [
    "The observatory stands on a ridge.",
    "",
    "word " * 400,
    "Ünïcödé and 文字",
    "A question?",
]


@pytest.mark.filterwarnings("ignore")
def test_vectors_equal_those_of_sentence_transformers(embedder: Embedder) -> None:
    sentence_transformers = pytest.importorskip("sentence_transformers")
    reference = sentence_transformers.SentenceTransformer(str(embedder_folder(BUILTIN)), device="cpu")
    wanted = reference.encode(TEXTS, normalize_embeddings=True, show_progress_bar=False)
    np.testing.assert_allclose(embedder.embed(TEXTS), wanted, atol=2e-6)


def test_a_text_has_the_same_vector_alone_and_in_a_batch(embedder: Embedder) -> None:
    together = embedder.embed(TEXTS)
    for text, vector in zip(TEXTS, together, strict=True):
        np.testing.assert_allclose(embedder.embed([text])[0], vector, atol=2e-6)


def test_token_vectors_are_unit_vectors_of_each_piece(embedder: Embedder) -> None:
    (vectors, ids), (more, _) = embedder.token_vectors(["a ridge", "The observatory stands on a ridge."])
    assert len(ids) == len(vectors) < len(more)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)


def test_changed_weights_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "model"
    shutil.copytree(embedder_folder(BUILTIN), folder)
    weights = bytearray((folder / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    (folder / "model.safetensors").write_bytes(weights)
    monkeypatch.setattr("inference.documents.embedding.embedder_folder", lambda name: folder)
    with pytest.raises(ModelDamaged):
        Embedder().embed(["text"])


def test_other_folders(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFound):
        Embedder(str(tmp_path)).embed(["text"])
    folder = tmp_path / "model"
    shutil.copytree(embedder_folder(BUILTIN), folder)
    (folder / "1_Pooling" / "config.json").write_text('{"pooling_mode_cls_token": true}')
    first_token = Embedder(str(folder)).embed(["A question?"])
    assert not np.allclose(first_token, Embedder().embed(["A question?"]))
    (folder / "1_Pooling" / "config.json").write_text('{"pooling_mode_max_tokens": true}')
    with pytest.raises(ModelUnsupported, match="max_tokens"):
        Embedder(str(folder)).embed(["text"])


def test_work_breaks_off_between_two_batches(embedder: Embedder) -> None:
    looked = []

    def stop_at_the_second() -> None:
        looked.append(True)
        if len(looked) == 2:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        embedder.embed(["word " * 250] * 24, stop_at_the_second)
    assert len(looked) == 2


def test_a_question_is_embedded_while_a_long_text_is(embedder: Embedder) -> None:
    alone = embedder.embed(["How high is the ridge?"])[0]
    during: list[np.ndarray] = []

    def ask() -> None:
        if not during:
            with ThreadPoolExecutor(1) as other:
                during.append(other.submit(embedder.embed, ["How high is the ridge?"]).result(timeout=20)[0])

    embedder.embed(["word " * 100] * 2, ask)
    np.testing.assert_allclose(during[0], alone, atol=2e-6)
