/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Large matrices, one item at a time by BLAS.
 */
#include "large.h"

#include <stdlib.h>

#include "fp_state.h"
#include "groups.h"
#include "simd/words.h"

enum {
    BLOCK = 32,        /* rows and columns of a tile */
    DEPTH = 512,       /* of the strips of one product: they stay in the L2 cache */
    CACHE_LINE = 64,
    SERIAL_DIM = 160,  /* up to here threads do not pay within an item */
    LEAST_DIM = 64,
    LANES_OF_SUMS = 8, /* partial sums of a row */
};

#define LOG_2_PI 1.83787706640934548356

/* BLAS on tiles: L from the left, or transposed, or transposed from the right, is undone */
typedef enum { LEFT, LEFT_TRANSPOSED, RIGHT_TRANSPOSED } tile_solve;
typedef enum { FROM_ROW, BETWEEN, TO_COLUMN } range; /* of tiles: from i on, j to i, up to j */

typedef struct {
    const gkl_blas *blas;
    ptrdiff_t d, ld, tiles;
    int nthreads;
} space;

static space space_of(const gkl_job *job, const gkl_blas *blas, int nthreads) {
    const ptrdiff_t d = job->dim, tiles = (d + BLOCK - 1) / BLOCK;
    /* rows begin at cache lines, and not at those of one set */
    const ptrdiff_t ld = tiles * BLOCK + CACHE_LINE / (ptrdiff_t)sizeof(float);
    return (space){blas, d, ld, tiles, d > SERIAL_DIM ? nthreads : 1};
}

static ptrdiff_t extent(const space *s, ptrdiff_t tile) {
    return s->d - tile * BLOCK < BLOCK ? s->d - tile * BLOCK : BLOCK;
}

static size_t round_up(size_t bytes) { return (bytes + CACHE_LINE - 1) / CACHE_LINE * CACHE_LINE; }

/* gkl_parallel with the state that every task of ours has */
typedef struct {
    gkl_task *task;
    void *context;
} guarded;

static void run_guarded(void *context, ptrdiff_t index) {
    const guarded *g = context;
    const gkl_fp_state state = gkl_fp_default();
    g->task(g->context, index);
    gkl_fp_restore(state);
}

static void run_tasks(const space *s, ptrdiff_t count, gkl_task *task, void *context) {
    guarded g = {task, context};
    gkl_parallel(count, s->nthreads, run_guarded, &g);
}

/* a sum whose error does not grow with its length */
typedef struct {
    double sum, rest;
} tally;

static void tally_add(tally *t, double x) { gkl_two_sum(&t->sum, &t->rest, x); }

static double tally_total(const tally *t) { return gkl_sum_of(t->sum, t->rest); }

#define LARGE_FILES "large/all.inc.h"
#define BITS 32
#include "simd/real.h"
#define root_of_f32 sqrtf
#include LARGE_FILES
#undef BITS

#define BITS 64
#include "simd/real.h"
#define root_of_f64 sqrt
#include LARGE_FILES

size_t gkl_large_work(const gkl_job *job) {
    const space s = space_of(job, NULL, 1);
    const size_t size = job->storage == GKL_F64 ? sizeof(double) : sizeof(float);
    const size_t matrix = round_up((size_t)(s.d * s.ld) * size),
                 vector = round_up((size_t)s.d * sizeof(double));
    const size_t rank = (size_t)(job->rank_p + job->rank_q);
    /* x, both sides and their given factors; gradients take three more, all else less */
    return 8 * matrix + 16 * vector + round_up((size_t)(s.d + 2 * BLOCK) * rank * size)
           + round_up((size_t)(BLOCK * s.ld) * size) + 4 * CACHE_LINE;
}

/* NaN to all that a bad item gives; what is zero by its kind stays so */
static void spoil(const gkl_item *item) {
    const gkl_job *job = item->job;
    const int is_f64 = job->storage == GKL_F64, factor = job->output == GKL_FACTOR;
    for (int k = 0; k < GKL_MAX_OUT; ++k) {
        const int operand = factor ? 1 : gkl_operand_of(k);
        const int alone = !factor && (job->output != GKL_GRAD || k == 0);
        const ptrdiff_t rows = alone ? 1 : job->dim,
                        columns = alone ? 1 : gkl_columns(job, operand);
        const int lower = factor || (operand == 1 && job->p == GKL_TRIL)
                          || (operand == 3 && job->q == GKL_TRIL);
        const ptrdiff_t across = job->out[k].across, step = job->out[k].step;
        const ptrdiff_t cells = item->sum[k] ? item->width[k] : item->out[k] ? rows * columns : 0;
        for (ptrdiff_t n = 0; n < cells; ++n) {
            const ptrdiff_t i = n / columns, j = n % columns;
            const int zero = lower && j > i;
            if (item->sum[k] && !zero)
                item->sum[k][n] = (double)NAN;
            else if (!item->sum[k])
                gkl_write(is_f64, item->out[k] + i * step + j * across, zero ? 0 : (double)NAN);
        }
    }
}

int gkl_large_item(const gkl_item *item) {
    gkl_hold_blas_threads();
    const int bad = item->job->storage == GKL_F64 ? item_f64(item) : item_f32(item);
    gkl_release_blas_threads();
    if (bad)
        spoil(item);
    return bad;
}

/* A group of items side by side, full or not, takes as long as this many items by BLAS: measured for
 * values and gradients, of which this is between, with OpenBLAS, 64 <= d <= 512, on every ISA.  One
 * item alone may be faster from d = 32 on, but SciPy takes a quarter of a second to import. */
static int is_worth_it(const gkl_job *job, ptrdiff_t items) {
    const int is_f64 = job->storage == GKL_F64, lanes = gkl_current()->lanes[is_f64];
    const double in_a_group = (0.3 * sqrt((double)job->dim) - 0.5) * (is_f64 ? 1 : 1.3);
    return job->dim >= LEAST_DIM && (double)items < in_a_group * (double)gkl_ceil(items, lanes);
}

static gkl_way way;

void gkl_set_way(gkl_way which) { __atomic_store_n(&way, which, __ATOMIC_RELAXED); }

const gkl_blas *gkl_prefers_large(const gkl_job *job, ptrdiff_t items) {
    const gkl_way which = __atomic_load_n(&way, __ATOMIC_RELAXED);
    if (which == GKL_BY_LANES || job->dim < 1 || (which == GKL_BY_RULE && !is_worth_it(job, items)))
        return NULL;
    return gkl_blas_in_use();
}
