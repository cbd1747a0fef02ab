// Attention of a few new rows over a static cache, split along the keys (flash decoding). Queries and keys are normed
// and rotated first, and keys and values written into the cache, by the blocks that need them.
//
// The queries of all heads that share a key head, times the rows, are packed into one tile of at most 16 rows of
// a tensor-core product, so each key and value is read once (rows * GROUP > 16: once a tile, the second time
// from the L2 cache). Each warp has its own keys, copied asynchronously STAGES deep, and its own softmax; the
// warps of a block are merged in shared memory, the blocks of a head by the last of them to finish.
//
// Compiled for BFLOAT16, HEAD (size, a multiple of 16), GROUP (queries a key head), WARPS, STAGES,
// TILE_ROWS (8 or 16), MASK (0 none, 1 bytes, 2 the 16-bit type, 3 float), FACTORS (0 or 1), ROTARY (how many numbers of
// a head are rotated), PAIRED (0: halves are rotated against each other, 1: neighbours), NORM (0 none, 1 Llama's
// rounding, 2 Gemma's 1 + weight), TABLE_FLOAT (type of the tables).
// Grid: x = splits * tiles (split fastest), y = key heads.

#define STEP 16                      // keys of a warp's step
#define PITCH (HEAD + 8)             // a row in shared memory: 16 bytes more, so that no two of eight share a bank
#define RESULT_PITCH (HEAD + 8)      // likewise, of floats
#define BLOCK_KEYS (WARPS * STEP)
#define LOG2_E 1.44269504088896340736f

#if BFLOAT16
#define MMA "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
#else
#define MMA "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 "
#endif

#if MASK == 1
typedef unsigned char mask_type;
__device__ __forceinline__ float mask_value(unsigned char x) { return x ? 0.0f : -INFINITE; }
#elif MASK == 3
typedef float mask_type;
__device__ __forceinline__ float mask_value(float x) { return x; }
#else
typedef u16 mask_type;
__device__ __forceinline__ float mask_value(u16 x) { return to_float(x); }
#endif

__device__ __forceinline__ void copy16(u16* into, const u16* from, bool valid) {
    const int bytes = valid ? 16 : 0;  // the rest is filled with zeros: what lies there may be no number
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared_address(into)), "l"(from), "r"(bytes));
}

__device__ __forceinline__ void load_matrices(u32 (&r)[4], const u16* from) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(shared_address(from)));
}

__device__ __forceinline__ void load_transposed(u32 (&r)[4], const u16* from) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(shared_address(from)));
}

