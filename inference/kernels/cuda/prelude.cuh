// What CUDA's headers would give to kernels that cannot include them: types, conversions, loads, fences.
//
// Activations are 16 bits wide: Bf16 and Fp16 are tags with the same static functions, so that a kernel is written once as a
// template over the tag; in memory both are u16. A pair in one u32 has the lower index in the lower half.

#ifndef LOAD_AHEAD
#define LOAD_AHEAD ""  // or ".L2::256B": what load_once brings into L2 around what it reads
#endif

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef signed char i8;
typedef long long i64;

struct Bf16 {
    static __device__ __forceinline__ float to_float(u16 value) { return __uint_as_float((u32)value << 16); }
    static __device__ __forceinline__ u16 from_float(float value) {
        u16 result;
        asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(result) : "f"(value));
        return result;
    }
    static __device__ __forceinline__ u32 pack(float low, float high) {
        u32 result;
        asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(result) : "f"(high), "f"(low));
        return result;
    }
    // acc (16 x 8, float) += a (16 x 16) b (16 x 8): mma.m16n8k16.
    static __device__ __forceinline__ void mma(float (&acc)[4], u32 a0, u32 a1, u32 a2, u32 a3, u32 b0, u32 b1) {
        asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
            : "+f"(acc[0]), "+f"(acc[1]), "+f"(acc[2]), "+f"(acc[3])
            : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "r"(b0), "r"(b1));
    }
};

struct Fp16 {
    static __device__ __forceinline__ float to_float(u16 value) {
        float result;
        asm("cvt.f32.f16 %0, %1;" : "=f"(result) : "h"(value));
        return result;
    }
    static __device__ __forceinline__ u16 from_float(float value) {
        u16 result;
        asm("cvt.rn.f16.f32 %0, %1;" : "=h"(result) : "f"(value));
        return result;
    }
    static __device__ __forceinline__ u32 pack(float low, float high) {
        return (u32)from_float(low) | ((u32)from_float(high) << 16);
    }
    static __device__ __forceinline__ void mma(float (&acc)[4], u32 a0, u32 a1, u32 a2, u32 a3, u32 b0, u32 b1) {
        asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
            : "+f"(acc[0]), "+f"(acc[1]), "+f"(acc[2]), "+f"(acc[3])
            : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "r"(b0), "r"(b1));
    }
};

// Waits until every earlier kernel in the stream has ended and its writes can be seen.
__device__ __forceinline__ void wait_for_previous() {
#if __CUDA_ARCH__ >= 900
    asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}

// Lets the next kernel of the stream start when every thread block has come here or ended.
__device__ __forceinline__ void start_next() {
#if __CUDA_ARCH__ >= 900
    asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
#endif
}

// 16 bytes that are read once: weights. They must not be written while the kernel runs.
__device__ __forceinline__ uint4 load_once(const void* address) {
    uint4 value;
    asm volatile("ld.global.nc.L1::no_allocate" LOAD_AHEAD ".v4.u32 {%0,%1,%2,%3}, [%4];"
        : "=r"(value.x), "=r"(value.y), "=r"(value.z), "=r"(value.w) : "l"(address));
    return value;
}

// 16 bytes that an earlier kernel wrote (through L2: an overlapping kernel's L1 may be stale).
__device__ __forceinline__ uint4 load_fresh(const void* address) {
    uint4 value;
    asm volatile("ld.global.cg.v4.u32 {%0,%1,%2,%3}, [%4];"
        : "=r"(value.x), "=r"(value.y), "=r"(value.z), "=r"(value.w) : "l"(address) : "memory");
    return value;
}

__device__ __forceinline__ float warp_sum(float value) {
    #pragma unroll
    for (int offset = 16; offset > 0; offset >>= 1) value += __shfl_xor_sync(0xffffffffu, value, offset);
    return value;
}

__device__ __forceinline__ float warp_max(float value) {
    #pragma unroll
    for (int offset = 16; offset > 0; offset >>= 1) value = fmaxf(value, __shfl_xor_sync(0xffffffffu, value, offset));
    return value;
}
