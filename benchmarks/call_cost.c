/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What a call through the table costs beside the kernel itself: one pair of Gaussians, in turns,
 * the median of many rounds.  "Alone" begins when all before has ended; "in a row" the processor
 * overlaps one call with the next.  Prints JSON, of which call_cost.py makes a table.
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "internal.h"

enum { MOST = 512, CALLS = 2000, ROUNDS = 201 };

/* operands, then outputs, then terms, one after another as d wants it: at multiples of 4096 bytes
 * loads would wait for stores */
enum { IN = 4, OUT = 5 };
static _Alignas(64) double memory[(IN + OUT + 1) * (MOST + GKL_PAD)];
static void *in[IN], *out[OUT], *term;

static int alone;

static inline void next(void) {
    if (!alone)
        return;
#if defined(__x86_64__)
    __builtin_ia32_lfence();
#elif defined(__aarch64__)
    __asm__ volatile("isb");
#endif
}

typedef struct {
    gkl_kind p, q;
    gkl_output output;
    int is_f64;
    ptrdiff_t d;
} work;

/* the kernel, what it writes summed, and the number stored */
static void kernel_alone(const work *w) {
    const gkl_table *table = gkl_current();
    gkl_elementwise *const kernel = table->diag[w->is_f64][w->p][w->q][w->output];
    const int grad = w->output == GKL_GRAD;
    const gkl_block block = {.in = {in[0], in[1], in[2], in[3]},
                             .out = {NULL, grad ? out[1] : NULL, grad ? out[2] : NULL,
                                     grad ? out[3] : NULL, grad ? out[4] : NULL},
                             .term = {term, term, term, term, term}};
    double total;
    for (int i = 0; i < CALLS; next(), ++i) {
        kernel(w->d, &block);
        table->sum_rows[w->is_f64](term, 1, w->d, &total);
        if (w->is_f64)
            *(volatile double *)out[0] = total;
        else
            *(volatile float *)out[0] = (float)total;
    }
}

static void through_table(const work *w) {
    const gkl_api *api = gkl_get_api();
    for (int i = 0; i < CALLS; next(), ++i)
        if (w->is_f64 && w->output == GKL_VALUE)
            api->kl_f64(w->p, w->q, 1, w->d, in[0], in[1], in[2], in[3],
                        out[0]);
        else if (w->is_f64)
            api->kl_and_grad_f64(w->p, w->q, 1, w->d, in[0], in[1], in[2], in[3],
                                 out[0], out[1], out[2], out[3], out[4]);
        else if (w->output == GKL_VALUE)
            api->kl_f32(w->p, w->q, 1, w->d, in[0], in[1], in[2], in[3],
                        out[0]);
        else
            api->kl_and_grad_f32(w->p, w->q, 1, w->d, in[0], in[1], in[2], in[3],
                                 out[0], out[1], out[2], out[3], out[4]);
}

static void through_job(const work *w) {
    const ptrdiff_t one = 1, stride = 0, size = w->is_f64 ? sizeof(double) : sizeof(float);
    gkl_job job = {.p = w->p, .q = w->q, .output = w->output,
                   .storage = w->is_f64 ? GKL_F64 : GKL_F32, .ndim = 1, .shape = &one,
                   .dim = w->d, .nthreads = 1};
    for (int k = 0; k < (w->q == GKL_UNIT ? 2 : 4); ++k)
        job.in[k] = (gkl_array){.data = (char *)in[k], .stride = &stride, .step = size};
    for (int k = 0; k < (w->output == GKL_GRAD ? 5 : 1); ++k)
        job.out[k] = (gkl_array){.data = (char *)out[k], .stride = &stride, .step = size};
    for (int i = 0; i < CALLS; next(), ++i)
        gkl_get_api()->run(&job);
}

static void (*const ways[])(const work *) = {kernel_alone, through_table, through_job};
enum { WAYS = sizeof ways / sizeof ways[0], MANNERS = 2 };

static double nanoseconds(void (*way)(const work *), const work *w) {
    struct timespec a, b;
    clock_gettime(CLOCK_MONOTONIC, &a);
    way(w);
    clock_gettime(CLOCK_MONOTONIC, &b);
    return ((double)(b.tv_sec - a.tv_sec) * 1e9 + (double)(b.tv_nsec - a.tv_nsec)) / CALLS;
}

static int ascending(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void fill(const work *w) {
    const size_t size = (size_t)w->d * (w->is_f64 ? sizeof(double) : sizeof(float));
    char *at = (char *)memory;
    for (int k = 0; k < IN + OUT + 1; ++k, at += (size + 63) / 64 * 64)
        *(k < IN ? &in[k] : k < IN + OUT ? &out[k - IN] : &term) = at;
    for (int k = 0; k < IN; ++k)
        for (ptrdiff_t j = 0; j < w->d; ++j) {
            const double x = (k % 2 ? 1 : 0) + 0.3 * (double)((7 * j + 3 * k) % 11) / 11;
            if (w->is_f64)
                ((double *)in[k])[j] = x;
            else
                ((float *)in[k])[j] = (float)x;
        }
}

/* a line of the table */
static void measure(const work *w) {
    static double times[MANNERS][WAYS][ROUNDS];
    static const char *const kinds[] = {"var", "std", "logvar", "unit"};
    double median[MANNERS][WAYS];
    fill(w);
    for (int round = 0; round < ROUNDS; ++round)
        for (int manner = 0; manner < MANNERS; ++manner)
            for (int i = 0; i < WAYS; ++i) {
                alone = manner == 0;
                times[manner][i][round] = nanoseconds(ways[i], w);
            }
    for (int manner = 0; manner < MANNERS; ++manner)
        for (int i = 0; i < WAYS; ++i) {
            qsort(times[manner][i], ROUNDS, sizeof(double), ascending);
            median[manner][i] = times[manner][i][ROUNDS / 2];
        }
    static int lines;
    printf("%s{\"work\": \"%s, %s to %s, f%d\", \"alone\": [%.1f, %.1f, %.1f], "
           "\"in a row\": [%.1f, %.1f, %.1f]}",
           lines++ ? ",\n " : "[", w->output == GKL_GRAD ? "value and gradients" : "value",
           kinds[w->p], kinds[w->q], w->is_f64 ? 64 : 32, median[0][0], median[0][1],
           median[0][2], median[1][0], median[1][1], median[1][2]);
    fflush(stdout);
}

int main(int argc, char **argv) {
    const ptrdiff_t d = argc > 1 ? atol(argv[1]) : 64;
    if (d < 1 || d > MOST || (argc > 2 && gkl_use_isa(argv[2]))) {
        fprintf(stderr, "usage: %s [DIM [ISA]], DIM up to %d\n", argv[0], MOST);
        return 2;
    }
    for (int output = GKL_VALUE; output <= GKL_GRAD; output += GKL_GRAD - GKL_VALUE)
        for (int is_f64 = 0; is_f64 < 2; ++is_f64)
            for (int p = GKL_VAR; p <= GKL_LOGVAR; p += GKL_LOGVAR - GKL_VAR)
                for (int unit = 0; unit < 2; ++unit)
                    measure(&(work){(gkl_kind)p, unit ? GKL_UNIT : (gkl_kind)p,
                                    (gkl_output)output, is_f64, d});
    printf("]\n");
    return 0;
}
