"""What the user meant becomes a request; what the engine says becomes what is shown and kept."""
