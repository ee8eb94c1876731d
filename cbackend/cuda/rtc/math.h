/* For kernels compiled at run time: NVRTC knows the functions of math.h by itself. */
