"""Qt models that hold what the window shows; they know events, no engine."""
