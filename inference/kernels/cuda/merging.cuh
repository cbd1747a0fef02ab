// How the blocks that share a head exchange their results: through the L2 cache. Part of attention.cu, which says what
// HEAD, GROUP, WARPS and TILE_ROWS are. (Through each other's shared memory, as a cluster, they were 11 % faster at 640
// keys on an H200 and up to 47 % slower at all other lengths that were tried.)

#define INFINITE __int_as_float(0x7f800000)
#define PARTS 32                     // results of blocks that a thread has in flight when it merges them

__device__ __forceinline__ u32 shared_address(const void* pointer) {
    return static_cast<u32>(__cvta_generic_to_shared(pointer));
}

__device__ __forceinline__ void add(float4& sum, float weight, const float4& part) {
    sum.x += weight * part.x;
    sum.y += weight * part.y;
    sum.z += weight * part.z;
    sum.w += weight * part.w;
}

// Four numbers of the result of a packed row (of all rows and heads of a group), over the sum of its weights.
__device__ __forceinline__ void store_result(u16* out, int packed, int head, int column, const float4& merged, float sum) {
    const float inverse = sum > 0.0f ? 1.0f / sum : 0.0f;  // a row that sees no key is 0
    u16* to = out + ((u64)(packed / GROUP) * gridDim.y * GROUP + head * GROUP + packed % GROUP) * HEAD;
    *reinterpret_cast<uint2*>(to + column) = make_uint2(pack(merged.x * inverse, merged.y * inverse),
                                                        pack(merged.z * inverse, merged.w * inverse));
}

// Four numbers of piece `i` of a tile from each of PARTS blocks, from block `from` on.
__device__ __forceinline__ void fetch_parts(float4 (&parts)[PARTS], const float* partial, int i, int from, int active) {
#pragma unroll
    for (int s = 0; s < PARTS; ++s)
        if (from + s < active)
            parts[s] = __ldcg(reinterpret_cast<const float4*>(partial + (u64)(from + s) * TILE_ROWS * HEAD) + i);
}

// Merges the results of all blocks of a tile by one of them. `shared` has room for two numbers a row and block.
__device__ __forceinline__ void merge_all(u16* out, const float* partial, const float* statistics, float* shared,
                                          int active, int splits, int filled, int tile, int head) {
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32, pieces = filled * HEAD / 4;
    float4 parts[PARTS];  // asked for before the weights are known: one trip to the L2 cache for both
    fetch_parts(parts, partial, threadIdx.x, 0, threadIdx.x < pieces ? active : 0);
    float* weights = shared;
    float* totals = shared + TILE_ROWS * splits;
    __shared__ float sums[TILE_ROWS];
    for (int row = warp; row < filled; row += WARPS) {
        float best = -INFINITE, sum = 0.0f;
        for (int s = lane; s < active; s += 32) {
            const float2 each = __ldcg(reinterpret_cast<const float2*>(statistics + (s * TILE_ROWS + row) * 2));
            weights[row * splits + s] = each.x;
            totals[row * splits + s] = each.y;
            best = fmaxf(best, each.x);
        }
        best = warp_max(best);
        const float base = best == -INFINITE ? 0.0f : best;
        for (int s = lane; s < active; s += 32) {
            const float weight = exp2f(weights[row * splits + s] - base);
            sum += weight * totals[row * splits + s];
            weights[row * splits + s] = weight;
        }
        sums[row] = warp_sum(sum);
    }
    __syncthreads();
    for (int i = threadIdx.x; i < pieces; i += 32 * WARPS) {
        const int row = i / (HEAD / 4), column = 4 * (i % (HEAD / 4));
        float4 merged = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
        for (int from = 0; from < active; from += PARTS) {
            if (from > 0 || i != threadIdx.x) fetch_parts(parts, partial, i, from, active);
#pragma unroll
            for (int s = 0; s < PARTS; ++s)
                if (from + s < active) add(merged, weights[row * splits + from + s], parts[s]);
        }
        store_result(out, tile * TILE_ROWS + row, head, column, merged, sums[row]);
    }
}
