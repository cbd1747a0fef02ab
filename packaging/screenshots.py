"""Retakes the README's pictures: runs the tour offscreen and keeps three of its screenshots, made small.

Usage: python packaging/screenshots.py [--tour DIR], where DIR holds a tour that has been run already.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
PICTURES = {
    "tokens.png": "04-tokens.png",
    "why.png": "13-why.png",
    "documents.png": "20-ask-citation-1.png",
}
_COLOURS = 256


def main() -> int:
    """Write the pictures; returns the tour's exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--tour", type=Path, help="a tour that has been run already")
    given: Path | None = parser.parse_args().tour
    with tempfile.TemporaryDirectory() as temporary:
        folder = given or Path(temporary)
        if given is None:
            command = [sys.executable, "-m", "app", "--tour", str(folder)]
            status = subprocess.call(command, cwd=ROOT, env={**os.environ, "QT_QPA_PLATFORM": "offscreen"})
            if status:
                return status
        for name, shot in PICTURES.items():
            target = ROOT / "docs" / "screenshots" / name
            shrink(folder / shot, target)
            print(f"{target.relative_to(ROOT)}: {target.stat().st_size / 1000:.0f} kB")
    return 0


def shrink(source: Path, target: Path) -> None:
    """Write a screenshot as an indexed PNG; flat surfaces and text lose nothing that can be seen."""
    with Image.open(source) as image:
        few = image.convert("RGB").quantize(_COLOURS, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
        few.save(target, optimize=True)


if __name__ == "__main__":
    sys.exit(main())
