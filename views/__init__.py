"""Qt widgets and the Qt models they show; never torch or transformers."""
