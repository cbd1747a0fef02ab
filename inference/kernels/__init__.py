"""GPU kernels, compiled at run time, each with a plain torch twin that says what it computes."""
