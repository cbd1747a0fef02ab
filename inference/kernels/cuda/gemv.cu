// y = x W^T for one to eight activation rows, W read once, as it is stored. After prelude.cuh.
//
// Options: ACT Bf16 or Fp16; FORMAT 0 dense, 1 int8 (row scales), 2 four bits (absmax), 3 four bits (double-quantized absmax);
// ROWS 1..8; WARPS warps that share a tile of 16 weight rows; GROUPS such groups in a thread block; DEPTH chunks in flight;
// FULL 1 if the chunks of a row come out even for the warps; SHIFT log2(blocksize / 64); X_SHARED 1 keeps x in shared memory;
// PAIRED 1 computes silu(x W0^T) * (x W1^T); MIN_BLOCKS thread blocks on a multiprocessor that registers must allow;
// TABLE_BASE address of dynamic shared memory in its window (a constant of the architecture; the host asks shared_base).
//
// The product runs on the tensor cores (mma.m16n8k16) with weights as A (16 weight rows) and activations as B (8 columns).
// The order of k within the sum is free, so each thread takes 16 contiguous bytes of a weight row, four threads 64 bytes, and x
// is read in the same order; a "chunk" is two such pieces, 128 bytes of 16 rows. Four bits: a byte becomes two values by one
// lookup in a table of 256 pairs, one copy for each lane (no bank conflicts; an entry is 256 bytes apart, so that the address is
// the byte and the lane put side by side by one permute). A piece holds two blocks of 64 with their own absmax: even columns of
// B keep x for the first block and odd ones x for the second (zero elsewhere), so one mma yields both sums and the scales are
// applied once a block.

#ifndef SHIFT
#define SHIFT 0
#endif
#ifndef FULL
#define FULL 0
#endif
#ifndef TABLE_BASE
#define TABLE_BASE 1024
#endif
#ifndef PAIRED
#define PAIRED 0
#endif
#ifndef X_SHARED
#define X_SHARED 1
#endif

constexpr int kThreads = WARPS * GROUPS * 32;
constexpr bool kFourBits = FORMAT >= 2;
constexpr bool kNested = FORMAT == 3;
constexpr int kPiece = kFourBits ? 128 : FORMAT == 1 ? 64 : 32;  // weights of one row in 64 bytes
constexpr int kChunk = 2 * kPiece;
constexpr bool kWideScales = FULL && SHIFT == 0;                  // four neighbouring absmax in one load
constexpr int kPasses = kFourBits && ROWS > 4 ? 2 : 1;           // sets of accumulators
constexpr int kTable = kFourBits ? 256 * 256 : 0;
constexpr int kCode = kNested ? 1024 : 0;
constexpr int kPartials = 2 * GROUPS * WARPS * 16 * ROWS * 4;

struct Segment {
    const u8* weight;      // rows x row_bytes
    const void* scale;     // absmax (float, or u8 if nested); int8: row scales (float); dense: unused
    const float* nested;   // absmax of the absmax, one for 256
    const float* offset;   // mean of the absmax
    const u16* bias;       // rows, or null
    const u16* residual;   // like out, or null: added after rounding
    u16* out;              // ROWS x rows
    int rows;
    int first;             // number of its first tile
};

struct Raw {               // of the weight rows g and g + 8: two pieces, and four absmax
    uint4 piece[2][2];
    float4 scale[2];
    u32 quantized[2];
};

struct Segments {
    Segment of[3];
};

extern __shared__ __align__(1024) u8 shared[];

// The pair of values of byte `index` of `word`; lane4 is four times the lane.
__device__ __forceinline__ u32 look_up(u32 lane4, u32 word, int index) {
    u32 pair;
    asm volatile("ld.shared.u32 %0, [%1 + %2];"
        : "=r"(pair) : "r"(__byte_perm(lane4, word, 0x1100 | (4 + index) << 4)), "n"(TABLE_BASE));
    return pair;
}

__device__ __forceinline__ uint4 zero4() { return make_uint4(0, 0, 0, 0); }

// Two int8 (bytes 0 and 2 of `spread`, the others zero) as exact floating point.
template <typename T> __device__ __forceinline__ u32 widen(u32 spread);
template <> __device__ __forceinline__ u32 widen<Bf16>(u32 spread) {
    // 128 + low seven bits, and -128 or -256 by the sign bit, which is the lowest bit of bf16's exponent.
    u32 positive = (spread & 0x007f007fu) | 0x43004300u, negative = (spread & 0x00800080u) | 0xc300c300u, result;
    asm("fma.rn.bf16x2 %0, %1, %2, %3;" : "=r"(result) : "r"(positive), "r"(0x3f803f80u), "r"(negative));
    return result;
}
template <> __device__ __forceinline__ u32 widen<Fp16>(u32 spread) {
    u32 biased = spread ^ 0x64806480u, result;  // 1024 + (value + 128)
    asm("sub.rn.f16x2 %0, %1, %2;" : "=r"(result) : "r"(biased), "r"(0x64806480u));
    return result;
}

