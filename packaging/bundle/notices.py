"""Third-party notices: every shipped package with its version, its licence and the licence's text."""

from __future__ import annotations

import sys
from importlib import metadata
from pathlib import Path

import contents

_LICENCE_FILES = ("licen", "copying", "notice", "authors")
_RULE = "=" * 100


def main() -> int:
    """Write the notices to the file named as argument, or to the standard output."""
    text = notices_text()
    if len(sys.argv) > 1:
        target = Path(sys.argv[1])
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")
    else:
        print(text)
    return 0


def notices_text() -> str:
    """A table of packages and licences, then the licences' texts, package by package."""
    distributions = sorted(
        (metadata.distribution(name) for name in contents.requirements_of("model-loupe")),
        key=lambda distribution: distribution.name.lower(),
    )
    others = [one for one in distributions if one.name.lower() != "model-loupe"]
    head = ["Model Loupe ships these packages. Each belongs to its authors, under its own licence.", ""]
    width = max(len(one.name) for one in others)
    table = [f"{one.name:<{width}}  {one.version:<14}  {licence_of(one)}" for one in others]
    python = f"\nPython {sys.version.split()[0]}: Python Software Foundation License, python.org/psf\n"
    return "\n".join([*head, *table, python, *(_texts(one) for one in others)])


def licence_of(distribution: metadata.Distribution) -> str:
    """The licence as the package declares it: SPDX expression, classifiers or the free field."""
    declared = distribution.metadata
    if expression := declared.get("License-Expression"):
        return str(expression)
    classifiers = [
        line.rsplit(" :: ", 1)[-1]
        for line in declared.get_all("Classifier") or []
        if line.startswith("License ::") and not line.endswith("OSI Approved")
    ]
    if classifiers:
        return ", ".join(classifiers)
    free = str(declared.get("License") or "").strip()
    return free.splitlines()[0] if free else "see the text below"


def _texts(distribution: metadata.Distribution) -> str:
    """The texts that the package carries, with a heading."""
    parts = [_RULE, f"{distribution.name} {distribution.version}: {licence_of(distribution)}", _RULE]
    for file in distribution.files or []:
        name = file.name.lower()
        if ".dist-info" in str(file) and name.startswith(_LICENCE_FILES):
            path = Path(str(distribution.locate_file(file)))
            if path.is_file():
                parts += [path.read_text(encoding="utf-8", errors="replace").strip(), ""]
    return "\n".join(parts)


if __name__ == "__main__":
    sys.exit(main())
