// The 16-bit type that a kernel is compiled for: -DBFLOAT16=1 or 0. Comes after prelude.cuh.

#if BFLOAT16
typedef Bf16 Number;
#else
typedef Fp16 Number;
#endif

__device__ __forceinline__ float to_float(u16 x) { return Number::to_float(x); }
__device__ __forceinline__ u32 pack(float low, float high) { return Number::pack(low, high); }
// A value as the 16-bit type would hold it: what a chain of the framework's operations rounds to at each step.
__device__ __forceinline__ float rounded(float x) { return Number::to_float(Number::from_float(x)); }
__device__ __forceinline__ float low(u32 pair) { return to_float((u16)pair); }
__device__ __forceinline__ float high(u32 pair) { return to_float((u16)(pair >> 16)); }
__device__ __forceinline__ u32 load_fresh4(const void* address) {
    u32 value;
    asm volatile("ld.global.cg.u32 %0, [%1];" : "=r"(value) : "l"(address) : "memory");
    return value;
}
