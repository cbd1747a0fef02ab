// RMS norm of rows of SIZE numbers, one block a row, with what stands around it in a decoder layer:
//   sum = residual + x * multiplier, or residual + norm(x) with weights of its own (AROUND: what Gemma 2 and 3 do)
//   normed = norm(sum)
// Compiled for BFLOAT16, SIZE, THREADS (SIZE <= 8 * THREADS * PER_THREAD), RESIDUAL, AROUND, ONE_PLUS.

#if ONE_PLUS  // Gemma: x * scale * (1 + weight), rounded once
__device__ __forceinline__ float scaled(float x, float scale, float weight) {
    return rounded(x * scale * (1.0f + weight));
}
#else  // Llama: weight * rounded(x * scale)
__device__ __forceinline__ float scaled(float x, float scale, float weight) {
    return rounded(weight * rounded(x * scale));
}
#endif

__device__ __forceinline__ float block_sum(float x, float* shared) {
    x = warp_sum(x);
    if (threadIdx.x % 32 == 0) shared[threadIdx.x / 32] = x;
    __syncthreads();
    x = threadIdx.x % 32 < THREADS / 32 ? shared[threadIdx.x % 32] : 0.0f;
    return warp_sum(x);
}

__device__ __forceinline__ void load8(float* into, const u16* from) {
    const uint4 raw = load_fresh(from);
    const u32 words[4] = {raw.x, raw.y, raw.z, raw.w};
#pragma unroll
    for (int i = 0; i < 4; ++i) {
        into[2 * i] = low(words[i]);
        into[2 * i + 1] = high(words[i]);
    }
}

__device__ __forceinline__ void store8(u16* into, const float* from) {
    uint4 raw;
    raw.x = pack(from[0], from[1]);
    raw.y = pack(from[2], from[3]);
    raw.z = pack(from[4], from[5]);
    raw.w = pack(from[6], from[7]);
    *reinterpret_cast<uint4*>(into) = raw;
}

extern "C" __global__ void __launch_bounds__(THREADS)
rms_norm(u16* normed, u16* sum, const u16* x, const u16* residual, const u16* weight, const u16* around,
         float epsilon, float around_epsilon, float multiplier) {
    __shared__ float shared[2][32];
    const u64 row = static_cast<u64>(blockIdx.x) * SIZE;
    float values[PER_THREAD][8];
    float weights[PER_THREAD][8];
    float squares = 0.0f;
#pragma unroll
    for (int part = 0; part < PER_THREAD; ++part) {
        const int at = 8 * (threadIdx.x + part * THREADS);
        if (at < SIZE) load8(weights[part], weight + at);
    }
    wait_for_previous();
    start_next();
#pragma unroll
    for (int part = 0; part < PER_THREAD; ++part) {
        const int at = 8 * (threadIdx.x + part * THREADS);
#pragma unroll
        for (int i = 0; i < 8; ++i) values[part][i] = 0.0f;
        if (at < SIZE) load8(values[part], x + row + at);
    }
#if AROUND
#pragma unroll
    for (int part = 0; part < PER_THREAD; ++part)
#pragma unroll
        for (int i = 0; i < 8; ++i) squares += values[part][i] * values[part][i];
    const float inner = rsqrtf(block_sum(squares, shared[1]) / SIZE + around_epsilon);
    squares = 0.0f;
#endif
#pragma unroll
    for (int part = 0; part < PER_THREAD; ++part) {
        const int at = 8 * (threadIdx.x + part * THREADS);
        if (at >= SIZE) continue;
#if AROUND
        float outer[8];
        load8(outer, around + at);
#pragma unroll
        for (int i = 0; i < 8; ++i) values[part][i] = scaled(values[part][i], inner, outer[i]);
#endif
#if RESIDUAL
        float added[8];
        load8(added, residual + row + at);
#pragma unroll
        for (int i = 0; i < 8; ++i)
            values[part][i] = rounded(rounded(values[part][i] * multiplier) + added[i]);
        store8(sum + row + at, values[part]);
#endif
#pragma unroll
        for (int i = 0; i < 8; ++i) squares += values[part][i] * values[part][i];
    }
    const float scale = rsqrtf(block_sum(squares, shared[0]) / SIZE + epsilon);
#pragma unroll
    for (int part = 0; part < PER_THREAD; ++part) {
        const int at = 8 * (threadIdx.x + part * THREADS);
        if (at >= SIZE) continue;
#pragma unroll
        for (int i = 0; i < 8; ++i) values[part][i] = scaled(values[part][i], scale, weights[part][i]);
        store8(normed + row + at, values[part]);
    }
}
