"""Benchmarks, one module each; see ``python -m inference bench``."""
