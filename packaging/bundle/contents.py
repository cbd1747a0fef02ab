"""What a bundle holds and what is left out of it, with the reasons. The spec and ``build.py`` read it."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import TypeAlias

ROOT = Path(__file__).resolve().parents[2]

#: PyInstaller's entry for a file: its place in the bundle, where it lies, its kind.
Entry: TypeAlias = tuple[str, str, str]

#: Modules that are imported by a name made at run time.
HIDDEN_IMPORTS = [
    "bitsandbytes.backends.cpu.ops",
    "bitsandbytes.backends.cuda.ops",
    "bitsandbytes.backends.default.ops",
    "sentencepiece",
    "gguf",
    "pypdfium2_raw",
]

#: Modules that nothing here calls. An optional import of another package would bring them along.
NOT_SHIPPED = [
    "IPython", "matplotlib", "pandas", "scipy", "sklearn", "sentence_transformers", "captum", "peft",
    "torchvision", "torchaudio", "tensorboard", "tensorflow", "jax", "flax", "onnx", "onnxruntime", "numba",
    "pytest", "_pytest", "hypothesis", "mypy", "ruff", "importlinter", "grimp", "pytestqt",
    "triton",  # compiles Python to GPU code for torch.compile; the kernels here are compiled by NVRTC
    "tkinter", "lib2to3", "ensurepip", "pip", "setuptools", "pkg_resources", "PyInstaller",
    "torch.testing._internal.generated",
    "torch.testing._internal.opinfo", "torch.testing._internal.common_methods_invocations",
    "torch.utils.tensorboard", "torch.utils.benchmark",
    "PySide6.QtQml", "PySide6.QtQuick", "PySide6.QtQuickWidgets", "PySide6.QtDesigner", "PySide6.QtHelp",
    "PySide6.QtSql", "PySide6.QtUiTools", "PySide6.QtPrintSupport",
    "pyqtgraph.examples", "pyqtgraph.opengl", "pyqtgraph.flowchart", "pyqtgraph.console",
]  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """Files that are left out, and why nothing misses them."""

    name: str
    pattern: str
    reason: str


CUTS = (
    Cut(
        name="bitsandbytes for other GPUs",
        pattern=r"bitsandbytes/libbitsandbytes_(?!cpu)",
        reason="one library a CUDA version; only the one that this torch asks for is kept",
    ),
    Cut(
        name="torch's headers and build files",
        pattern=r"torch/(include|share|bin/(?!torch_shm_manager))",
        reason="for compiling extensions",
    ),
    Cut(
        name="torch's tests",
        pattern=r"torch/(testing/_internal/(generated|opinfo|data|common_methods)|test/)"
        r"|lib(torchbind_test|jitbackend_test|backend_with_compiler)",
        reason="tests",
    ),
    Cut(
        name="sources of torch's compiler and exporters",
        pattern=r"torch/(_inductor|onnx)/.*(?<!config)\.py$",
        reason="their compiled modules are there; nothing reads their text but torch.compile",
    ),
    Cut(
        name="Arrow Flight, S3, other stores",
        pattern=r"libarrow_(flight|python_flight|s3)|pyarrow/(_flight|_s3fs|_gcsfs|_azurefs|_hdfs|src/|include/|tests/)"
        r"|pyarrow/.*\.(pyx|pxi|pxd|h|cc)$",
        reason="network protocols that are not spoken here; sources",
    ),
    Cut(
        name="Arrow's second and third copies",
        pattern=r"pyarrow/libarrow_python\w*\.so(\.\d+\.\d+\.\d+)?$",
        reason="the name that programs are linked to stays (libarrow_python.so.2600)",
    ),
    Cut(
        name="Qt for screens without a desktop, GTK's theme, TLS",
        pattern=r"PySide6/.*plugins/(platforms/libq(eglfs|linuxfb|minimalegl|vkkhrdisplay|vnc)"
        r"|egldeviceintegrations|generic|networkinformation|tls|platformthemes/libqgtk3)"
        r"|libQt6EglF[Ss]\w*\.so",
        reason="a desktop's window needs X11 or Wayland; the desktop's portal tells colours and opens files",
    ),
    Cut(
        name="AVIF and Tk of Pillow",
        pattern=r"PIL/_(avif|imagingtk)|libavif",
        reason="no picture of that kind is read; there is no Tk",
    ),
    Cut(
        name="Qt Quick, QML, SQL, virtual keyboard",
        pattern=r"PySide6/.*(Quick|Qml|[Vv]irtual[Kk]eyboard|Designer|QtSql|sqldrivers)",
        reason="the window is made of widgets",
    ),
    Cut(
        name="Qt's translations of other modules",
        pattern=r"PySide6/.*translations/(?!qtbase_)",
        reason="modules that are not shipped",
    ),
)

#: The Finder's view of the program. It offers itself for these types and takes none over.
INFO_PLIST = {
    "CFBundleDisplayName": "Model Loupe",
    "LSApplicationCategoryType": "public.app-category.developer-tools",
    "LSMinimumSystemVersion": "13.0",  # what Qt 6.11 needs
    "NSHighResolutionCapable": True,
    "CFBundleDocumentTypes": [
        {
            "CFBundleTypeName": name,
            "LSItemContentTypes": [kind],
            "CFBundleTypeRole": "Viewer",
            "LSHandlerRank": rank,
        }
        for name, kind, rank in (
            ("PDF document", "com.adobe.pdf", "Alternate"),
            ("GGUF language model", "org.modelloupe.gguf", "Default"),
            ("Folder with a model", "public.folder", "Alternate"),
        )
    ],
    "UTImportedTypeDeclarations": [
        {
            "UTTypeIdentifier": "org.modelloupe.gguf",
            "UTTypeDescription": "GGUF language model",
            "UTTypeConformsTo": ["public.data"],
            "UTTypeTagSpecification": {"public.filename-extension": ["gguf"]},
        },
    ],
}


def without_cuts(entries: Iterable[Entry]) -> list[Entry]:
    """The files that are shipped; a link goes with the file that it names."""
    return [
        entry
        for entry in entries
        if cut_of(entry[0]) is None and not (entry[2] == "SYMLINK" and cut_of(entry[1]))
    ]


def without_orphans(entries: Iterable[Entry]) -> list[Entry]:
    """Without the system's libraries that were collected for files which are left out (Linux only).

    PyInstaller collects what each file is linked to before the cuts are made: GTK's theme alone brings Pango,
    Cairo and their like.
    """
    kept = list(entries)
    if not sys.platform.startswith("linux"):
        return kept
    linked = _linked_to([source for _, source, kind in kept if kind in ("BINARY", "EXTENSION")])
    while True:
        wanted = {name for _, source, _ in kept for name in linked.get(source, ())}
        left = [entry for entry in kept if not _is_system_library(entry) or entry[0] in wanted]
        if len(left) == len(kept):
            places = {place for place, _, _ in left}
            return [one for one in left if one[2] != "SYMLINK" or "/" in one[1] or one[1] in places]
        kept = left


def _is_system_library(entry: Entry) -> bool:
    place, _, kind = entry
    return kind == "BINARY" and bool(re.match(r"lib(?!python)[^/]*\.so", place))


def _linked_to(files: list[str]) -> dict[str, set[str]]:
    """The names of the libraries that each file is linked to."""
    found: dict[str, set[str]] = {}
    said = subprocess.run(["readelf", "-dW", *files], capture_output=True, text=True, errors="replace").stdout
    for line in said.splitlines():
        if line.startswith("File: "):
            names = found.setdefault(line.removeprefix("File: "), set())
        elif library := re.search(r"\(NEEDED\).*\[(.+)\]", line):
            names.add(library[1])
    return found


def cut_of(place: str) -> Cut | None:
    """Why a file at this place in the bundle is left out; None if it is shipped."""
    place = place.replace("\\", "/")
    for cut in CUTS:
        if re.search(cut.pattern, place) and not _is_wanted_library(place):
            return cut
    return None


def _is_wanted_library(place: str) -> bool:
    """Whether this is bitsandbytes' library for the CUDA version that torch was built with."""
    version = cuda_version()
    return version is not None and f"libbitsandbytes_cuda{version}." in place


