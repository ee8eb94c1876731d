/* For kernels compiled at run time: NVRTC knows memcpy and memset by itself. */
