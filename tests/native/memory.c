/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Numbers as they are stored, memory between unmapped pages, and jobs over it.
 */
#define _GNU_SOURCE
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#if defined(_WIN32)
#include <windows.h>
#undef NEAR /* a regime of ours */
#else
#include <sys/mman.h>
#include <unistd.h>
#endif

#include "harness.h"

/* ---- numbers ---- */

static const int digits[] = {[GKL_F16] = 11, [GKL_BF16] = 8, [GKL_F32] = 24, [GKL_F64] = 53};
static const size_t sizes[] = {[GKL_F16] = 2, [GKL_BF16] = 2, [GKL_F32] = 4, [GKL_F64] = 8};

double rounded(gkl_type type, double x) { /* subnormal numbers come up in float16 only */
    int e;
    if (x == 0 || !isfinite(x))
        return x;
    frexp(x, &e);
    const int unit = (type == GKL_F16 && e < -13 ? -13 : e) - digits[type];
    return ldexp(nearbyint(ldexp(x, -unit)), unit);
}

void put(gkl_type type, char *to, double x) {
    const float single = (float)x;
    uint32_t bits;
    memcpy(&bits, &single, sizeof bits);
    uint16_t half = (uint16_t)(bits >> 16);
    if (type == GKL_F16 && !isfinite(x))
        half = (uint16_t)((bits >> 16 & 0x8000) | (isnan(x) ? 0x7e00 : 0x7c00));
    else if (type == GKL_F16)
        half = (uint16_t)((bits >> 16 & 0x8000)
                          | (fabs(x) < 0x1p-14 ? (uint32_t)(fabs(x) * 0x1p24)
                                               : ((bits & 0x7fffffff) >> 13) - (112 << 10)));
    if (type == GKL_F64)
        memcpy(to, &x, sizeof x);
    else if (type == GKL_F32)
        memcpy(to, &single, sizeof single);
    else
        memcpy(to, &half, sizeof half);
}

double get(gkl_type type, const char *from) {
    float single;
    double x;
    memcpy(&single, from, sizeof single);
    if (type != GKL_F64)
        return (double)single;
    memcpy(&x, from, sizeof x);
    return x;
}

/* ---- memory ---- */

enum { ARENA = 1 << 23 };

