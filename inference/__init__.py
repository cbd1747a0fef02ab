"""Everything about models; no Qt. Usable as a library and from ``python -m inference``."""
