// The new rows of a step: a head of a query or a key is normed and rotated by one warp. Part of attention.cu, which says
// what HEAD, ROTARY, PAIRED, NORM and TABLE_FLOAT are.

#if TABLE_FLOAT
typedef float table_type;
typedef float2 table_pair;
__device__ __forceinline__ float2 ask_pair(const float* at) { return *reinterpret_cast<const float2*>(at); }
__device__ __forceinline__ float2 ask_twice(const float* at) { return make_float2(*at, *at); }
__device__ __forceinline__ float2 numbers(float2 pair) { return pair; }
#else
typedef u16 table_type;
typedef u32 table_pair;
__device__ __forceinline__ u32 ask_pair(const u16* at) { return load_fresh4(at); }
__device__ __forceinline__ u32 ask_twice(const u16* at) { return *at | (u32)*at << 16; }
#endif
__device__ __forceinline__ float2 numbers(u32 pair) { return make_float2(low(pair), high(pair)); }

// A head of a new row with its part of the tables, asked for by one warp: lane i has the numbers 2i, 2i + 1, 2i + 64 ...
#define PAIRS ((HEAD + 63) / 64)
struct NewHead {
    u32 x[PAIRS];
    table_pair c[PAIRS], s[PAIRS];
};

__device__ __forceinline__ void ask(NewHead& head, const u16* from, const table_type* cosine, const table_type* sine,
                                    int lane) {
#pragma unroll
    for (int n = 0; n < PAIRS; ++n) {
        const int i = 2 * lane + 64 * n;
        head.x[n] = i < HEAD ? load_fresh4(from + i) : 0;
        head.c[n] = head.s[n] = table_pair();
        if (i < ROTARY) {
#if PAIRED
            head.c[n] = ask_twice(cosine + i / 2);
            head.s[n] = ask_twice(sine + i / 2);
#else
            head.c[n] = ask_pair(cosine + i);
            head.s[n] = ask_pair(sine + i);
#endif
        }
    }
}

// Norms and rotates a head and leaves it in two places, if there are two; `scratch` has HEAD numbers of the warp's own.
__device__ __forceinline__ void rotate(u16* to, u16* also, const NewHead& head, const u16* weight, float epsilon,
                                       float* scratch, int lane) {
    float2 x[PAIRS];
#pragma unroll
    for (int n = 0; n < PAIRS; ++n) x[n] = numbers(head.x[n]);
#if NORM
    float squares = 0.0f;
#pragma unroll
    for (int n = 0; n < PAIRS; ++n) squares += x[n].x * x[n].x + x[n].y * x[n].y;
    const float scale = rsqrtf(warp_sum(squares) / HEAD + epsilon);
#pragma unroll
    for (int n = 0; n < PAIRS; ++n) {
        const int i = 2 * lane + 64 * n;
        const u32 pair = i < HEAD ? *reinterpret_cast<const u32*>(weight + i) : 0;
#if NORM == 2
        x[n].x = rounded(x[n].x * scale * (1.0f + low(pair)));
        x[n].y = rounded(x[n].y * scale * (1.0f + high(pair)));
#else
        x[n].x = rounded(low(pair) * rounded(x[n].x * scale));
        x[n].y = rounded(high(pair) * rounded(x[n].y * scale));
#endif
    }
#endif
    __syncwarp();
#pragma unroll
    for (int n = 0; n < PAIRS; ++n) {
        const int i = 2 * lane + 64 * n;
        if (i < HEAD) *reinterpret_cast<float2*>(scratch + i) = x[n];
    }
    __syncwarp();
#pragma unroll
    for (int n = 0; n < PAIRS; ++n) {
        const int i = 2 * lane + 64 * n;
        if (i >= HEAD) continue;
        if (i < ROTARY) {
#if PAIRED
            const float a = -x[n].y, b = x[n].x;
#else  // ROTARY / 2 may be odd: each number has its own partner
            const float a = i < ROTARY / 2 ? -scratch[i + ROTARY / 2] : scratch[i - ROTARY / 2];
            const float b = i + 1 < ROTARY / 2 ? -scratch[i + 1 + ROTARY / 2] : scratch[i + 1 - ROTARY / 2];
#endif
            const float2 c = numbers(head.c[n]), s = numbers(head.s[n]);
            x[n].x = rounded(x[n].x * c.x) + rounded(a * s.x);
            x[n].y = rounded(x[n].y * c.y) + rounded(b * s.y);
        }
        const u32 pair = pack(x[n].x, x[n].y);
        *reinterpret_cast<u32*>(to + i) = pair;
        if (also) *reinterpret_cast<u32*>(also + i) = pair;
    }
}
