/* SPDX-License-Identifier: BSD-3-Clause */
#define _GNU_SOURCE
#include <math.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "harness.h"

const char *const kind_names[] = {"var", "std", "logvar", "unit"};
const char *const output_names[] = {"value", "per_dim", "grad",   "terms",
                                    "jeffreys", "cross", "entropy"};
const char *const type_names[] = {"f16", "bf16", "f32", "f64"};
const char *const layout_names[] = {"rows",   "columns", "reversed", "spaced",
                                    "permuted", "shared", "scalar"};

void describe(char *text, size_t size, const gaussians *x, int output) {
    snprintf(text, size, "%s-%s %s %s, %td x %td", kind_names[x->p], kind_names[x->q],
             output_names[output], type_names[x->type], x->rows, x->d);
}

/* ---- checks ---- */

enum { MOST_LINES = 5 };
long checks;
static char group[80];
static long failures;
static int groups_passed, groups_failed;
static struct timespec began;

void group_begin(const char *name) {
    const char *isa = gkl_isa();
    snprintf(group, sizeof group, "%-9s %s", isa, name);
    checks = failures = 0;
    clock_gettime(CLOCK_MONOTONIC, &began);
}

void group_end(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    const double seconds = (double)(now.tv_sec - began.tv_sec)
                           + 1e-9 * (double)(now.tv_nsec - began.tv_nsec);
    printf("%s %s: %ld checks, %ld failed, %.1f s\n", failures ? "FAILED" : "ok    ", group, checks,
           failures, seconds);
    fflush(stdout);
    *(failures ? &groups_failed : &groups_passed) += 1;
}

void check_failed(const char *format, ...) {
    if (++failures > MOST_LINES)
        return;
    va_list arguments;
    va_start(arguments, format);
    printf("       %s: ", group);
    vprintf(format, arguments);
    putchar('\n');
    va_end(arguments);
}

int report(void) {
    printf("%d passed, %d failed\n", groups_passed, groups_failed);
    return groups_failed > 0;
}

/* ---- numbers ---- */

static uint64_t state;

void seed(unsigned value) { state = value; }

double uniform(double low, double high) { /* Knuth's linear congruential generator, top bits */
    state = state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return low + (high - low) * ((double)(state >> 11) * 0x1p-53);
}

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