// c += a * b. With TILE_ROWS 8 the lower half of the tile is empty: its accumulators are not kept.
__device__ __forceinline__ void multiply(float (&c)[TILE_ROWS / 4], const u32 (&a)[4], u32 b0, u32 b1) {
#if TILE_ROWS == 8
    float unused0, unused1;
    asm volatile(MMA "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %10, %10};"
                 : "+f"(c[0]), "+f"(c[1]), "=f"(unused0), "=f"(unused1)
                 : "r"(a[0]), "r"(0), "r"(a[2]), "r"(0), "r"(b0), "r"(b1), "f"(0.0f));
#else
    asm volatile(MMA "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
                 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
#endif
}

// Copies the warp's STEP keys and values that start at `key` into one stage, zeros for those at `end` and behind;
// those at `skip` .. `end` are left out.
__device__ __forceinline__ void fetch(u16* stage, const u16* keys, const u16* values, int key, int skip, int end,
                                      int lane) {
    constexpr int chunks = HEAD / 8;
#pragma unroll
    for (int i = 0; i < STEP * chunks / 32; ++i) {
        const int row = (lane + 32 * i) / chunks, column = 8 * ((lane + 32 * i) % chunks), at = key + row;
        if (at >= skip && at < end) continue;
        const u64 source = (u64)(at < end ? at : 0) * HEAD + column;
        copy16(stage + row * PITCH + column, keys + source, at < end);
        copy16(stage + (STEP + row) * PITCH + column, values + source, at < end);
    }
}

extern "C" __global__ void __launch_bounds__(32 * WARPS)
decode_attention(u16* out, const u16* q, const u16* k, const u16* v, const table_type* cosine,
                 const table_type* sine, const u16* q_weight, const u16* k_weight, u16* keys, u16* values,
                 const long long* position_at, const mask_type* mask, const float* factors, float* partial,
                 float* statistics, u32* finished, long long q_stride, long long k_stride, long long v_stride,
                 long long cache_stride, long long mask_stride, int rows, int tiles, float epsilon, float scale,
                 float softcap, int window, int alone) {
    extern __shared__ __align__(16) u16 shared[];
    __shared__ __align__(8) float scratch[WARPS][HEAD];
    __shared__ float warp_maximum[WARPS][TILE_ROWS], warp_total[WARPS][TILE_ROWS];
    __shared__ u32 order;
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    const int splits = gridDim.x / tiles, tile = blockIdx.x / splits, split = blockIdx.x % splits, head = blockIdx.y;

    const int position = (int)*position_at, length = position + rows;
    const int first = window > 0 && position >= window ? position - window + 1 : 0;
    const int steps = (length - first + BLOCK_KEYS - 1) / BLOCK_KEYS;
    const int share = steps <= alone ? steps : (steps + splits - 1) / splits;
    const int active = (steps + share - 1) / share;
    if (split >= active) {
        wait_for_previous();
        start_next();
        return;
    }
    const int begin = first + split * share * BLOCK_KEYS, end = min(length, begin + share * BLOCK_KEYS);

    keys += head * cache_stride;
    values += head * cache_stride;
    u16* stages = shared + warp * STAGES * 2 * STEP * PITCH;
    const int start = begin + warp * STEP;
    // What earlier steps wrote may be fetched before the kernel before this one has ended: at least one kernel that
    // is not dependent ran after them.
#pragma unroll
    for (int ahead = 0; ahead < STAGES - 1; ++ahead) {
        const int key = start + ahead * BLOCK_KEYS;
        if (key < end) fetch(stages + ahead * 2 * STEP * PITCH, keys, values, key, position, end, lane);
        asm volatile("cp.async.commit_group;");
    }
    wait_for_previous();
    start_next();

    // The new keys and values of this block's share, and the queries; all are asked for before the first is used.
    u16* tile_queries = shared + WARPS * STAGES * 2 * STEP * PITCH;
    NewHead new_query, new_key;
    for (int line = warp, place = max(begin, position) + WARPS - 1 - warp; line < TILE_ROWS || place < end;
         line += WARPS, place += WARPS) {
        const int packed = tile * TILE_ROWS + line, row = packed / GROUP, key_row = place - position;
        const bool has_query = line < TILE_ROWS && row < rows, has_key = place < end;
        u32 new_value[PAIRS];
        if (has_query)
            ask(new_query, q + row * q_stride + (head * GROUP + packed % GROUP) * HEAD, cosine + row * ROTARY,
                sine + row * ROTARY, lane);
        if (has_key) {
            ask(new_key, k + key_row * k_stride + head * HEAD, cosine + key_row * ROTARY, sine + key_row * ROTARY,
                lane);
#pragma unroll
            for (int n = 0; n < PAIRS; ++n)
                if (2 * lane + 64 * n < HEAD)
                    new_value[n] = load_fresh4(v + key_row * v_stride + head * HEAD + 2 * lane + 64 * n);
            // Into the cache, and into the stage that left it out, if that is one of the first.
            const int behind = place - begin, stage = behind / BLOCK_KEYS, column = behind % BLOCK_KEYS;
            u16* also = shared + ((column / STEP * STAGES + stage) * 2 * STEP + column % STEP) * PITCH;
            if (stage >= STAGES - 1) also = nullptr;
            rotate(keys + (u64)place * HEAD, also, new_key, k_weight, epsilon, scratch[warp], lane);
#pragma unroll
            for (int n = 0; n < PAIRS; ++n) {
                const int i = 2 * lane + 64 * n;
                if (i >= HEAD) continue;
                *reinterpret_cast<u32*>(values + (u64)place * HEAD + i) = new_value[n];
                if (also) *reinterpret_cast<u32*>(also + STEP * PITCH + i) = new_value[n];
            }
        }
        if (has_query)
            rotate(tile_queries + line * PITCH, nullptr, new_query, q_weight, epsilon, scratch[warp], lane);
        else if (line < TILE_ROWS)
            for (int i = 2 * lane; i < HEAD; i += 64)
                *reinterpret_cast<u32*>(tile_queries + line * PITCH + i) = 0;
    }
    __syncthreads();

    const int matrix = lane / 8, line = lane % 8, group = lane / 4, pair = 2 * (lane % 4);
#if HEAD <= 128
    u32 query[HEAD / 16][4];
#pragma unroll
    for (int k = 0; k < HEAD / 16; ++k)
        load_matrices(query[k], tile_queries + ((matrix & 1) * 8 + line) * PITCH + k * 16 + (matrix >> 1) * 8);
#endif
    constexpr int halves = TILE_ROWS / 8;  // of the tile: rows `group` and `group + 8`
    float result[HEAD / 8][TILE_ROWS / 4];
    float maximum[halves], total[halves];
    int row_of[halves];
#pragma unroll
    for (int half = 0; half < halves; ++half) {
        maximum[half] = -INFINITE;
        total[half] = 0.0f;
        row_of[half] = min((tile * TILE_ROWS + half * 8 + group) / GROUP, rows - 1);
    }
#pragma unroll
    for (int i = 0; i < HEAD / 8; ++i)
#pragma unroll
        for (int j = 0; j < TILE_ROWS / 4; ++j) result[i][j] = 0.0f;

    int stage = 0;
    for (int key = start; key < end; key += BLOCK_KEYS) {
        asm volatile("cp.async.wait_group %0;" ::"n"(STAGES - 2));
        __syncwarp();
        const int ahead = key + (STAGES - 1) * BLOCK_KEYS;
        const int free_stage = stage == 0 ? STAGES - 1 : stage - 1;
        if (ahead < end) fetch(stages + free_stage * 2 * STEP * PITCH, keys, values, ahead, end, end, lane);
        asm volatile("cp.async.commit_group;");
        const u16* stage_keys = stages + stage * 2 * STEP * PITCH;
        const u16* stage_values = stage_keys + STEP * PITCH;
        stage = stage + 1 == STAGES ? 0 : stage + 1;

        float scores[2][TILE_ROWS / 4] = {};
#pragma unroll
        for (int k = 0; k < HEAD / 16; ++k) {
            u32 b[4];
            load_matrices(b, stage_keys + ((matrix >> 1) * 8 + line) * PITCH + k * 16 + (matrix & 1) * 8);
#if HEAD <= 128
            const u32(&a)[4] = query[k];
#else
            u32 a[4];
            load_matrices(a, tile_queries + ((matrix & 1) * 8 + line) * PITCH + k * 16 + (matrix >> 1) * 8);
#endif
            multiply(scores[0], a, b[0], b[1]);
            multiply(scores[1], a, b[2], b[3]);
        }

#pragma unroll
        for (int half = 0; half < halves; ++half) {
            float best = maximum[half];
#pragma unroll
            for (int i = 0; i < 4; ++i) {
                const int at = key + (i / 2) * 8 + pair + i % 2, last = position + row_of[half];
                float& score = scores[i / 2][half * 2 + i % 2];
                const bool visible = at < end && at <= last && (window <= 0 || at > last - window);
                score *= scale;
#if FACTORS
                if (visible) score *= factors[at];
#endif
                if (softcap > 0.0f) score = softcap * tanhf(score / softcap);
#if MASK
                if (visible) score += mask_value(mask[row_of[half] * mask_stride + at]);
#endif
                score = visible ? score * LOG2_E : -INFINITE;
                best = fmaxf(best, score);
            }
            best = fmaxf(best, __shfl_xor_sync(0xffffffffu, best, 1));
            best = fmaxf(best, __shfl_xor_sync(0xffffffffu, best, 2));
            const float base = best == -INFINITE ? 0.0f : best;  // nothing visible yet
            const float kept = exp2f(maximum[half] - base);
            maximum[half] = best;
            total[half] *= kept;
#pragma unroll
            for (int i = 0; i < 4; ++i) {
                float& score = scores[i / 2][half * 2 + i % 2];
                score = exp2f(score - base);
                total[half] += score;
            }
#pragma unroll
            for (int i = 0; i < HEAD / 8; ++i) {
                result[i][half * 2] *= kept;
                result[i][half * 2 + 1] *= kept;
            }
        }

        u32 a[4] = {};
#pragma unroll
        for (int i = 0; i < 2; ++i) {
            a[2 * i] = pack(scores[i][0], scores[i][1]);
#if TILE_ROWS == 16
            a[2 * i + 1] = pack(scores[i][2], scores[i][3]);
#endif
        }
#pragma unroll
        for (int n = 0; n < HEAD / 16; ++n) {
            u32 b[4];
            load_transposed(b, stage_values + ((matrix & 1) * 8 + line) * PITCH + n * 16 + (matrix >> 1) * 8);
            multiply(result[2 * n], a, b[0], b[1]);
            multiply(result[2 * n + 1], a, b[2], b[3]);
        }
    }

    // Merge the warps: every result goes to shared memory, over the stages.
    asm volatile("cp.async.wait_all;");
    __syncthreads();
    float* gathered = reinterpret_cast<float*>(shared);
#pragma unroll
    for (int half = 0; half < halves; ++half) {
        total[half] += __shfl_xor_sync(0xffffffffu, total[half], 1);
        total[half] += __shfl_xor_sync(0xffffffffu, total[half], 2);
        const int row = half * 8 + group;
        if (pair == 0) {
            warp_maximum[warp][row] = maximum[half];
            warp_total[warp][row] = total[half];
        }
#pragma unroll
        for (int i = 0; i < HEAD / 8; ++i)
            *reinterpret_cast<float2*>(gathered + (warp * TILE_ROWS + row) * RESULT_PITCH + i * 8 + pair) =
                make_float2(result[i][half * 2], result[i][half * 2 + 1]);
    }
    __syncthreads();

    const int filled = min(TILE_ROWS, rows * GROUP - tile * TILE_ROWS);
    const int problem = head * tiles + tile, pieces = filled * HEAD / 4;
    partial += (u64)problem * splits * TILE_ROWS * HEAD;
    statistics += (u64)problem * splits * TILE_ROWS * 2;
    for (int i = threadIdx.x; i < pieces; i += 32 * WARPS) {
        const int row = i / (HEAD / 4), column = 4 * (i % (HEAD / 4));
        float best = -INFINITE;
#pragma unroll
        for (int w = 0; w < WARPS; ++w) best = fmaxf(best, warp_maximum[w][row]);
        const float base = best == -INFINITE ? 0.0f : best;
        float sum = 0.0f;
        float4 merged = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
#pragma unroll
        for (int w = 0; w < WARPS; ++w) {
            const float weight = exp2f(warp_maximum[w][row] - base);
            const float4 part = *reinterpret_cast<float4*>(gathered + (w * TILE_ROWS + row) * RESULT_PITCH + column);
            sum += weight * warp_total[w][row];
            add(merged, weight, part);
        }
        if (active == 1) {
            store_result(out, tile * TILE_ROWS + row, head, column, merged, sum);
        } else {
            __stcg(reinterpret_cast<float4*>(partial + (split * TILE_ROWS + row) * HEAD + column), merged);
            if (column == 0)
                __stcg(reinterpret_cast<float2*>(statistics + (split * TILE_ROWS + row) * 2), make_float2(best, sum));
        }
    }
    if (active == 1) return;

    // Merge the blocks of this head: the last to arrive does it. The counter wraps to 0 for the next launch.
    __syncthreads();
    if (threadIdx.x == 0) {
        __threadfence();
        order = atomicInc(finished + problem, active - 1);
        __threadfence();
    }
    __syncthreads();
    if (order != active - 1) return;
    merge_all(out, partial, statistics, reinterpret_cast<float*>(shared), active, splits, filled, tile, head);
}
