// y = x W^T for one to eight activation rows, W read once, as it is stored. After prelude.cuh, stored.cuh.
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
#ifndef X_ODD
#define X_ODD 0
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

struct Raw {               // of the weight rows g and g + 8: two pieces, and four absmax
    uint4 piece[2][2];
    float4 scale[2];
    u32 quantized[2];
};

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
gemv(const u16* __restrict__ x, const float* __restrict__ nested_code, const __grid_constant__ Segments segments,
     const __grid_constant__ Code code, int tiles, int features, int x_stride, int out_stride) {
    const int thread = threadIdx.x, lane = thread & 31, warp = (thread >> 5) % WARPS, group = (thread >> 5) / WARPS;
    const int g = lane >> 2, t = lane & 3;
    float* const nested_table = reinterpret_cast<float*>(shared + kTable);
    float* const partials = reinterpret_cast<float*>(shared + kTable + kCode);
    u16* const x_shared = reinterpret_cast<u16*>(X_ODD ? shared + 128 : shared + kTable + kCode + kPartials);
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
    auto advance = [&]() {
        if (++ahead.step == steps) {
            ahead.step = 0;
            if (!PAIRED || (ahead.part ^= 1) == 0) ahead.unit += stride_units;
            enter();
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
        advance();
    };

    Raw ring[DEPTH];
    enter();
    #pragma unroll
    for (int d = 0; d < DEPTH; d++) load(ring[d]);

    if (kFourBits) make_table<ACT, kThreads>(code, thread);
    if (kNested) for (int i = thread; i < 256; i += kThreads) nested_table[i] = __ldg(nested_code + i);

    wait_for_previous();
    // Elements between rows of x. In shared memory 16 bytes more, against bank conflicts; or in the halves of the table's
    // entries that hold no pairs, 64 elements in each.
    const int x_row = X_ODD ? chunks * kChunk * 2 : X_SHARED ? chunks * kChunk + (FORMAT == 0 ? 32 : 8) : x_stride;
    auto x_place = [](int element) {
        // Four bits: what the four threads read at once lies side by side (they would meet in the same banks otherwise).
        if (X_SHARED && kFourBits)
            element = (element & ~127) + ((element >> 3) & 3) * 32 + ((element >> 5) & 3) * 8 + (element & 7);
        return X_ODD ? (element >> 6) * 128 + (element & 63) : element;
    };
    if (X_SHARED) {
        const int vectors = chunks * kChunk / 8;
        for (int m = 0; m < ROWS; m++)
            for (int i = thread; i < vectors; i += kThreads)
                *reinterpret_cast<uint4*>(x_shared + m * x_row + x_place(i * 8)) =
                    i * 8 < features ? load_fresh(x + (i64)m * x_stride + i * 8) : zero4();
    }
    __syncthreads();

    // Four bits: column g of B is row g / 2 of x, block g % 2. Otherwise column g is row g. Columns past ROWS are ignored.
    const int column_row = kFourBits ? g >> 1 : g;
    const bool reads_x = kFourBits ? (g & 1) == (t >> 1) : true;
    const u16* x_lane[kPasses];
    #pragma unroll
    for (int p = 0; p < kPasses; p++)
        x_lane[p] = (X_SHARED ? x_shared : x) + (i64)min(column_row + 4 * p, ROWS - 1) * x_row + x_place(t * (kPiece / 4));

    uint4 xs[kPasses];
    #pragma unroll
    for (int p = 0; p < kPasses; p++) xs[p] = zero4();
    auto load_x = [&](int pass, int chunk, int within) {  // eight elements of the thread's part of a chunk
        if (!reads_x) return;
        const u16* address = x_lane[pass] + chunk * (X_ODD ? 2 * kChunk : kChunk) + x_place(within);
        if (X_SHARED || FULL || chunk * kChunk + within + t * (kPiece / 4) < features)
            xs[pass] = *reinterpret_cast<const uint4*>(address);
        else
            xs[pass] = zero4();
    };

    float sums[kPasses][4] = {};
    const u32 lane4 = lane * 4;
    auto add_piece = [&](const uint4 (&rows)[2], int chunk, int within, float (&acc)[kPasses][4]) {
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
                    load_x(p, chunk, within + q * 8);
                    ACT::mma(acc[p], a[0], a[1], a[2], a[3], xs[p].x, xs[p].y);
                    ACT::mma(acc[p], a[4], a[5], a[6], a[7], xs[p].z, xs[p].w);
                }
            }
        } else if constexpr (FORMAT == 1) {
            #pragma unroll
            for (int q = 0; q < 4; q++) {
                if (q % 2 == 0) load_x(0, chunk, within + q * 4);
                const u32 a0 = widen<ACT>(__byte_perm(words0[q], 0, 0x4140)), a2 = widen<ACT>(__byte_perm(words0[q], 0, 0x4342));
                const u32 a1 = widen<ACT>(__byte_perm(words1[q], 0, 0x4140)), a3 = widen<ACT>(__byte_perm(words1[q], 0, 0x4342));
                ACT::mma(acc[0], a0, a1, a2, a3, q % 2 ? xs[0].z : xs[0].x, q % 2 ? xs[0].w : xs[0].y);
            }
        } else {
            load_x(0, chunk, within);
            ACT::mma(acc[0], words0[0], words1[0], words0[1], words1[1], xs[0].x, xs[0].y);
            ACT::mma(acc[0], words0[2], words1[2], words0[3], words1[3], xs[0].z, xs[0].w);
        }
    };
    auto add_chunk = [&](const Raw& raw, int chunk, float offset) {
        if constexpr (!kFourBits) {
            add_piece(raw.piece[0], chunk, 0, sums);
            add_piece(raw.piece[1], chunk, kPiece, sums);
        } else {
            #pragma unroll
            for (int h = 0; h < 2; h++) {
                float acc[kPasses][4] = {};
                add_piece(raw.piece[h], chunk, h * kPiece, acc);
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
    constexpr int kOutputs = (16 * ROWS + WARPS * 32 - 1) / (WARPS * 32);  // a thread
    float held[kOutputs] = {};
    const int member = thread % (WARPS * 32);
    float row_scale[kOutputs];
    auto begin_unit = [&]() {  // int8: the scales of the unit's rows are on their way while it is summed
        if (FORMAT != 1 || now.unit >= tiles) return;
        const Segment& s = segments.of[index_of(now.unit, now.part)];
        #pragma unroll
        for (int o = 0; o < kOutputs; o++) {
            const int row = (now.unit - s.first) * 16 + (member & 15);
            row_scale[o] = __ldg(static_cast<const float*>(s.scale) + min(row, s.rows - 1)) * (1.0f / 127.0f);
        }
    };
    auto finish = [&]() {
        const Segment& s = segments.of[index_of(now.unit, now.part)];
        float scale[kOutputs], bias[kOutputs], residual[kOutputs];
        #pragma unroll
        for (int o = 0; o < kOutputs; o++) {
            const int output = member + o * WARPS * 32, row = (now.unit - s.first) * 16 + (output & 15), m = output >> 4;
            scale[o] = 1;
            bias[o] = residual[o] = 0;
            if (output >= 16 * ROWS || row >= s.rows) continue;
            if (FORMAT == 1) scale[o] = row_scale[o];
            if (s.bias) bias[o] = ACT::to_float(s.bias[row]);
            if (s.residual) residual[o] = ACT::to_float(s.residual[(i64)m * out_stride + row]);
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
        if (WARPS == 1) __syncwarp();
        else asm volatile("bar.sync %0, %1;" :: "r"(group + 1), "r"(WARPS * 32) : "memory");
        #pragma unroll
        for (int o = 0; o < kOutputs; o++) {
            const int output = member + o * WARPS * 32, row = (now.unit - s.first) * 16 + (output & 15), m = output >> 4;
            if (output >= 16 * ROWS) continue;
            const float* all = partials + (parity * GROUPS + group) * WARPS * 16 * ROWS + output;
            float value = 0;
            #pragma unroll
            for (int w = 0; w < WARPS; w++) value += all[w * 16 * ROWS];
            value = fmaf(value, scale[o], bias[o]);
            if (PAIRED && now.part == 0) {
                held[o] = value;
            } else if (row < s.rows) {
                if (PAIRED) value = gated<ACT>(held[o], value);
                if (s.residual) value = ACT::to_float(ACT::from_float(value)) + residual[o];
                segments.of[PAIRED ? 0 : index_of(now.unit, 0)].out[(i64)m * out_stride + row] = ACT::from_float(value);
            }
        }
        parity ^= 1;
    };
    auto step_on = [&]() {
        if (++now.step == steps) {
            finish();
            now.step = 0;
            if (!PAIRED || (now.part ^= 1) == 0) now.unit += stride_units;
            begin_unit();
        }
    };
    begin_unit();
    auto mean = [&]() { return kNested ? segments.of[index_of(now.unit, now.part)].offset : 0.0f; };

    while (now.unit < tiles) {
        #pragma unroll
        for (int d = 0; d < DEPTH; d++) {
            if (now.unit >= tiles) break;
            const int chunk = now.step * WARPS + warp;
            if (FULL || chunk < chunks) add_chunk(ring[d], chunk, mean());
            load(ring[d]);
            step_on();
        }
    }
}

extern "C" __global__ void shared_base(u32* out) { *out = (u32)__cvta_generic_to_shared(shared); }
