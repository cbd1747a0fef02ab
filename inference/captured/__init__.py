"""The decode step of fixed shapes, which a CUDA graph can hold: its buffers, its sampling, its pipeline."""
