// activation(gate) * up, eight numbers a thread, each step rounded as the framework's operations round it.
// Compiled for BFLOAT16 and ACTIVATION: 0 SiLU, 1 GELU (erf), 2 GELU (tanh).

__device__ __forceinline__ float activated(float x) {
#if ACTIVATION == 0
    return x / (1.0f + __expf(-x));
#elif ACTIVATION == 1
    return 0.5f * x * (1.0f + erff(x * 0.70710678118654752f));
#else
    return 0.5f * x * (1.0f + tanhf(0.79788456080286536f * (x + 0.044715f * x * x * x)));
#endif
}

__device__ __forceinline__ u32 gated(u32 gate, u32 up) {
    return pack(rounded(activated(low(gate))) * low(up), rounded(activated(high(gate))) * high(up));
}

extern "C" __global__ void gated_activation(u16* out, const u16* gate, const u16* up, long long gate_stride,
                                            long long up_stride, int size) {
    const int at = 8 * (blockIdx.x * blockDim.x + threadIdx.x);
    wait_for_previous();
    start_next();
    if (at >= size) return;
    const u64 row = blockIdx.y;
    const uint4 g = load_fresh(gate + row * gate_stride + at);
    const uint4 u = load_fresh(up + row * up_stride + at);
    uint4 r;
    r.x = gated(g.x, u.x);
    r.y = gated(g.y, u.y);
    r.z = gated(g.z, u.z);
    r.w = gated(g.w, u.w);
    *reinterpret_cast<uint4*>(out + row * size + at) = r;
}
