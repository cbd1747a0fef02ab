"""Where a bundle starts: the window, or (called as ``model-loupe-engine``) the headless commands."""

import multiprocessing
import sys
from pathlib import Path

if __name__ == "__main__":
    # A reader of documents is a fresh copy of this program; here it becomes one and never comes back.
    multiprocessing.freeze_support()
    if Path(sys.argv[0]).stem == "model-loupe-engine":
        from inference.__main__ import main
    else:
        from app.__main__ import main
    sys.exit(main())
