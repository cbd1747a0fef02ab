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

GONE = {{*contents.NOT_SHIPPED, *contents.not_required("model-loupe")}}

class Without:
    def __init__(self, finder):
        self._finder = finder

    def find_spec(self, name, path=None, target=None):
        if any(name == gone or name.startswith(gone + ".") for gone in GONE):
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
        ("PySide6/Qt/lib/libQt6Test.so.6", False),  # the tour clicks with it
        ("PySide6/Qt/plugins/platformthemes/libqgtk3.so", True),
        ("PySide6/Qt/plugins/platformthemes/libqxdgdesktopportal.so", False),
        ("torch/_inductor/codecache.py", True),
        ("torch/_inductor/config.py", False),  # read as text when torch is imported
        ("pyarrow/libarrow_python.so", True),
        ("pyarrow/libarrow_python.so.2600", False),
        ("pyarrow/libarrow_s3.so.2600", True),
        ("pyarrow/_fs.cpython-311-x86_64-linux-gnu.so", False),
    ],
)
def test_a_cut_takes_what_it_names_and_no_more(
    place: str, cut: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(BUNDLE))
    import contents

    assert (contents.cut_of(place) is not None) == cut


@pytest.mark.parametrize(
    ("cuda", "kept"),
    [
        (None, {"cpu"}),
        ("126", {"cpu", "cuda126"}),
        ("130", {"cpu", "cuda130"}),
    ],
)
def test_only_the_quantization_library_of_torchs_cuda_is_kept(
    cuda: str | None, kept: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(BUNDLE))
    import contents

    monkeypatch.setattr(contents, "cuda_version", lambda: cuda)
    names = ("cpu", "cuda121", "cuda126", "cuda130", "rocm64", "rocm70", "xpu2025")
    places = [(f"bitsandbytes/libbitsandbytes_{name}.so", "", "BINARY") for name in names]
    left = {entry[0].removeprefix("bitsandbytes/libbitsandbytes_") for entry in contents.without_cuts(places)}
    assert left == {f"{name}.so" for name in kept}


def test_what_the_run_time_compiler_opens_by_name_lies_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(BUNDLE))
    import contents

    for place in ("nvidia/cu13/lib", "nvidia/cuda_nvrtc/lib"):
        (tmp_path / place).mkdir(parents=True)
        for name in ("libnvrtc.so.13", "libnvrtc-builtins.so.13.0", "libnvrtc-builtins.alt.so.13.0"):
            (tmp_path / place / name).write_text("")
    found = contents.compiler_libraries(tmp_path)
    assert [(Path(file).name, folder) for file, folder in found] == [
        ("libnvrtc-builtins.so.13.0", "nvidia/cu13/lib"),
        ("libnvrtc-builtins.so.13.0", "nvidia/cuda_nvrtc/lib"),
    ]


def test_pictures_of_a_tour_are_the_same_or_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BUNDLE))
    import pictures
    from PIL import Image, ImageDraw

    def window(name: str, *, clock: bool = False, panel: bool = False, width: int = 640) -> Path:
        image = Image.new("RGB", (width, 400), "white")
        draw = ImageDraw.Draw(image)
        draw.rectangle((200, 40, 500, 300), fill="navy")
        if clock:
            draw.rectangle((600, 380, 630, 390), fill="black")
        if panel:
            draw.rectangle((0, 0, 150, 200), fill="black")
        (tmp_path / name).mkdir(exist_ok=True)
        image.save(tmp_path / name / "01-stop.png")
        return tmp_path / name

    one = window("one")
    for other, same in (
        (window("clock", clock=True), True),
        (window("panel", panel=True), False),
        (window("wide", width=700), False),
    ):
        (found,) = pictures.differences(one, other)
        assert found.same == same, other
    (tmp_path / "empty").mkdir()
    assert [found.same for found in pictures.differences(one, tmp_path / "empty")] == [False]


def test_the_desktop_entry_names_only_known_kinds_of_files() -> None:
    entry = (ROOT / "resources/desktop/org.modelloupe.ModelLoupe.desktop").read_text(encoding="utf-8")
    kinds = re.search(r"^MimeType=(.*)$", entry, re.MULTILINE)
    assert kinds is not None
    assert set(kinds[1].strip(";").split(";")) == {"application/x-gguf", "application/pdf", "inode/directory"}


def _environment() -> dict[str, str]:
    import os

    return {**os.environ, "QT_QPA_PLATFORM": "offscreen", "PYTHONPATH": str(ROOT)}


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux collects the system's libraries")
def test_a_system_library_goes_with_the_last_file_that_is_linked_to_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.syspath_prepend(str(BUNDLE))
    import contents

    links = {"/a": {"libb.so.1"}, "/b": {"libc.so.1"}, "/orphan": {"liborphaned.so.1"}}
    monkeypatch.setattr(contents, "_linked_to", lambda files: links)
    kept = [("PySide6/a.so", "/a", "EXTENSION"), ("libb.so.1", "/b", "BINARY"), ("libc.so.1", "/c", "BINARY")]
    gone = [
        ("liborphan.so.1", "/orphan", "BINARY"),
        ("liborphaned.so.1", "/orphaned", "BINARY"),  # only an orphan wanted it
        ("liborphan.so", "liborphan.so.1", "SYMLINK"),
    ]
    python = ("libpython3.11.so.1.0", "/python", "BINARY")  # opened by name
    assert contents.without_orphans([*kept, *gone, python]) == [*kept, python]