def compiler_libraries(packages: Path | None = None) -> list[tuple[str, str]]:
    """What NVRTC opens by name when it compiles; no library is linked to it, so no analysis finds it.

    Args:
        packages: Where NVIDIA's packages are installed; beside torch if not given.

    Returns:
        Pairs of a file and its folder in the bundle: beside NVRTC, as it is installed.
    """
    if packages is None:
        packages = Path(str(metadata.distribution("torch").locate_file("")))
    found = [path for path in packages.glob("nvidia/**/*nvrtc-builtins*") if ".alt." not in path.name]
    return [(str(path), path.relative_to(packages).parent.as_posix()) for path in sorted(found)]


@cache
def cuda_version() -> str | None:
    """The CUDA version that torch was built with, without the dot; None for a CPU wheel."""
    import torch

    version = torch.version.cuda
    return None if version is None else str(version).replace(".", "")


def saved() -> dict[str, int]:
    """Bytes that each cut keeps out of the bundle, by the files installed here."""
    found = dict.fromkeys((cut.name for cut in CUTS), 0)
    for name in requirements_of("model-loupe"):
        for file in metadata.distribution(name).files or []:
            if cut := cut_of(str(file)):
                path = Path(str(file.locate()))
                found[cut.name] += path.stat().st_size if path.is_file() else 0
    return found


