"""Files that ship with the app: icons, styles, the built-in model, a sample document."""

from pathlib import Path

ROOT = Path(__file__).resolve().parent
BUILTIN_MODEL = ROOT / "models" / "builtin"
