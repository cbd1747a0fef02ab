"""Looking inside a model or a text without generating: lens, attention, experts, probabilities."""
