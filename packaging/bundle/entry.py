"""Where a bundle starts: the window, or the headless commands.

The commands answer to ``model-loupe-engine`` (a link, where the package can have one) and to
``model-loupe --engine`` everywhere.
"""

import multiprocessing
import sys
from pathlib import Path

if __name__ == "__main__":
    # A reader of documents is a fresh copy of this program; here it becomes one and never comes back.
    multiprocessing.freeze_support()
    asked = sys.argv[1:2] == ["--engine"]
    if asked:
        del sys.argv[1]
    if asked or Path(sys.argv[0]).stem == "model-loupe-engine":
        from inference.__main__ import main
    else:
        from app.__main__ import main
    sys.exit(main())