#if defined(_WIN32)
/* an arena between two pages that are reserved only; NULL when there is none */
static char *new_arena(void) {
    SYSTEM_INFO system;
    GetSystemInfo(&system);
    const size_t page = system.dwPageSize;
    char *base = VirtualAlloc(NULL, ARENA + 2 * page, MEM_RESERVE, PAGE_NOACCESS);
    return base ? VirtualAlloc(base + page, ARENA, MEM_COMMIT, PAGE_READWRITE) : NULL;
}
#else
/* an arena between two pages without access; NULL when there is none */
static char *new_arena(void) {
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    char *base = mmap(NULL, ARENA + 2 * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (base == MAP_FAILED || mprotect(base + page, ARENA, PROT_READ | PROT_WRITE) != 0)
        return NULL;
    return ARENA % page == 0 ? base + page : NULL;
}
#endif

char *guarded(int slot, size_t bytes, int at_end) {
    static char *arenas[GKL_MAX_IN + GKL_MAX_OUT];
    if (!arenas[slot] && !(arenas[slot] = new_arena())) {
        fprintf(stderr, "there is no memory between unmapped pages\n");
        exit(2);
    }
    if (bytes > ARENA) {
        fprintf(stderr, "a buffer of %zu bytes is more than the arena\n", bytes);
        exit(2);
    }
    return arenas[slot] + (at_end ? ARENA - bytes : 0);
}

/* Place in memory, in numbers, of element (j, c) of item i: linear in each of them and in each
 * batch axis.  A vector has one column. */
typedef struct {
    layout layout;
    ptrdiff_t rows, d, columns, shape[3];
} place;

static ptrdiff_t at(const place *x, ptrdiff_t i, ptrdiff_t j, ptrdiff_t c) {
    const ptrdiff_t f = i % x->shape[2], e = i / x->shape[2] % x->shape[1];
    const ptrdiff_t g = i / x->shape[2] / x->shape[1];
    const ptrdiff_t n = x->d * x->columns, k = j * x->columns + c, flipped = c * x->d + j;
    switch (x->layout) {
    case COLUMNS:
        return k * x->rows + i;
    case REVERSED:
        return x->rows * n - 1 - (i * n + k);
    case SPACED:
        return x->columns > 1 ? 3 * (i * (n + 3) + k) : 2 * (i * (n + 3) + k);
    case PERMUTED:
        return ((f * x->shape[1] + e) * x->shape[0] + g) * n + k;
    case FORTRAN:
        return ((flipped * x->shape[2] + f) * x->shape[1] + e) * x->shape[0] + g;
    case TRANSPOSED:
        return i * n + flipped;
    case SHARED:
        return k;
    case SCALAR:
        return 0;
    default:
        return i * n + k;
    }
}

typedef struct {
    place place;
    gkl_type type;
    char *buffer; /* the first byte */
    ptrdiff_t stride[3];
    size_t bytes;
} operand;

static gkl_array operand_make(operand *x, int slot, const manner *how) {
    const ptrdiff_t size = (ptrdiff_t)sizes[x->type], d = x->place.d, columns = x->place.columns;
    const int empty = x->place.rows * d * columns == 0;
    const ptrdiff_t first = empty ? 0 : at(&x->place, 0, 0, 0);
    const ptrdiff_t last = empty ? -1 : at(&x->place, x->place.rows - 1, d - 1, columns - 1);
    x->bytes = (size_t)((first > last ? first : last) + (last >= 0)) * (size_t)size;
    x->buffer = guarded(slot, x->bytes + (size_t)how->shift, how->at_end)
                + (how->at_end ? 0 : how->shift);
    ptrdiff_t one = 1, step = 1, across = 1;
    for (int axis = 2; axis >= 0; one *= x->place.shape[axis--]) {
        x->stride[axis] = 0;
        if (x->place.shape[axis] > 1 && !empty)
            x->stride[axis] = (at(&x->place, one, 0, 0) - first) * size;
    }
    if (d > 1 && !empty)
        step = at(&x->place, 0, 1, 0) - first;
    if (columns > 1 && !empty)
        across = at(&x->place, 0, 0, 1) - first;
    return (gkl_array){.data = x->buffer + first * size, .step = step * size,
                       .across = across * size,
                       .stride = how->batch_axes == 3 ? x->stride : x->stride + 2};
}

#define EACH_ELEMENT(x, i, j, c)                                                                   \
    for (ptrdiff_t i = 0; i < (x)->place.rows; ++i)                                                \
        for (ptrdiff_t j = 0; j < (x)->place.d; ++j)                                               \
            for (ptrdiff_t c = 0; c < (x)->place.columns; ++c)

static void fill(const operand *x, const double *from, ptrdiff_t item) {
    EACH_ELEMENT(x, i, j, c)
        if (x->place.layout < SHARED || x->place.layout > SCALAR
            || (i == 0 && (x->place.layout == SHARED || j == 0)))
            put(x->type, x->buffer + at(&x->place, i, j, c) * (ptrdiff_t)sizes[x->type],
                from[i * item + j * x->place.columns + c]);
}

int output_count(const gaussians *problem, gkl_output output) {
    if (output == GKL_GRAD && (problem->p == GKL_LOW_RANK || problem->q == GKL_LOW_RANK))
        return GKL_MAX_OUT;
    if (output == GKL_GRAD)
        return problem->q == GKL_UNIT ? 3 : 5;
    return output == GKL_TERMS ? 6 : 1;
}

int operand_of(gkl_output output, int k) {
    if (output == GKL_FACTOR)
        return 1;
    return output != GKL_GRAD || k == 0 ? -1 : k < GKL_FACTOR_P ? k - 1 : k;
}

/* Has the job this operand (or its gradient)? */
static int has(const gaussians *x, gkl_output output, int k) {
    const int single = output == GKL_ENTROPY || output == GKL_FACTOR;
    if (k == GKL_WEIGHT)
        return output == GKL_GRAD && x->in[k];
    if (single || x->q == GKL_UNIT)
        return (k == 1 || k == GKL_FACTOR_P || (k == 0 && !single)) && x->in[k];
    return x->in[k] != NULL;
}

/* every output alone in its buffer, what lies between its numbers untouched */
static double *collect(const operand *x) {
    const ptrdiff_t size = (ptrdiff_t)sizes[x->type];
    const size_t n = (size_t)(x->place.rows * x->place.d * x->place.columns);
    double *to = malloc((n + 1) * sizeof *to), *next = to;
    EACH_ELEMENT(x, i, j, c) {
        char *from = x->buffer + at(&x->place, i, j, c) * size;
        *next++ = get(x->type, from);
        memset(from, CANARY, (size_t)size);
    }
    size_t untouched = 0;
    while (untouched < x->bytes && (unsigned char)x->buffer[untouched] == CANARY)
        ++untouched;
    check(untouched == x->bytes, "byte %zu between two outputs was written", untouched);
    return to;
}

results solve(const gaussians *problem, const manner *how) {
    const int gathers = how->index[0] || how->index[1];
    const ptrdiff_t rows = gathers ? how->count : problem->rows, d = problem->d;
    const ptrdiff_t shape[3] = {how->batch_axes == 3 ? 2 : 1, how->batch_axes == 3 ? 3 : 1,
                                how->batch_axes == 3 ? rows / 6 : rows};
    const gkl_type out_type = problem->type == GKL_F64 ? GKL_F64 : GKL_F32;
    operand in[GKL_MAX_IN], out[GKL_MAX_OUT];
    gkl_job job = {.p = problem->p, .q = problem->q, .output = how->output,
                   .storage = problem->type, .ndim = how->batch_axes,
                   .nsum = how->nsum,
                   .shape = how->batch_axes == 3 ? shape : shape + 2, .dim = d,
                   .rank_p = problem->rank_p, .rank_q = problem->rank_q,
                   .index = {how->index[0], how->index[1]},
                   .nthreads = how->nthreads, .poll = how->poll};
    for (int k = 0; k < GKL_MAX_IN; ++k) {
        if (!has(problem, how->output, k))
            continue;
        const int given = k == GKL_WEIGHT || (k >= GKL_FACTOR_P && is_matrix(problem, k));
        const ptrdiff_t items = gathers && k != GKL_WEIGHT ? problem->rows : rows;
        const ptrdiff_t inner = gathers ? items : shape[2];
        in[k] = (operand){.place = {how->in[k], items, k == GKL_WEIGHT ? 1 : d,
                                    columns_of(problem, k), {shape[0], shape[1], inner}},
                          .type = given ? out_type : problem->type};
        job.in[k] = operand_make(&in[k], k, how);
        if (k == GKL_WEIGHT)
            job.in[k].step = 0;
        fill(&in[k], problem->in[k], item_size(problem, k));
    }
    const int nout = output_count(problem, how->output);
    for (int k = 0; k < nout; ++k) {
        const int source = operand_of(how->output, k), gradient = how->output == GKL_GRAD && k > 0;
        const int given = source >= GKL_FACTOR_P && is_matrix(problem, source);
        if (how->without >> k & 1 || given || (gradient && !has(problem, how->output, source)))
            continue;
        const int scalar = gradient && how->summed_d >> k & 1;
        const ptrdiff_t n = (gradient && !scalar) || how->output == GKL_PER_DIM
                                    || how->output == GKL_FACTOR ? d : 1;
        const ptrdiff_t columns = source < 0 || scalar ? 1 : columns_of(problem, source);
        out[k] = (operand){.place = {how->out, rows, n, columns, {shape[0], shape[1], shape[2]}},
                           .type = out_type};
        if (gradient && how->summed >> k & 1) {
            out[k].place.layout = ROWS;
            for (int axis = 2; axis > 2 - how->nsum; --axis) {
                out[k].place.rows /= shape[axis];
                out[k].place.shape[axis] = 1;
            }
        }
        job.out[k] = operand_make(&out[k], GKL_MAX_IN + k, how);
        if (scalar)
            job.out[k].step = 0;
        memset(out[k].buffer, CANARY, out[k].bytes);
    }
    results got = {.bad = 0};
    *gkl_bad_items() = 0;
    got.code = gkl_run(&job);
    got.bad = *gkl_bad_items();
    for (int k = 0; k < nout; ++k)
        if (job.out[k].data) {
            got.n[k] = out[k].place.rows * out[k].place.d * out[k].place.columns;
            got.out[k] = collect(&out[k]);
        }
    return got;
}

int same(const results *a, const results *b) {
    if (a->bad != b->bad || a->code != b->code)
        return 0;
    for (int k = 0; k < GKL_MAX_OUT; ++k) {
        if (!a->out[k] || !b->out[k])
            continue;
        for (ptrdiff_t i = 0; i < a->n[k]; ++i)
            if (memcmp(&a->out[k][i], &b->out[k][i], sizeof(double)) != 0
                && !(isnan(a->out[k][i]) && isnan(b->out[k][i])))
                return 0;
    }
    return 1;
}

void results_free(results *x) {
    for (int k = 0; k < GKL_MAX_OUT; ++k)
        free(x->out[k]);
}
