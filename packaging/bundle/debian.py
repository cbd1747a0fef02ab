"""A Debian package and a tar archive of the bundle, with what a desktop needs to know the program."""

from __future__ import annotations

import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path

#: Where the bundle lies once it is installed. Everything else is links and small files under /usr.
HOME = Path("opt/model-loupe")

#: The libraries Qt opens that a minimal system lacks; Debian renamed some of them for 64-bit time.
DEPENDS = (
    "libc6", "libegl1", "libgl1", "libdbus-1-3", "libfontconfig1", "libglib2.0-0 | libglib2.0-0t64",
    "libxkbcommon0", "libxkbcommon-x11-0", "libxcb-cursor0", "libxcb-icccm4", "libxcb-image0",
    "libxcb-keysyms1", "libxcb-randr0", "libxcb-render-util0", "libxcb-shape0", "libxcb-xfixes0",
    "libxcb-xkb1", "libx11-xcb1", "libwayland-cursor0",
)  # fmt: skip

_REFRESH = """#!/bin/sh
set -e
for tool in "update-desktop-database -q" "update-mime-database /usr/share/mime" \\
            "gtk-update-icon-cache -q -t /usr/share/icons/hicolor"; do
    if command -v "${tool%% *}" >/dev/null 2>&1; then $tool || true; fi
done
"""


def lay_out(root: Path, *, bundle: Path, desktop: Path, icons: Path, version: str, date: str) -> None:
    """Fill ``root`` as the file system that the package makes: the bundle, two commands, desktop entries.

    Args:
        root: An empty folder.
        bundle: PyInstaller's onedir folder.
        desktop: The folder of ``.desktop``, metainfo and MIME files.
        icons: A folder ``SIZE.png`` for each size, and ``model-loupe.svg``.
        version: Of the program.
        date: Of the release, as ISO 8601.
    """
    shutil.copytree(bundle, root / HOME, symlinks=True)
    (root / "usr/bin").mkdir(parents=True)
    for command in ("model-loupe", "model-loupe-engine"):
        (root / "usr/bin" / command).symlink_to(f"/{HOME}/{command}")
    share = root / "usr/share"
    for folder, name in (
        ("applications", "org.modelloupe.ModelLoupe.desktop"),
        ("mime/packages", "org.modelloupe.ModelLoupe.xml"),
        ("metainfo", "org.modelloupe.ModelLoupe.metainfo.xml"),
    ):
        text = (desktop / name).read_text().replace("@VERSION@", version).replace("@DATE@", date)
        (share / folder).mkdir(parents=True)
        (share / folder / name).write_text(text)
    for icon in sorted(icons.glob("*.png")):
        place = share / f"icons/hicolor/{icon.stem}x{icon.stem}/apps"
        place.mkdir(parents=True)
        shutil.copy(icon, place / "model-loupe.png")
    scalable = share / "icons/hicolor/scalable/apps"
    scalable.mkdir(parents=True)
    shutil.copy(icons / "model-loupe.svg", scalable)
    doc = share / "doc/model-loupe"
    doc.mkdir(parents=True)
    shutil.copy(bundle / "_internal/LICENSE", doc / "copyright")


def make_deb(root: Path, target: Path, *, version: str) -> None:
    """Pack a laid-out root: as dpkg-deb does, but the data compressed with a filter for programs."""
    control = root / "DEBIAN"
    control.mkdir()
    size = sum(file.lstat().st_size for file in root.rglob("*") if not file.is_dir()) // 1024
    (control / "control").write_text(
        f"Package: model-loupe\nVersion: {version}\nArchitecture: amd64\n"
        f"Section: science\nPriority: optional\n"
        f"Installed-Size: {size}\nMaintainer: The Model Loupe developers <maintainers@modelloupe.invalid>\n"
        f"Depends: {', '.join(DEPENDS)}\n"
        "Description: Runs language models locally and shows why they say what they say\n"
        " Chat with live controls, token probabilities, attention steering, attribution,\n"
        " and questions to documents, offline. A small model is built in.\n"
    )
    for name in ("postinst", "postrm"):
        script = control / name
        script.write_text(_REFRESH)
        script.chmod(0o755)
    with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
        plain = Path(scratch) / "plain.deb"
        subprocess.run(
            ["dpkg-deb", "--root-owner-group", "-Znone", "--build", str(root), str(plain)], check=True
        )
        subprocess.run(["ar", "x", plain.name], check=True, cwd=scratch)
        plain.unlink()
        compress(Path(scratch) / "data.tar")
        members = ["debian-binary", "control.tar", "data.tar.xz"]
        target.unlink(missing_ok=True)
        subprocess.run(["ar", "qcS", str(target.resolve()), *members], check=True, cwd=scratch)


def compress(file: Path) -> Path:
    """Replace a tar file by its ``.xz``. Jumps of x86 code are made absolute first, which saves a tenth."""
    subprocess.run(["xz", "--threads=0", "--x86", "--lzma2=preset=6", str(file)], check=True)
    return file.with_name(file.name + ".xz")


def make_tars(root: Path, target: Path) -> None:
    """The bundle for systems without dpkg: unpack, start; ``--install-desktop`` writes a launcher.

    Args:
        root: The laid-out root.
        target: The archives' name without ``.tar.gz`` and ``.tar.xz``.
    """
    plain = target.with_name(target.name + ".tar")
    with tarfile.open(plain, "w") as archive:
        archive.add(root / HOME, "model-loupe", filter=_owned_by_root)
    with plain.with_name(plain.name + ".gz").open("wb") as packed:
        subprocess.run(["gzip", "-6", "--stdout", str(plain)], check=True, stdout=packed)
    plain.with_name(plain.name + ".xz").unlink(missing_ok=True)
    compress(plain)


def _owned_by_root(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = "root"
    return entry
