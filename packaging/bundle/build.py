"""``make package``: the bundle, a ``.deb``, a ``.tar.xz`` and a ``.tar.gz`` of it, into ``dist/``.

    python packaging/bundle/build.py [--keep] [--only bundle|archives]

Run it with the Python of an environment that holds Model Loupe and its ``package`` extra. Prints one line a
component with its size, and one a cut with what it saved.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from datetime import date
from importlib import metadata
from pathlib import Path

import contents
import debian
import measure
import notices

ROOT = Path(__file__).resolve().parents[2]
WORK = ROOT / "build" / "package"
DIST = ROOT / "dist"
BUNDLE = DIST / "model-loupe"
ICON_SIZES = (16, 24, 32, 48, 64, 128, 256, 512)


def main() -> int:
    """Build what was asked for; returns the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", choices=("bundle", "archives"), help="one half of the work")
    options = parser.parse_args()
    if options.only != "archives":
        make_bundle()
    if options.only != "bundle" and sys.platform.startswith("linux"):
        make_archives()
    report()
    return 0


def make_bundle() -> None:
    """Icons and notices, then PyInstaller."""
    WORK.mkdir(parents=True, exist_ok=True)
    draw_icons(WORK / "icons")
    (WORK / "THIRD_PARTY_NOTICES.txt").write_text(notices.notices_text(), encoding="utf-8")
    command = [sys.executable, "-m", "PyInstaller", "--noconfirm", "--log-level", "WARN"]
    places = ["--distpath", str(DIST), "--workpath", str(ROOT / "build" / "pyinstaller")]
    subprocess.run(
        [*command, *places, str(Path(__file__).with_name("model_loupe.spec"))], check=True, cwd=ROOT
    )
    if os.name == "posix":
        link = BUNDLE / "model-loupe-engine"
        link.unlink(missing_ok=True)
        link.symlink_to("model-loupe")
    if sys.platform.startswith("linux"):
        strip_libraries(BUNDLE)


def strip_libraries(bundle: Path) -> None:
    """Take the tables for debuggers out of the libraries (torch's alone are 90 MB).

    What the loader needs stays (``.dynsym``). Libraries that a wheel's builder has renamed (a hash in the
    name) are left alone: stripping has broken such. PyInstaller's own program carries the archive and is
    left alone, too.
    """
    files = [
        file
        for file in bundle.rglob("*.so*")
        if not file.is_symlink() and not re.search(r"-[0-9a-f]{8}", file.name)
    ]
    before = sum(file.stat().st_size for file in files)
    for file in files:
        subprocess.run(["strip", "--strip-unneeded", "--preserve-dates", str(file)], check=True)
    after = sum(file.stat().st_size for file in files)
    print(f"cut: {'tables for debuggers':<50} {(before - after) / 1e6:8.1f} MB")


def draw_icons(folder: Path) -> None:
    """The drawing in every size a desktop asks for, and in Windows' and macOS' formats."""
    os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
    from PIL import Image
    from PySide6.QtCore import Qt
    from PySide6.QtGui import QGuiApplication, QImage, QPainter
    from PySide6.QtSvg import QSvgRenderer

    folder.mkdir(parents=True, exist_ok=True)
    drawing = ROOT / "resources" / "icons" / "model-loupe.svg"
    shutil.copy(drawing, folder)
    application = QGuiApplication.instance() or QGuiApplication([])
    renderer = QSvgRenderer(str(drawing))
    for size in ICON_SIZES:
        image = QImage(size, size, QImage.Format.Format_ARGB32_Premultiplied)
        image.fill(Qt.GlobalColor.transparent)
        painter = QPainter(image)
        renderer.render(painter)
        painter.end()
        image.save(str(folder / f"{size}.png"))
    del application
    with Image.open(folder / "512.png") as largest:
        largest.save(WORK / "model-loupe.ico", sizes=[(size, size) for size in ICON_SIZES if size <= 256])
        largest.save(WORK / "model-loupe.icns")


def make_archives() -> None:
    """The Debian package and the tar archive."""
    version = metadata.version("model-loupe")
    variant = "cpu" if contents.cuda_version() is None else f"cuda{contents.cuda_version()}"
    with tempfile.TemporaryDirectory(dir=WORK) as scratch:
        root = Path(scratch) / "root"
        debian.lay_out(
            root,
            bundle=BUNDLE,
            desktop=ROOT / "resources" / "desktop",
            icons=WORK / "icons",
            version=version,
            date=date.today().isoformat(),
        )
        debian.make_deb(root, DIST / f"model-loupe_{version}_{variant}_amd64.deb", version=version)
        debian.make_tars(root, DIST / f"model-loupe-{version}-{variant}-linux-x86_64")


def report() -> None:
    """Sizes by component, largest first; what the cuts saved; the archives."""
    for name, size in measure.sizes(BUNDLE).items():
        print(f"{name:<40} {size:8.1f} MB installed")
    for name, size in contents.saved().items():
        print(f"cut: {name:<50} {size / 1e6:8.1f} MB")
    for archive in sorted(DIST.glob("model-loupe[-_]*.*")):
        print(f"{archive.name:<40} {archive.stat().st_size / 1e6:8.1f} MB")


if __name__ == "__main__":
    sys.exit(main())
