// What the products share: where weights lie, and the table that turns four bits into numbers. After prelude.cuh.
// TABLE_BASE is the address of dynamic shared memory in its window, a constant of the architecture (the host asks for it).

#ifndef TABLE_BASE
#define TABLE_BASE 1024
#endif

struct Segment {
    const u8* weight;      // rows x row_bytes
    const void* scale;     // absmax (float, or u8 if nested); int8: row scales (float); dense: unused
    const float* nested;   // absmax of the absmax, one for 256
    const u16* bias;       // rows, or null
    const u16* residual;   // like out, or null: added after rounding
    u16* out;              // ROWS x rows
    int rows;
    int first;             // number of its first tile
    float offset;          // mean of the absmax
    int unused;
};

struct Code {
    float value[16];       // of four bits
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

// The table at the start of shared memory: pairs of values by byte, a copy for each lane, entries 256 bytes apart.
template <typename T, int Threads> __device__ __forceinline__ void make_table(const Code& code, int thread) {
    const u32 mine = T::from_float(code.value[thread & 15]);
    for (int i = thread; i < 256 * 8; i += Threads) {
        const int entry = i >> 3;
        const u32 first = __shfl_sync(0xffffffffu, mine, entry >> 4), second = __shfl_sync(0xffffffffu, mine, entry & 15);
        const u32 pair = first | second << 16;
        *reinterpret_cast<uint4*>(shared + entry * 256 + (i & 7) * 16) = make_uint4(pair, pair, pair, pair);
    }
}

// silu(gate) * up, rounded as the framework's operations round.
template <typename T> __device__ __forceinline__ float gated(float gate, float up) {
    gate = T::to_float(T::from_float(gate));
    const float active = T::to_float(T::from_float(gate / (1.0f + __expf(-gate))));
    return active * T::to_float(T::from_float(up));
}
