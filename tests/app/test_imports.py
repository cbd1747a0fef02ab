"""Who may import whom, looked at in fresh processes: an eager ``__init__`` would slip past a static check."""

from __future__ import annotations

import subprocess
import sys

_IMPORT_ALL = """
import importlib, pkgutil, sys
{block}
package = importlib.import_module("{package}")
for module in pkgutil.walk_packages(package.__path__, "{package}."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)
print(sorted(name for name in {names} if name in sys.modules))
"""


def _run(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=170)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip().splitlines()[-1]


def test_no_view_loads_the_engine() -> None:
    names = ["torch", "transformers", "accelerate", "bitsandbytes", "app"]
    assert _run(_IMPORT_ALL.format(package="views", block="", names=names)) == "[]"


def test_the_app_loads_no_torch_before_a_worker_asks_for_it() -> None:
    names = ["torch", "transformers"]
    assert _run(_IMPORT_ALL.format(package="app", block="", names=names)) == "[]"


def test_the_window_is_put_together_without_what_only_some_panels_need() -> None:
    names = ["torch", "numpy", "pyqtgraph", "pypdfium2", "lancedb", "pyarrow"]
    code = f"import sys, app.bootstrap; print([name for name in {names} if name in sys.modules])"
    assert _run(code) == "[]"


def test_the_engine_needs_no_qt() -> None:
    blocked = ("PySide6", "shiboken6", "pyqtgraph", "qtawesome", "views", "app")
    block = f"for name in {blocked}: sys.modules[name] = None"
    assert _run(_IMPORT_ALL.format(package="inference", block=block, names=["torch"])) == "['torch']"


def test_the_session_can_be_imported_without_torch() -> None:
    assert _run("import sys, inference.session; print([n for n in ('torch',) if n in sys.modules])") == "[]"