struct Walk {  // what a group goes through: units (tiles; of two segments if PAIRED) and steps within a unit
    int unit, part, step;
};

extern "C" __global__ void __launch_bounds__(kThreads, MIN_BLOCKS)
gemv(const u16* __restrict__ x, const float* __restrict__ code, const float* __restrict__ nested_code,
     const __grid_constant__ Segments segments,
     int tiles, int features, int x_stride, int out_stride) {
    float* const nested_table = reinterpret_cast<float*>(shared + kTable);
    float* const partials = reinterpret_cast<float*>(shared + kTable + kCode);
    u16* const x_shared = reinterpret_cast<u16*>(shared + kTable + kCode + kPartials);

    const int thread = threadIdx.x, lane = thread & 31, warp = (thread >> 5) % WARPS, group = (thread >> 5) / WARPS;
    const int g = lane >> 2, t = lane & 3;
    const int chunks = (features + kChunk - 1) / kChunk, steps = (chunks + WARPS - 1) / WARPS;
    const int row_bytes = features / kPiece * 64 + features % kPiece * 64 / kPiece;
    const int blocks = features / 64;  // of 64 weights in a row
    const int stride_units = gridDim.x * GROUPS;
    start_next();

    auto index_of = [&](int unit, int part) -> int {
        return PAIRED ? part : (unit >= segments.of[1].first) + (unit >= segments.of[2].first);
    };

    // Where the loads are, DEPTH steps ahead of the sums.
    Walk ahead = {(int)(group * gridDim.x + blockIdx.x), 0, 0};
    const u8* weights[2] = {nullptr, nullptr};
    const u8* absmax = nullptr;
    const float* nested = nullptr;
    int block[2] = {0, 0}, last_block = 0;
    auto enter = [&]() {
        if (ahead.unit >= tiles) return;
        const Segment& s = segments.of[index_of(ahead.unit, ahead.part)];
        absmax = static_cast<const u8*>(s.scale);
        nested = s.nested;
        last_block = s.rows * blocks - 1;
        #pragma unroll
        for (int r = 0; r < 2; r++) {
            const int row = min((ahead.unit - s.first) * 16 + g + 8 * r, s.rows - 1);
            weights[r] = s.weight + (i64)row * row_bytes + warp * 128 + t * 16;
            block[r] = row * blocks + warp * 4;
        }
    };
    // The absmax of four neighbouring blocks of 64, the first of them number `first`; those beyond the row get sums of 0.
    auto load_scales = [&](int first, float4& scale, u32& quantized) {
        if constexpr (kNested) {
            quantized = 0;
            if (kWideScales) {
                quantized = __ldg(reinterpret_cast<const u32*>(absmax + first));
                scale.x = scale.y = scale.z = scale.w = __ldg(nested + (first >> 8));
            } else {
                float values[4];
                #pragma unroll
                for (int i = 0; i < 4; i++) {
                    const int index = min(first + i, last_block) >> SHIFT;
                    quantized |= (u32)__ldg(absmax + index) << 8 * i;
                    values[i] = __ldg(nested + (index >> 8));
                }
                scale = make_float4(values[0], values[1], values[2], values[3]);
            }
        } else {
            const float* values = reinterpret_cast<const float*>(absmax);
            if (kWideScales) {
                scale = __ldg(reinterpret_cast<const float4*>(values + first));
            } else {
                scale.x = __ldg(values + (min(first, last_block) >> SHIFT));
                scale.y = __ldg(values + (min(first + 1, last_block) >> SHIFT));
                scale.z = __ldg(values + (min(first + 2, last_block) >> SHIFT));
                scale.w = __ldg(values + (min(first + 3, last_block) >> SHIFT));
            }
        }
    };
    auto load = [&](Raw& raw) {
        if (ahead.unit < tiles) {
            #pragma unroll
            for (int r = 0; r < 2; r++) {
                const int chunk = ahead.step * WARPS;
                #pragma unroll
                for (int h = 0; h < 2; h++) {
                    if (FULL || (chunk + warp) * 128 + h * 64 + t * 16 < row_bytes)
                        raw.piece[h][r] = load_once(weights[r] + chunk * 128 + h * 64);
                    else
                        raw.piece[h][r] = zero4();
                }
                if (kFourBits) load_scales(block[r] + chunk * 4, raw.scale[r], raw.quantized[r]);
            }
        }
        if (++ahead.step == steps) {
            ahead.step = 0;
            if (!PAIRED || (ahead.part ^= 1) == 0) ahead.unit += stride_units;
            enter();
        }
    };

    Raw ring[DEPTH];
    enter();
    #pragma unroll
    for (int d = 0; d < DEPTH; d++) load(ring[d]);

    if (kFourBits) {
        for (int i = thread; i < 256 * 8; i += kThreads) {
            const int entry = i >> 3;
            const u32 pair = (u32)ACT::from_float(__ldg(code + (entry >> 4))) | (u32)ACT::from_float(__ldg(code + (entry & 15))) << 16;
            *reinterpret_cast<uint4*>(shared + entry * 256 + (i & 7) * 16) = make_uint4(pair, pair, pair, pair);
        }
    }
    if (kNested) for (int i = thread; i < 256; i += kThreads) nested_table[i] = __ldg(nested_code + i);
    float offset0 = 0, offset1 = 0, offset2 = 0;
    if (kNested) {
        offset0 = __ldg(segments.of[0].offset);
        offset1 = __ldg(segments.of[1].offset);
        offset2 = __ldg(segments.of[2].offset);
    }

    wait_for_previous();
    const int x_row = X_SHARED ? chunks * kChunk + 8 : x_stride;  // elements; 16 bytes more against bank conflicts
    if (X_SHARED) {
        const int vectors = chunks * kChunk / 8;
        for (int m = 0; m < ROWS; m++)
            for (int i = thread; i < vectors; i += kThreads)
                *reinterpret_cast<uint4*>(x_shared + m * x_row + i * 8) =
                    i * 8 < features ? load_fresh(x + (i64)m * x_stride + i * 8) : zero4();
    }
    __syncthreads();

    // Four bits: column g of B is row g / 2 of x, block g % 2. Otherwise column g is row g. Columns past ROWS are ignored.
    const int column_row = kFourBits ? g >> 1 : g;
    const bool reads_x = kFourBits ? (g & 1) == (t >> 1) : true;
    const u16* x_lane[kPasses];
    #pragma unroll
    for (int p = 0; p < kPasses; p++)
        x_lane[p] = (X_SHARED ? x_shared : x) + (i64)min(column_row + 4 * p, ROWS - 1) * x_row + t * (kPiece / 4);

    uint4 xs[kPasses];
    #pragma unroll
    for (int p = 0; p < kPasses; p++) xs[p] = zero4();
    auto load_x = [&](int pass, int element) {  // element within the thread's part of the row
        if (!reads_x) return;
        if (X_SHARED) xs[pass] = *reinterpret_cast<const uint4*>(x_lane[pass] + element);
        else if (element + t * (kPiece / 4) < features) xs[pass] = *reinterpret_cast<const uint4*>(x_lane[pass] + element);
        else xs[pass] = zero4();
    };

    float sums[kPasses][4] = {};
    const u32 lane4 = lane * 4;
    auto add_piece = [&](const uint4 (&rows)[2], int element, float (&acc)[kPasses][4]) {
        const u32 words0[4] = {rows[0].x, rows[0].y, rows[0].z, rows[0].w};
        const u32 words1[4] = {rows[1].x, rows[1].y, rows[1].z, rows[1].w};
        if constexpr (kFourBits) {
            #pragma unroll
            for (int q = 0; q < 4; q++) {
                u32 a[8];
                #pragma unroll
                for (int i = 0; i < 4; i++) {
                    a[2 * i] = look_up(lane4, words0[q], i);
                    a[2 * i + 1] = look_up(lane4, words1[q], i);
                }
                #pragma unroll
                for (int p = 0; p < kPasses; p++) {
                    load_x(p, element + q * 8);
                    ACT::mma(acc[p], a[0], a[1], a[2], a[3], xs[p].x, xs[p].y);
                    ACT::mma(acc[p], a[4], a[5], a[6], a[7], xs[p].z, xs[p].w);
                }
            }
        } else if constexpr (FORMAT == 1) {
            #pragma unroll
            for (int q = 0; q < 4; q++) {
                if (q % 2 == 0) load_x(0, element + q * 4);
                const u32 a0 = widen<ACT>(__byte_perm(words0[q], 0, 0x4140)), a2 = widen<ACT>(__byte_perm(words0[q], 0, 0x4342));
                const u32 a1 = widen<ACT>(__byte_perm(words1[q], 0, 0x4140)), a3 = widen<ACT>(__byte_perm(words1[q], 0, 0x4342));
                ACT::mma(acc[0], a0, a1, a2, a3, q % 2 ? xs[0].z : xs[0].x, q % 2 ? xs[0].w : xs[0].y);
            }
        } else {
            load_x(0, element);
            ACT::mma(acc[0], words0[0], words1[0], words0[1], words1[1], xs[0].x, xs[0].y);
            ACT::mma(acc[0], words0[2], words1[2], words0[3], words1[3], xs[0].z, xs[0].w);
        }
    };
    auto add_chunk = [&](const Raw& raw, int chunk, float offset) {
        if constexpr (!kFourBits) {
            add_piece(raw.piece[0], chunk * kChunk, sums);
            add_piece(raw.piece[1], chunk * kChunk + kPiece, sums);
        } else {
            #pragma unroll
            for (int h = 0; h < 2; h++) {
                float acc[kPasses][4] = {};
                add_piece(raw.piece[h], chunk * kChunk + h * kPiece, acc);
                #pragma unroll
                for (int r = 0; r < 2; r++) {
                    float first = h ? raw.scale[r].z : raw.scale[r].x, second = h ? raw.scale[r].w : raw.scale[r].y;
                    if (kNested) {
                        first = fmaf(nested_table[raw.quantized[r] >> 16 * h & 255], first, offset);
                        second = fmaf(nested_table[raw.quantized[r] >> (16 * h + 8) & 255], second, offset);
                    }
                    #pragma unroll
                    for (int p = 0; p < kPasses; p++)
                        sums[p][r] = fmaf(acc[p][2 * r + 1], second, fmaf(acc[p][2 * r], first, sums[p][r]));
                }
            }
        }
    };

    // Adds the warps' sums of a tile and writes it; the first 16 * ROWS threads of the group write.
    Walk now = {(int)(group * gridDim.x + blockIdx.x), 0, 0};
    int parity = 0;
    float held = 0;
    const int member = thread % (WARPS * 32);
    auto finish = [&]() {
        const Segment& s = segments.of[index_of(now.unit, now.part)];
        const int row = (now.unit - s.first) * 16 + (member & 15), m = member >> 4;
        const bool writes = member < 16 * ROWS && row < s.rows;
        float scale = 1, bias = 0, residual = 0;
        if (writes) {
            if (FORMAT == 1) scale = __ldg(static_cast<const float*>(s.scale) + row) * (1.0f / 127.0f);
            if (s.bias) bias = ACT::to_float(s.bias[row]);
            if (s.residual) residual = ACT::to_float(s.residual[(i64)m * out_stride + row]);
        }
        float* const mine = partials + ((parity * GROUPS + group) * WARPS + warp) * 16 * ROWS;
        #pragma unroll
        for (int p = 0; p < kPasses; p++) {
            #pragma unroll
            for (int i = 0; i < 4; i++) {
                const int column = kFourBits ? t + 4 * p : 2 * t + (i & 1), high = kFourBits ? i : i >> 1;
                if ((!kFourBits || i < 2) && column < ROWS) mine[column * 16 + g + 8 * high] = sums[p][i];
                sums[p][i] = 0;
            }
        }
        asm volatile("bar.sync %0, %1;" :: "r"(group + 1), "r"(WARPS * 32) : "memory");
        if (member < 16 * ROWS) {
            const float* all = partials + (parity * GROUPS + group) * WARPS * 16 * ROWS + member;
            float value = 0;
            #pragma unroll
            for (int w = 0; w < WARPS; w++) value += all[w * 16 * ROWS];
            value = fmaf(value, scale, bias);
            if (PAIRED && now.part == 0) {
                held = value;
            } else if (writes) {
                if (PAIRED) {
                    const float gate = ACT::to_float(ACT::from_float(held));
                    const float active = ACT::to_float(ACT::from_float(gate / (1.0f + __expf(-gate))));
                    value = active * ACT::to_float(ACT::from_float(value));
                }
                if (s.residual) value = ACT::to_float(ACT::from_float(value)) + residual;
                segments.of[PAIRED ? 0 : index_of(now.unit, 0)].out[(i64)m * out_stride + row] = ACT::from_float(value);
            }
        }
        parity ^= 1;
    };
    auto offset_of = [&]() {
        const int index = index_of(now.unit, now.part);
        return index == 2 ? offset2 : index == 1 ? offset1 : offset0;
    };

    while (now.unit < tiles) {
        #pragma unroll
        for (int d = 0; d < DEPTH; d++) {
            if (now.unit >= tiles) break;
            const int chunk = now.step * WARPS + warp;
            if (FULL || chunk < chunks) add_chunk(ring[d], chunk, kNested ? offset_of() : 0.0f);
            load(ring[d]);
            if (++now.step == steps) {
                finish();
                now.step = 0;
                if (!PAIRED || (now.part ^= 1) == 0) now.unit += stride_units;
            }
        }
    }
}

extern "C" __global__ void shared_base(u32* out) { *out = (u32)__cvta_generic_to_shared(shared); }
