// y = x W^T for one activation row and four-bit weights. After prelude.cuh, stored.cuh.
//
// The same product as gemv.cu, with less work besides the table's lookups. With one row of x only two of the eight columns of B
// were in use. Here a chunk has four pieces (256 bytes of 16 rows) and piece j has columns 2j and 2j + 1: x of all four is read
// by one load, each piece has its own accumulators, and of these thread t of a quad keeps piece t's columns, so it needs the
// absmax of that piece only.
//
// Options as in gemv.cu: ACT, FORMAT 2 or 3, WARPS, GROUPS, MIN_BLOCKS, X_ODD, PAIRED. Rows must have a multiple of 512 * WARPS
// weights in blocks of 64.

#ifndef PAIRED
#define PAIRED 0
#endif

constexpr int kThreads = WARPS * GROUPS * 32;
constexpr bool kNested = FORMAT == 3;
constexpr int kTable = 256 * 256, kCode = kNested ? 1024 : 0, kPartials = 2 * GROUPS * WARPS * 16 * 4;

struct Scales {  // of the weight rows g and g + 8, two blocks each
    float2 value[2];
    u32 quantized[2];
};

struct Walk {  // what a group goes through: units (tiles; of two segments if PAIRED) and steps within a unit
    int unit, part, step;
};

