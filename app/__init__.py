"""Puts the parts together: start-up, the worker thread, controllers, settings, history, error reporting."""
