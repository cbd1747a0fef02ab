"""What a bundle leaves out is not missed: the app's work is done with those modules blocked."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BUNDLE = ROOT / "packaging" / "bundle"

BLOCKED = """
import sys
sys.path.insert(0, {bundle!r})
import contents

class Without:
    def __init__(self, finder):
        self._finder = finder

    def find_spec(self, name, path=None, target=None):
        if any(name == gone or name.startswith(gone + ".") for gone in contents.NOT_SHIPPED):
            return None
        return self._finder.find_spec(name, path, target)

    def __getattr__(self, name):
        return getattr(self._finder, name)

sys.meta_path[:] = [Without(finder) for finder in sys.meta_path]
"""

WORK = """
from inference.events import Finished, GenerateRequest, LoadRequest
from inference.running import RunHandle
from inference.session import Session
import inference.attribution.methods, inference.documents.indexing, inference.documents.readers
import inference.inspection.lens, inference.models.gguf_files, app.bootstrap

session = Session()
for number, request in enumerate((
    LoadRequest(run_id=1, model="builtin"), GenerateRequest(run_id=2, prompt="The sea", candidates=2),
)):
    *_, last = session.run(request, RunHandle(number + 1))
    assert isinstance(last, Finished), last
"""


def test_the_app_works_without_what_is_not_shipped() -> None:
    code = BLOCKED.format(bundle=str(BUNDLE)) + WORK
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env=_environment(),
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.mark.parametrize(
    ("place", "cut"),
    [
        ("bitsandbytes/libbitsandbytes_rocm64.so", True),
        ("bitsandbytes/libbitsandbytes_cpu.so", False),
        ("torch/lib/libtorch_cpu.so", False),
        ("torch/bin/torch_shm_manager", False),
        ("torch/bin/protoc", True),
        ("torch/testing/_internal/logging_tensor.py", False),
        ("pyarrow/libarrow_flight.so.2600", True),
        ("pyarrow/libarrow_substrait.so.2600", False),  # what reads tables is linked to it
        ("PySide6/Qt/plugins/platforms/libqxcb.so", False),
        ("PySide6/Qt/lib/libQt6Quick.so.6", True),
    ],
)
def test_a_cut_takes_what_it_names_and_no_more(
    place: str, cut: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(BUNDLE))
    import contents

    assert (contents.cut_of(place) is not None) == cut


def test_the_desktop_entry_names_only_known_kinds_of_files() -> None:
    entry = (ROOT / "resources/desktop/org.modelloupe.ModelLoupe.desktop").read_text(encoding="utf-8")
    kinds = re.search(r"^MimeType=(.*)$", entry, re.MULTILINE)
    assert kinds is not None
    assert set(kinds[1].strip(";").split(";")) == {"application/x-gguf", "application/pdf", "inode/directory"}


def _environment() -> dict[str, str]:
    import os

    return {**os.environ, "QT_QPA_PLATFORM": "offscreen", "PYTHONPATH": str(ROOT)}