extern "C" __global__ void __launch_bounds__(kThreads, MIN_BLOCKS)
gemv(const u16* __restrict__ x, const float* __restrict__ nested_code, const __grid_constant__ Segments segments,
     const __grid_constant__ Code code, int tiles, int features, int x_stride, int out_stride) {
    float* const nested_table = reinterpret_cast<float*>(shared + kTable);
    float* const partials = reinterpret_cast<float*>(shared + kTable + kCode);
    u16* const x_shared = reinterpret_cast<u16*>(X_ODD ? shared + 128 : shared + kTable + kCode + kPartials);
    const int thread = threadIdx.x, lane = thread & 31, warp = (thread >> 5) % WARPS, group = (thread >> 5) / WARPS;
    const int g = lane >> 2, t = lane & 3;
    const int steps = features / (512 * WARPS), row_bytes = features / 2, blocks = features / 64;
    const int stride_units = gridDim.x * GROUPS;
    start_next();

    auto index_of = [&](const Walk& walk) -> int {
        return PAIRED ? walk.part : (walk.unit >= segments.of[1].first) + (walk.unit >= segments.of[2].first);
    };
    auto advance = [&](Walk& walk) {
        if (++walk.step < steps) return false;
        walk.step = 0;
        if (!PAIRED || (walk.part ^= 1) == 0) walk.unit += stride_units;
        return true;
    };

    // Where the loads are, a chunk ahead of the sums.
    const Walk start = {(int)(group * gridDim.x + blockIdx.x), 0, 0};
    Walk ahead = start;
    const u8* weights[2] = {nullptr, nullptr};
    const u8* absmax = nullptr;
    const float* nested = nullptr;
    int block[2] = {0, 0};
    auto enter = [&]() {
        if (ahead.unit >= tiles) return;
        const Segment& s = segments.of[index_of(ahead)];
        absmax = static_cast<const u8*>(s.scale);
        nested = s.nested;
        #pragma unroll
        for (int r = 0; r < 2; r++) {
            const int row = min((ahead.unit - s.first) * 16 + g + 8 * r, s.rows - 1);
            weights[r] = s.weight + (i64)row * row_bytes + warp * 256 + t * 16;
            block[r] = row * blocks + warp * 8 + t * 2;
        }
    };
    uint4 pieces[4][2];
    auto load_piece = [&](int j) {
        #pragma unroll
        for (int r = 0; r < 2; r++) pieces[j][r] = load_once(weights[r] + ahead.step * (WARPS * 256) + j * 64);
    };
    auto load_scales = [&](Scales& scales) {
        #pragma unroll
        for (int r = 0; r < 2; r++) {
            const int first = block[r] + ahead.step * (WARPS * 8);
            if (kNested) {
                scales.quantized[r] = __ldg(reinterpret_cast<const u16*>(absmax + first));
                scales.value[r].x = __ldg(nested + (first >> 8));
            } else {
                scales.value[r] = __ldg(reinterpret_cast<const float2*>(absmax) + (first >> 1));
            }
        }
    };

    Scales scales = {}, next = {};
    enter();
    if (ahead.unit < tiles) {
        #pragma unroll
        for (int j = 0; j < 4; j++) load_piece(j);
        load_scales(scales);
    }
    if (advance(ahead)) enter();
    make_table<ACT, kThreads>(code, thread);
    if (kNested) for (int i = thread; i < 256; i += kThreads) nested_table[i] = __ldg(nested_code + i);

    wait_for_previous();
    // What the four threads of a quad read at once lies side by side (they would meet in the same banks otherwise); with
    // X_ODD in the halves of the table's entries that hold no pairs, 64 elements in each.
    auto x_place = [](int element) {
        element = (element & ~127) + ((element >> 3) & 3) * 32 + ((element >> 5) & 3) * 8 + (element & 7);
        return X_ODD ? (element >> 6) * 128 + (element & 63) : element;
    };
    for (int i = thread; i < features / 8; i += kThreads)
        *reinterpret_cast<uint4*>(x_shared + x_place(i * 8)) = load_fresh(x + i * 8);
    __syncthreads();

    const u16* const x_lane = x_shared + x_place((g >> 1) * 128 + t * 32);
    const bool reads_x = (g & 1) == (t >> 1);  // even columns: first block of the piece; odd ones: second
    uint4 xs[4] = {};
    float sums[2] = {0, 0};
    const u32 lane4 = lane * 4;
    auto add_piece = [&](const uint4 (&rows)[2], float (&acc)[4]) {
        const u32 words0[4] = {rows[0].x, rows[0].y, rows[0].z, rows[0].w};
        const u32 words1[4] = {rows[1].x, rows[1].y, rows[1].z, rows[1].w};
        #pragma unroll
        for (int q = 0; q < 4; q++) {
            u32 a[8];
            #pragma unroll
            for (int i = 0; i < 4; i++) {
                a[2 * i] = look_up(lane4, words0[q], i);
                a[2 * i + 1] = look_up(lane4, words1[q], i);
            }
            ACT::mma(acc, a[0], a[1], a[2], a[3], xs[q].x, xs[q].y);
            ACT::mma(acc, a[4], a[5], a[6], a[7], xs[q].z, xs[q].w);
        }
    };

    // Adds the warps' sums of a tile and writes it.
    Walk now = start;
    int parity = 0;
    float held = 0;
    const int member = thread % (WARPS * 32);
    auto finish = [&]() {
        const Segment& s = segments.of[index_of(now)];
        const int row = (now.unit - s.first) * 16 + member;
        const bool writes = member < 16 && row < s.rows;
        float bias = 0, residual = 0;
        if (writes && s.bias) bias = ACT::to_float(s.bias[row]);
        if (writes && s.residual) residual = ACT::to_float(s.residual[row]);
        float* const mine = partials + ((parity * GROUPS + group) * WARPS + warp) * 16;
        #pragma unroll
        for (int r = 0; r < 2; r++) {
            sums[r] += __shfl_xor_sync(0xffffffffu, sums[r], 1);
            sums[r] += __shfl_xor_sync(0xffffffffu, sums[r], 2);
            if (t == 0) mine[g + 8 * r] = sums[r];
            sums[r] = 0;
        }
        asm volatile("bar.sync %0, %1;" :: "r"(group + 1), "r"(WARPS * 32) : "memory");
        if (member < 16) {
            const float* all = partials + (parity * GROUPS + group) * WARPS * 16 + member;
            float value = bias;
            #pragma unroll
            for (int w = 0; w < WARPS; w++) value += all[w * 16];
            if (PAIRED && now.part == 0) {
                held = value;
            } else if (writes) {
                if (PAIRED) value = gated<ACT>(held, value);
                if (s.residual) value = ACT::to_float(ACT::from_float(value)) + residual;
                segments.of[PAIRED ? 0 : index_of(now)].out[row] = ACT::from_float(value);
            }
        }
        parity ^= 1;
    };

    while (now.unit < tiles) {
        const bool more = ahead.unit < tiles;
        if (more) load_scales(next);
        const u16* const x_chunk = x_lane + (now.step * WARPS + warp) * (X_ODD ? 1024 : 512);
        if (reads_x) {
            #pragma unroll
            for (int q = 0; q < 4; q++) xs[q] = *reinterpret_cast<const uint4*>(x_chunk + (X_ODD ? (q >> 1) * 128 + (q & 1) * 32 : q * 32));
        }
        float kept[4];
        #pragma unroll
        for (int j = 0; j < 4; j++) {
            float acc[4] = {};
            add_piece(pieces[j], acc);
            if (more) load_piece(j);
            #pragma unroll
            for (int i = 0; i < 4; i++) kept[i] = j == 0 || t == j ? acc[i] : kept[i];
        }
        const float mean = kNested ? segments.of[index_of(now)].offset : 0.0f;
        #pragma unroll
        for (int r = 0; r < 2; r++) {
            float2 scale = scales.value[r];
            if (kNested) {
                scale.y = fmaf(nested_table[scales.quantized[r] >> 8], scale.x, mean);
                scale.x = fmaf(nested_table[scales.quantized[r] & 255], scale.x, mean);
            }
            sums[r] = fmaf(kept[2 * r + 1], scale.y, fmaf(kept[2 * r], scale.x, sums[r]));
        }
        scales = next;
        if (more && advance(ahead)) enter();
        if (now.step + 1 == steps) finish();
        advance(now);
    }
}
