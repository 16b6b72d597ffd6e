/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The block loader: any strides and any storage to contiguous float or double, and back.
 * A stride of 0 repeats.  Nothing here assumes alignment.
 */
#include "internal.h"

size_t gkl_size(gkl_type type) {
    static const size_t sizes[] = {2, 2, sizeof(float), sizeof(double)};
    return sizes[type];
}

static float from_bits(uint32_t bits) {
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static float read_f16(const char *p) {
    uint16_t h;
    memcpy(&h, p, sizeof h);
    const uint32_t sign = (uint32_t)(h & 0x8000) << 16, rest = (uint32_t)(h & 0x7fff) << 13;
    /* rest is the number with its exponent 112 too low; infinity and NaN have the top exponent in
     * either format.  A choice between integers, for the compiler makes a branch of one between
     * floats, and no vectors. */
    const uint32_t top = (h & 0x7c00) == 0x7c00 ? 0x7f800000 : 0;
    const float x = from_bits(rest) * 0x1p112f;
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return from_bits(bits | top | sign);
}

static float read_bf16(const char *p) {
    uint16_t h;
    memcpy(&h, p, sizeof h);
    return from_bits((uint32_t)h << 16);
}

static float read_f32(const char *p) {
    float x;
    memcpy(&x, p, sizeof x);
    return x;
}

static double read_f64(const char *p) {
    double x;
    memcpy(&x, p, sizeof x);
    return x;
}

/* rows x n numbers; contiguous ones by a loop of their own, which vectorizes */
#define GATHER(read, TYPE)                                                                       \
    for (ptrdiff_t i = 0; i < rows; ++i, from += row_stride) {                                   \
        TYPE *x = (TYPE *)to + i * n;                                                            \
        if (step == (ptrdiff_t)size)                                                             \
            for (ptrdiff_t j = 0; j < n; ++j)                                                    \
                x[j] = read(from + j * (ptrdiff_t)size);                                         \
        else                                                                                     \
            for (ptrdiff_t j = 0; j < n; ++j)                                                    \
                x[j] = read(from + j * step);                                                    \
    }

void gkl_gather(gkl_type type, const char *from, ptrdiff_t rows, ptrdiff_t row_stride, ptrdiff_t n,
                ptrdiff_t step, void *to) {
    const size_t size = gkl_size(type);
    switch (type) {
    case GKL_F16:
        GATHER(read_f16, float)
        break;
    case GKL_BF16:
        GATHER(read_bf16, float)
        break;
    case GKL_F32:
        GATHER(read_f32, float)
        break;
    case GKL_F64:
        GATHER(read_f64, double)
        break;
    }
}

void gkl_scatter(int is_f64, const void *from, ptrdiff_t rows, ptrdiff_t n, char *to,
                 ptrdiff_t row_stride, ptrdiff_t step) {
    const size_t size = is_f64 ? sizeof(double) : sizeof(float);
    const char *x = from;
    for (ptrdiff_t i = 0; i < rows; ++i, to += row_stride, x += (size_t)n * size) {
        if (step == (ptrdiff_t)size)
            memcpy(to, x, (size_t)n * size);
        else if (is_f64)
            for (ptrdiff_t j = 0; j < n; ++j)
                memcpy(to + j * step, x + (size_t)j * sizeof(double), sizeof(double));
        else
            for (ptrdiff_t j = 0; j < n; ++j)
                memcpy(to + j * step, x + (size_t)j * sizeof(float), sizeof(float));
    }
}

double gkl_read(gkl_type type, const char *from) {
    switch (type) {
    case GKL_F16:
        return (double)read_f16(from);
    case GKL_BF16:
        return (double)read_bf16(from);
    case GKL_F32:
        return (double)read_f32(from);
    default:
        return read_f64(from);
    }
}