def requirements_of(name: str) -> Iterator[str]:
    """A package and everything that it needs at run time, as installed here, each once."""
    from packaging.requirements import Requirement

    seen: set[str] = {
        "sentence-transformers"
    }  # the embedder's package asks for it; only its weights are used
    todo = [name]
    while todo:
        current = todo.pop()
        key = re.sub(r"[-_.]+", "-", current).lower()
        if key in seen:
            continue
        seen.add(key)
        try:
            distribution = metadata.distribution(current)
        except metadata.PackageNotFoundError:
            continue
        yield current
        # What is installed of an editable package may describe it as it was.
        lines = _own_dependencies() if key == "model-loupe" else distribution.requires
        for line in lines or []:
            requirement = Requirement(line)
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                todo.append(requirement.name)


def _own_dependencies() -> list[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return [str(line) for line in project["dependencies"]]


def not_required(name: str) -> list[str]:
    """Modules that are installed here and belong to no package that ``name`` needs: tools of whoever builds,
    and what transformers would use if it happened to be there.
    """
    needed = {re.sub(r"[-_.]+", "-", package).lower() for package in requirements_of(name)}
    owners = metadata.packages_distributions()
    return sorted(
        module
        for module, packages in owners.items()
        if not needed & {re.sub(r"[-_.]+", "-", package).lower() for package in packages}
    )


def metadata_of_requirements(name: str) -> list[tuple[str, str]]:
    """Names, versions and licences of all packages: transformers asks for versions at import, and the
    About box shows them.
    """
    from PyInstaller.utils.hooks import copy_metadata

    return [entry for package in requirements_of(name) for entry in copy_metadata(package)]


def of_requirements(entries: Iterable[Entry]) -> list[Entry]:
    """Without the metadata of packages that only happen to be installed: hooks take all they find."""
    shipped = {metadata.distribution(name).name for name in requirements_of("model-loupe")}
    names = {re.sub(r"[-_.]+", "-", name).lower() for name in shipped}

    def is_wanted(place: str) -> bool:
        found = re.match(r"([^/]+)-[^/-]+\.dist-info/", place.replace("\\", "/"))
        return found is None or re.sub(r"[-_.]+", "-", found[1]).lower() in names

    return [entry for entry in entries if is_wanted(entry[0])]


def notices(root: Path) -> list[tuple[str, str]]:
    """The third-party notices, where ``build.py`` has written them."""
    file = root / "build" / "package" / "THIRD_PARTY_NOTICES.txt"
    return [(str(file), ".")] if file.exists() else []


def icon(root: Path) -> str | None:
    """The program's icon in the system's format."""
    suffix = {"win32": "ico", "darwin": "icns"}.get(sys.platform)
    file = root / "build" / "package" / f"model-loupe.{suffix}"
    return str(file) if suffix and file.exists() else None
