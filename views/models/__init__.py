"""Qt models that hold what is shown; controllers write them, widgets read them and subscribe."""
