"""GPU kernels, compiled at run time, each with a plain torch twin that says what it computes.

- compiler.py, libraries.py: CUDA C++ text -> NVRTC -> a launch on torch's stream (why ctypes:
  libraries.py).
- weights.py: what bitsandbytes stores, and the twin of the products; gemv.py, gemv_plan.py,
  cuda/gemv.cu, cuda/gemv_row.cu: products of one to eight activation rows with dense, int8 and 4-bit
  weights.
- linears.py: a model's linear layers routed through the products, and back.

Products: what a step's linear layers take (``python -m inference bench kernels``; NVIDIA H200, torch
2.11, CUDA 13.0, bitsandbytes 0.50.2, 2026-11-23; Llama-3-8B shapes, 32 layers, one activation row,
random weights, graph replay, q+k+v and gate+up in one launch each; the floor is the bytes by a device
copy's 4.245 TB/s):

    storage               ms a step   floor   share   without the kernels
    NF4, quantized absmax     1.365   0.848    62 %   4.07 (bitsandbytes)
    NF4                       1.370   0.925    68 %   4.16 (bitsandbytes)
    int8, weight-only         2.038   1.645    81 %   5.24 (bitsandbytes, without its outliers)
    bf16                      3.309   3.288    99 %   4.20 (cuBLAS)
    bf16 LM head              0.238   0.248   104 %   0.242 (cuBLAS)

Microseconds a launch, NF4 with quantized absmax: q+k+v 6.5, o 4.9, gate+up 20.2, down 11.7 (floors 3.1,
2.0, 14.3, 7.1). With more rows (the kernel of several rows, an earlier cut): NF4 1.70 ms for 2, 1.84 for
4, 2.42 for 8; int8 2.06, 2.17, 2.22; bf16 3.47, 3.59, 3.64. Relative error against float64: 2.0e-3
(bf16), 4e-4 (fp16).

What was tried for NF4 with quantized absmax, milliseconds a step:

- 1.64: mma.m16n8k16, weights as A by a byte -> pair table (64 KB, a copy a lane, address by one
  permute), x as B, scales applied once a block. Without programmatic dependent launch: 1.92.
- 1.61: two blocks of 8 warps a multiprocessor instead of one of 16. With half the warps a tile 1.99,
  with twice 1.83; deeper prefetch 1.66-1.72; 64 registers and four blocks' worth of warps 2.1-2.5.
- 1.54: the code in the kernel's parameters and one shared table for the quantized absmax, where each
  layer had its own in device memory.
- 1.47: loads that bring 128 bytes into L2 (for bf16 this is the step from 3.77 to 3.28, for int8 from
  2.09 to 2.01) and x laid out so that a quad's reads do not meet in the same banks.
- 1.365: the kernel of one row (x of four pieces in one load, absmax decoded by the thread that needs it,
  four independent chains of products). Predicted 1.25.
- Without gain: weights through a ring in shared memory by cp.async (1.50-1.60, though half the
  registers); 256 bytes into L2; a whole row for one or two warps (2.7-4.6, too few for the small
  matrices).
- What is left out, at 1.47: without the table's lookups 1.21, without x 1.36, without decoding absmax
  1.37, without products 1.34, without the first three 1.11. So over half of the gap to the floor is work
  in shared memory, the rest the chain between launches (an x arrives, two chunks a warp are decoded, a
  sum, the next launch): 2 to 3 microseconds, 128 times. Fewer launches, not faster ones, would be the
  next step.
"""
