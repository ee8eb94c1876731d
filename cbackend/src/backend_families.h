/* The per-family entries of cb_backend (see internal.h). Included inside the struct. */
