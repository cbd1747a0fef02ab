// Rotary embedding of the new queries and keys, and the writing of keys and values into a static cache.
// One warp a head and row: heads 0 .. QUERY_HEADS are queries, then KEY_HEADS keys, then KEY_HEADS values.
// Compiled for BFLOAT16, HEAD (size), ROTARY (how many numbers of a head are rotated), QUERY_HEADS, KEY_HEADS,
// WARPS, NORM (0 none, 1 Llama's rounding, 2 Gemma's 1 + weight) and TABLE_FLOAT (type of cosine and sine).

#if TABLE_FLOAT
typedef float table_type;
__device__ __forceinline__ float entry(float x) { return x; }
#else
typedef u16 table_type;
__device__ __forceinline__ float entry(u16 x) { return to_float(x); }
#endif

extern "C" __global__ void __launch_bounds__(32 * WARPS)
rotary(u16* queries_out, u16* keys, u16* values, const u16* q, const u16* k, const u16* v,
       const table_type* cosine, const table_type* sine, const u16* q_weight, const u16* k_weight,
       const long long* position, long long q_stride, long long k_stride, long long v_stride,
       long long cache_stride, float epsilon) {
    __shared__ float shared[WARPS][HEAD];
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    const int head = blockIdx.x * WARPS + warp, row = blockIdx.y;
    const i64 place = *position + row;
    wait_for_previous();
    start_next();
    if (head >= QUERY_HEADS + 2 * KEY_HEADS) return;
    const bool is_query = head < QUERY_HEADS;
    const int other = head - QUERY_HEADS;
    if (other >= KEY_HEADS) {
        const u64 slot = (other - KEY_HEADS) * cache_stride + place * HEAD;
        const u16* from = v + row * v_stride + (other - KEY_HEADS) * HEAD;
        for (int i = 2 * lane; i < HEAD; i += 64)
            *reinterpret_cast<u32*>(values + slot + i) = load_fresh4(from + i);
        return;
    }
    const u16* from = is_query ? q + row * q_stride + head * HEAD : k + row * k_stride + other * HEAD;
    u16* to = is_query ? queries_out + (static_cast<u64>(row) * QUERY_HEADS + head) * HEAD
                       : keys + other * cache_stride + place * HEAD;
    float* mine = shared[warp];
    float squares = 0.0f;
    for (int i = 2 * lane; i < HEAD; i += 64) {
        const u32 pair = load_fresh4(from + i);
        mine[i] = low(pair);
        mine[i + 1] = high(pair);
        squares += mine[i] * mine[i] + mine[i + 1] * mine[i + 1];
    }
#if NORM
    const float scale = rsqrtf(warp_sum(squares) / HEAD + epsilon);
    const u16* weight = is_query ? q_weight : k_weight;
    for (int i = 2 * lane; i < HEAD; i += 64)
#pragma unroll
        for (int j = i; j < i + 2; ++j)
#if NORM == 2
            mine[j] = rounded(mine[j] * scale * (1.0f + to_float(weight[j])));
#else
            mine[j] = rounded(to_float(weight[j]) * rounded(mine[j] * scale));
#endif
#endif
    __syncwarp();
    for (int i = 2 * lane; i < HEAD; i += 64) {
        float turned[2];
#pragma unroll
        for (int j = 0; j < 2; ++j) {
            const int at = i + j;
            if (at < ROTARY) {
                const float c = entry(cosine[row * ROTARY + at]), s = entry(sine[row * ROTARY + at]);
                const float partner = at < ROTARY / 2 ? -mine[at + ROTARY / 2] : mine[at - ROTARY / 2];
                turned[j] = rounded(mine[at] * c) + rounded(partner * s);
            } else {
                turned[j] = mine[at];
            }
        }
        *reinterpret_cast<u32*>(to + i) = pack(turned[0], turned[1]);
    }
}
