// Just enough of CUDA to run one thread block at a time on a processor: a thread of the system for each of the GPU's,
// with barriers where warps and blocks wait. What prelude.cuh does in PTX is done here in C++.
#include <algorithm>
#include <barrier>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <memory>
#include <thread>
#include <vector>

#define __device__
#define __global__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __grid_constant__
#define __align__(n)
#define __restrict__
using std::min;
typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef long long i64;
struct uint4 { u32 x, y, z, w; };
struct float2 { float x, y; };
struct float4 { float x, y, z, w; };
inline uint4 make_uint4(u32 a, u32 b, u32 c, u32 d) { return {a, b, c, d}; }
inline float4 make_float4(float a, float b, float c, float d) { return {a, b, c, d}; }

struct Position { int x; };
thread_local Position threadIdx, blockIdx;
Position gridDim;
alignas(1024) u8 shared[1 << 18];

struct Warp {
    std::barrier<> together{32};
    u32 operands[32][6], exchanged[32];
};
std::vector<std::unique_ptr<Warp>> warps;
std::unique_ptr<std::barrier<>> block_barrier;
std::vector<std::unique_ptr<std::barrier<>>> group_barriers;

inline Warp& warp_of() { return *warps[threadIdx.x / 32]; }
inline void __syncwarp() { warp_of().together.arrive_and_wait(); }
inline void __syncthreads() { block_barrier->arrive_and_wait(); }
inline void group_barrier(int number) { group_barriers[number]->arrive_and_wait(); }

inline float __uint_as_float(u32 bits) { float value; memcpy(&value, &bits, 4); return value; }
inline float __expf(float x) { return std::exp(x); }
template <typename T> T __ldg(const T* address) { return *address; }
inline u32 __byte_perm(u32 low, u32 high, u32 selector) {
    const uint64_t bytes = (uint64_t)high << 32 | low;
    u32 result = 0;
    for (int i = 0; i < 4; i++) result |= (u32)(bytes >> 8 * (selector >> 4 * i & 7) & 255) << 8 * i;
    return result;
}
template <typename T> T __shfl_sync(u32, T value, int source) {
    Warp& warp = warp_of();
    memcpy(&warp.exchanged[threadIdx.x % 32], &value, 4);
    __syncwarp();
    T result;
    memcpy(&result, &warp.exchanged[source & 31], 4);
    __syncwarp();
    return result;
}
template <typename T> T __shfl_xor_sync(u32 mask, T value, int bits) {
    return __shfl_sync(mask, value, (threadIdx.x % 32) ^ bits);
}

struct Bf16 {
    static float to_float(u16 value) { return __uint_as_float((u32)value << 16); }
    static u16 from_float(float value) {
        u32 bits;
        memcpy(&bits, &value, 4);
        return (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
    }
    // mma.m16n8k16 by its definition: which thread holds which element is in the PTX manual.
    static void mma(float (&acc)[4], u32 a0, u32 a1, u32 a2, u32 a3, u32 b0, u32 b1) {
        Warp& warp = warp_of();
        const int lane = threadIdx.x % 32;
        const u32 mine[6] = {a0, a1, a2, a3, b0, b1};
        memcpy(warp.operands[lane], mine, sizeof mine);
        __syncwarp();
        for (int i = 0; i < 4; i++) {
            const int row = lane / 4 + 8 * (i / 2), column = 2 * (lane % 4) + i % 2;
            for (int k = 0; k < 16; k++) {
                const int quad = k % 8 / 2, half = k / 8, shift = 16 * (k % 2);
                const u32 a = warp.operands[row % 8 * 4 + quad][row / 8 + 2 * half] >> shift;
                const u32 b = warp.operands[column * 4 + quad][4 + half] >> shift;
                acc[i] += to_float(a) * to_float(b);
            }
        }
        __syncwarp();
    }
};

inline void wait_for_previous() {}
inline void start_next() {}
inline uint4 load_once(const void* address) { uint4 value; memcpy(&value, address, 16); return value; }
inline uint4 load_fresh(const void* address) { return load_once(address); }
