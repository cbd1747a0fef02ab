"""One forward pass of a model: what goes in (masks, factors, caches) and cheaper ways to run it."""
