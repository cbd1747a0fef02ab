"""Benchmarks of the window; each prints its figures with their ratio to a reference measured in the same
run.
"""