static void put(gkl_type type, char *to, double x) {
    const float single = (float)x;
    uint32_t bits;
    memcpy(&bits, &single, sizeof bits);
    uint16_t half = (uint16_t)(bits >> 16);
    if (type == GKL_F16)
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

static double get(gkl_type type, const char *from) {
    float single;
    double x;
    memcpy(&single, from, sizeof single);
    if (type != GKL_F64)
        return (double)single;
    memcpy(&x, from, sizeof x);
    return x;
}

static double scale_of(gkl_kind kind, double log_variance) {
    return kind == GKL_VAR   ? exp(log_variance)
           : kind == GKL_STD ? exp(log_variance / 2)
                             : log_variance;
}

void gaussians_make(gaussians *problem, gkl_kind p, gkl_kind q, gkl_type type, regime kind_of,
                  ptrdiff_t rows, ptrdiff_t d) {
    const size_t n = (size_t)(rows * d);
    *problem = (gaussians){.p = p, .q = q, .type = type, .rows = rows, .d = d, .width = d};
    for (int k = 0; k < 4; ++k)
        problem->in[k] = malloc(n * sizeof(double));
    problem->in[4] = malloc((size_t)rows * sizeof(double));
    const double most = kind_of == WIDE ? (type == GKL_F64 ? 200 : 25) : 3;
    const double apart = type == GKL_F64 ? 1e-12 : 1e-6;
    for (size_t i = 0; i < n; ++i) {
        double mean_p = uniform(-2, 2), mean_q = uniform(-2, 2);
        double log_p = uniform(-most, most), log_q = uniform(-most, most);
        if (kind_of == NEAR) {
            mean_q = q == GKL_UNIT ? 0 : mean_p;
            log_q = q == GKL_UNIT ? 0 : log_p;
            mean_p = mean_q + uniform(-apart, apart);
            log_p = log_q + uniform(-apart, apart);
        }
        problem->in[0][i] = rounded(type, mean_p);
        problem->in[1][i] = rounded(type, scale_of(p, log_p));
        problem->in[2][i] = rounded(type, mean_q);
        problem->in[3][i] = rounded(type, scale_of(q, log_q));
    }
    for (ptrdiff_t i = 0; i < rows; ++i)
        problem->in[4][i] = rounded(type, uniform(-1, 1));
}

void gaussians_share(gaussians *problem, int operand) {
    const ptrdiff_t width = operand == 4 ? 1 : problem->width;
    for (ptrdiff_t i = 1; i < problem->rows; ++i)
        memcpy(problem->in[operand] + i * width, problem->in[operand],
               (size_t)width * sizeof(double));
}

void gaussians_free(gaussians *problem) {
    for (int k = 0; k < GKL_MAX_IN; ++k)
        free(problem->in[k]);
}

/* ---- memory ---- */

enum { ARENA = 1 << 23, CANARY = 0xa5 };

/* `bytes` between two unmapped pages, at the first or at the last possible place */
static char *guarded(int slot, size_t bytes, int at_end) {
    static char *arenas[GKL_MAX_IN + GKL_MAX_OUT];
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    if (!arenas[slot]) {
        char *base = mmap(NULL, ARENA + 2 * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (base == MAP_FAILED || mprotect(base + page, ARENA, PROT_READ | PROT_WRITE) != 0
            || ARENA % page != 0) {
            perror("mmap");
            exit(2);
        }
        arenas[slot] = base + page;
    }
    if (bytes > ARENA) {
        fprintf(stderr, "a buffer of %zu bytes is more than the arena\n", bytes);
        exit(2);
    }
    return arenas[slot] + (at_end ? ARENA - bytes : 0);
}

/* Place in memory, in numbers, of element j of row i: linear in both and in each batch axis. */
typedef struct {
    layout layout;
    ptrdiff_t rows, d, shape[3];
} place;

static ptrdiff_t at(const place *x, ptrdiff_t i, ptrdiff_t j) {
    const ptrdiff_t c = i % x->shape[2], b = i / x->shape[2] % x->shape[1];
    const ptrdiff_t a = i / x->shape[2] / x->shape[1];
    switch (x->layout) {
    case COLUMNS:
        return j * x->rows + i;
    case REVERSED:
        return x->rows * x->d - 1 - (i * x->d + j);
    case SPACED:
        return 2 * (i * (x->d + 3) + j);
    case PERMUTED:
        return ((c * x->shape[1] + b) * x->shape[0] + a) * x->d + j;
    case SHARED:
        return j;
    case SCALAR:
        return 0;
    default:
        return i * x->d + j;
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
    const ptrdiff_t size = (ptrdiff_t)sizes[x->type];
    const ptrdiff_t first = at(&x->place, 0, 0);
    const ptrdiff_t last = at(&x->place, x->place.rows - 1, x->place.d - 1);
    x->bytes = (size_t)((first > last ? first : last) + 1) * (size_t)size;
    x->buffer = guarded(slot, x->bytes + (size_t)how->shift, how->at_end)
                + (how->at_end ? 0 : how->shift);
    ptrdiff_t one = 1;
    for (int axis = 2; axis >= 0; one *= x->place.shape[axis--])
        x->stride[axis] = x->place.shape[axis] > 1 ? (at(&x->place, one, 0) - first) * size : 0;
    const ptrdiff_t step = x->place.d > 1 ? (at(&x->place, 0, 1) - first) * size : size;
    return (gkl_array){.data = x->buffer + first * size, .step = step,
                       .stride = how->batch_axes == 3 ? x->stride : x->stride + 2};
}

int output_count(const gaussians *problem, gkl_output output) {
    if (output == GKL_GRAD)
        return problem->q == GKL_UNIT ? 3 : 5;
    return output == GKL_TERMS ? 6 : 1;
}

/* every output alone in its buffer, what lies between its numbers untouched */
static double *collect(const operand *x) {
    const ptrdiff_t size = (ptrdiff_t)sizes[x->type];
    double *to = malloc((size_t)(x->place.rows * x->place.d) * sizeof *to), *next = to;
    for (ptrdiff_t i = 0; i < x->place.rows; ++i)
        for (ptrdiff_t j = 0; j < x->place.d; ++j) {
            char *from = x->buffer + at(&x->place, i, j) * size;
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
    const ptrdiff_t rows = problem->rows, d = problem->d;
    const ptrdiff_t shape[3] = {how->batch_axes == 3 ? 2 : 1, how->batch_axes == 3 ? 3 : 1,
                                how->batch_axes == 3 ? rows / 6 : rows};
    const gkl_type out_type = problem->type == GKL_F64 ? GKL_F64 : GKL_F32;
    operand in[GKL_MAX_IN], out[GKL_MAX_OUT];
    gkl_job job = {.p = problem->p, .q = problem->q, .output = how->output,
                   .storage = problem->type, .ndim = how->batch_axes,
                   .nsum = how->nsum,
                   .shape = how->batch_axes == 3 ? shape : shape + 2, .dim = d,
                   .nthreads = how->nthreads, .poll = how->poll};
    const int entropy = how->output == GKL_ENTROPY;
    for (int k = 0; k < GKL_MAX_IN; ++k) {
        if (!problem->in[k] || (k == 4 && how->output != GKL_GRAD) || (entropy && k != 1)
            || (problem->q == GKL_UNIT && (k == 2 || k == 3)))
            continue;
        const ptrdiff_t n = k == 4 ? 1 : d, width = k == 4 ? 1 : problem->width;
        in[k] = (operand){.place = {how->in[k], rows, n, {shape[0], shape[1], shape[2]}},
                          .type = k == 4 ? out_type : problem->type};
        job.in[k] = operand_make(&in[k], k, how);
        if (k == 4)
            job.in[k].step = 0;
        for (ptrdiff_t i = rows - 1; i >= 0; --i)
            for (ptrdiff_t j = n - 1; j >= 0; --j)
                put(in[k].type,
                    in[k].buffer + at(&in[k].place, i, j) * (ptrdiff_t)sizes[in[k].type],
                    problem->in[k][i * width + j]);
    }
    const int nout = output_count(problem, how->output);
    for (int k = 0; k < nout; ++k) {
        if (how->without >> k & 1)
            continue;
        const int gradient = how->output == GKL_GRAD && k > 0;
        const int scalar = gradient && how->summed_d >> k & 1;
        const ptrdiff_t n = (gradient && !scalar) || how->output == GKL_PER_DIM ? d : 1;
        out[k] = (operand){.place = {how->out, rows, n, {shape[0], shape[1], shape[2]}},
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
            got.n[k] = out[k].place.rows * out[k].place.d;
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
