/* How functions of the device are declared, and the dtypes' storage types. Also part of kernels compiled at
 * run time. */
#ifndef CB_TYPES_H
#define CB_TYPES_H

#define CB_DEV static __device__ __forceinline__
#define CB_BOTH static __host__ __device__ __forceinline__
#define CB_BOTH_MEMBER static __host__ __device__ __forceinline__

/* The dtypes' storage types, and types of arithmetic that C spells differently. */
struct cb_f16 {
    uint16_t bits;
};
struct cb_bf16 {
    uint16_t bits;
};
#endif
