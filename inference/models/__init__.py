"""A model on disk: what it is, whether it fits, whether it is safe, and how it becomes a loaded model."""
