"""What the user meant goes to controllers, what controllers say goes to widgets; one module for each
corner.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.wiring import conversation, documents, models, panels, window

if TYPE_CHECKING:
    from app.bootstrap import App


def connect(app: App) -> None:
    """Connect everything."""
    for corner in (conversation, models, documents, panels, window):
        corner.connect(app)
