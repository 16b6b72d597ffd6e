/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Every p against every q, in blocks: some p are packed, then for one block of q after another its
 * items are packed and the tiles of all these p with them are done.  What is held does not grow
 * with n m.
 */
#include "pairwise.h"

#include <stdlib.h>

#include "fp_state.h"
#include "plan.h"

enum {
    FIELDS = GKL_PRODUCT + GKL_DIFFERENCE,
    P_BYTES = 1 << 26, /* of packed p, about, */
    Q_BYTES = 1 << 22, /* and of packed q */
    TILE_ROWS = 96,    /* a multiple of every pair_rows */
    TILE_VECTORS = 4,
    MOST_LANES = 16,
    MOST_DIMENSIONS = 1 << 30,
    ITEMS = 64, /* that a packing task does */
};

#define LEAST_ORDER 1e-30 /* of Renyi divergences in float */
#define MOST_ORDER 1e30

static void *aligned(char *memory) {
    return memory + (ALIGNMENT - (uintptr_t)memory % ALIGNMENT);
}

static void fail(gkl_pairing *x, int status) {
    __atomic_store_n(&x->status, status, __ATOMIC_RELAXED);
}

static int status_of(const gkl_pairing *x) { return __atomic_load_n(&x->status, __ATOMIC_RELAXED); }

/* Which of the kernels' forms gives a metric, and what it is to be multiplied with.  Of orders
 * below a half the arguments are exchanged, where nothing cancels. */
static void choose(gkl_pairing *x) {
    const gkl_metric metric = x->job->metric;
    static const gkl_form forms[] = {GKL_FORM_KL, GKL_FORM_REVERSE_KL, GKL_FORM_JEFFREYS,
                                     GKL_FORM_WASSERSTEIN};
    x->order = metric == GKL_RENYI ? x->job->order : 0.5;
    x->rest = 1 - x->order;
    x->factor = metric == GKL_BHATTACHARYYA ? 0.5 : 1;
    x->form = metric <= GKL_WASSERSTEIN2 ? forms[metric] : GKL_FORM_RENYI;
    if (metric == GKL_RENYI && x->order < 0.5) {
        x->form = GKL_FORM_REVERSE_RENYI;
        x->factor = x->order / (1 - x->order);
        x->rest = x->order;
        x->order = 1 - x->order;
    }
    if (metric == GKL_RENYI && x->job->order == 1)
        x->form = GKL_FORM_KL; /* its limit */
    if (metric == GKL_RENYI && !(x->job->order >= LEAST_ORDER && x->job->order <= MOST_ORDER)) {
        x->form = GKL_FORM_KL;
        x->factor = (double)NAN;
    }
    x->tile = x->table->tiles[x->is_f64][x->form][x->job->q];
}

/* how many items of a side are packed at a time, and the bytes that they take */
static ptrdiff_t plan_side(const gkl_pairing *x, gkl_side *side, ptrdiff_t count, ptrdiff_t bytes,
                           ptrdiff_t unit) {
    const ptrdiff_t item = gkl_max(x->job->dim, 1) * FIELDS * x->size;
    side->most = gkl_min(gkl_ceil(gkl_max(count, 1), unit), gkl_max(bytes / item / unit, 1)) * unit;
    return side->most * (item + 2 * x->size + 1) + 4 * ALIGNMENT;
}

static void place_side(const gkl_pairing *x, gkl_side *side, char *memory) {
    const ptrdiff_t dimension = side->most * x->job->dim * x->size;
    side->product = aligned(memory);
    side->more = aligned(side->product + dimension * GKL_PRODUCT);
    side->logdet = aligned(side->more + dimension * GKL_DIFFERENCE);
    side->state = (unsigned char *)(side->logdet + 2 * side->most * x->size);
}

/* the numbers of an item of this side to arrays of `length`; beyond its end those of its last */
static gkl_item_state load(const gkl_pairing *x, const gkl_side *side, ptrdiff_t i, char *raw,
                           char *fields, ptrdiff_t length, void *logdet) {
    const gkl_pairwise_job *job = x->job;
    const ptrdiff_t item = side->first + gkl_min(i, side->count - 1);
    void *field[FIELDS];
    const void *from[2];
    const gkl_array *arrays[] = {side->mean, side->scale};
    for (int k = 0; k < 2; ++k) {
        const char *at = arrays[k]->data + item * arrays[k]->stride[0];
        from[k] = at;
        if (job->storage < GKL_F32 || arrays[k]->step != x->size) {
            char *row = raw + k * length * x->size;
            gkl_gather(job->storage, at, 1, 0, job->dim, arrays[k]->step, row);
            from[k] = row;
        }
    }
    for (int f = 0; f < FIELDS; ++f)
        field[f] = fields + f * length * x->size;
    return x->table->pairwise_item[x->is_f64](side->kind, job->q, job->dim, from[0], from[1], field,
                                              logdet);
}

static ptrdiff_t padded(const gkl_pairing *x) {
    return gkl_ceil(gkl_max(x->job->dim, 1), x->lanes) * x->lanes;
}

static void pack_rows(void *context, ptrdiff_t task) {
    gkl_pairing *x = context;
    gkl_side *side = &x->p;
    const ptrdiff_t length = padded(x), item = x->job->dim * x->size;
    const ptrdiff_t end = gkl_min((task + 1) * ITEMS, gkl_ceil(side->count, x->rows) * x->rows);
    const gkl_fp_state state = gkl_fp_default();
    char *memory = malloc((size_t)((FIELDS + 2) * length * x->size));
    for (ptrdiff_t i = task * ITEMS; memory && i < end; ++i) {
        char *fields = memory + 2 * length * x->size;
        const void *field[FIELDS];
        for (int f = 0; f < FIELDS; ++f)
            field[f] = fields + f * length * x->size;
        side->state[i] = (unsigned char)load(x, side, i, memory, fields, length,
                                             side->logdet + 2 * i * x->size);
        x->table->pairwise_row[x->is_f64](
            x->job->dim, field, i % x->rows,
            side->product + (i - i % x->rows) * GKL_PRODUCT * item,
            side->more + i * GKL_DIFFERENCE * item);
    }
    if (!memory)
        fail(x, GKL_NO_MEMORY);
    free(memory);
    gkl_fp_restore(state);
}

/* a vector of items */
static void pack_lanes(void *context, ptrdiff_t vector) {
    gkl_pairing *x = context;
    gkl_side *side = &x->q;
    const ptrdiff_t length = padded(x), item = x->job->dim * x->size;
    const ptrdiff_t bytes = FIELDS * length * x->size;
    const gkl_fp_state state = gkl_fp_default();
    char *memory = malloc((size_t)((2 * length * x->size) + x->lanes * bytes));
    char logdet[2 * MOST_LANES * sizeof(double)];
    const void *lane[MOST_LANES];
    char *fields = memory + 2 * length * x->size;
    for (ptrdiff_t l = 0; memory && l < x->lanes; ++l)
        side->state[vector * x->lanes + l] = (unsigned char)load(
            x, side, vector * x->lanes + l, memory, fields + l * bytes, length,
            logdet + 2 * l * x->size);
    for (int f = 0; memory && f < FIELDS; ++f) {
        const int more = f >= GKL_PRODUCT, n = more ? GKL_DIFFERENCE : GKL_PRODUCT;
        char *to = (more ? side->more : side->product)
                   + (vector * n * item + (more ? f - GKL_PRODUCT : f) * x->size) * x->lanes;
        for (ptrdiff_t l = 0; l < x->lanes; ++l)
            lane[l] = fields + l * bytes + f * length * x->size;
        x->table->pack[x->is_f64](lane, x->job->dim, length, to, n, NULL, 0);
    }
    for (ptrdiff_t l = 0; memory && l < x->lanes; ++l)
        for (int k = 0; k < 2; ++k)
            memcpy(side->logdet + ((vector * 2 + k) * x->lanes + l) * x->size,
                   logdet + (2 * l + k) * x->size, (size_t)x->size);
    if (!memory)
        fail(x, GKL_NO_MEMORY);
    free(memory);
    gkl_fp_restore(state);
}

/* ---- tiles ---- */

/* what is asked for, of the values of a form */
static void adjust(const gkl_pairing *x, char *value, ptrdiff_t n) {
    const int hellinger = x->job->metric == GKL_HELLINGER;
    for (ptrdiff_t i = 0; i < n && (hellinger || x->factor != 1); ++i) {
        const double d = gkl_read(x->is_f64 ? GKL_F64 : GKL_F32, value + i * x->size);
        gkl_write(x->is_f64, value + i * x->size,
                  hellinger ? sqrt(-expm1(-0.5 * d)) : x->factor * d);
    }
}

/* NaN where an item is bad, and the values that the tile left to others */
static void mend(gkl_pairing *x, ptrdiff_t row, ptrdiff_t column, ptrdiff_t n, char *value) {
    ptrdiff_t at[TILE_VECTORS * MOST_LANES], count = 0;
    double found[TILE_VECTORS * MOST_LANES];
    for (ptrdiff_t i = 0; i < n; ++i) {
        const int p = x->p.state[row], q = x->q.state[column + i];
        if (p == GKL_BAD || q == GKL_BAD)
            gkl_write(x->is_f64, value + i * x->size, (double)NAN);
        else if (p == GKL_EXTREME || q == GKL_EXTREME)
            at[count++] = x->q.first + column + i;
    }
    if (!count)
        return;
    const int status = gkl_extreme_values(x, x->p.first + row, at, count, (char *)found);
    if (status)
        fail(x, status);
    for (ptrdiff_t i = 0; i < count; ++i)
        memcpy(value + (at[i] - x->q.first - column) * x->size, (char *)found + i * x->size,
               (size_t)x->size);
}

static void do_rows(void *context, ptrdiff_t task) {
    gkl_pairing *x = context;
    const ptrdiff_t item = x->job->dim * x->size, first = task * TILE_ROWS;
    const ptrdiff_t vectors = gkl_ceil(x->q.count, x->lanes);
    const gkl_fp_state state = gkl_fp_default();
    _Alignas(ALIGNMENT) char scratch[TILE_ROWS * TILE_VECTORS * ALIGNMENT];
    const gkl_taker *to = x->taker;
    const ptrdiff_t width = TILE_VECTORS * x->lanes;
    char *out = to->out ? to->out + (x->p.first + first) * to->stride + x->q.first * x->size : NULL;
    gkl_tile tile = {.dim = x->job->dim,
                     .rows = gkl_min(x->p.count - first, TILE_ROWS),
                     .row = x->p.product + first * GKL_PRODUCT * item,
                     .row_more = x->p.more + first * GKL_DIFFERENCE * item,
                     .row_logdet = x->p.logdet + 2 * first * x->size,
                     .order = x->order,
                     .rest = x->rest};
    for (ptrdiff_t v = 0; v < vectors && !status_of(x); v += TILE_VECTORS) {
        const ptrdiff_t column = v * x->lanes;
        const ptrdiff_t n = gkl_min(x->q.count - column, width);
        const int in_place = !to->take && n == width && to->stride % x->size == 0;
        tile.value = in_place ? out + column * x->size : scratch;
        tile.stride = in_place ? to->stride / x->size : width;
        tile.vectors = gkl_min(vectors - v, TILE_VECTORS);
        tile.lane = x->q.product + column * GKL_PRODUCT * item;
        tile.lane_more = x->q.more + column * GKL_DIFFERENCE * item;
        tile.lane_logdet = x->q.logdet + 2 * column * x->size;
        x->tile(&tile);
        int plain_columns = 1;
        for (ptrdiff_t i = 0; i < n; ++i)
            plain_columns &= x->q.state[column + i] == GKL_PLAIN;
        for (ptrdiff_t r = 0; r < tile.rows; ++r) {
            char *of_row = (char *)tile.value + r * tile.stride * x->size;
            if (!plain_columns || x->p.state[first + r] != GKL_PLAIN)
                mend(x, first + r, column, n, of_row);
            adjust(x, of_row, n);
            if (!to->take && !in_place)
                memcpy(out + r * to->stride + column * x->size, of_row, (size_t)(n * x->size));
            if (to->take
                && to->take(x->taker, x->p.first + first + r, x->q.first + column, n, of_row))
                fail(x, GKL_NO_MEMORY);
        }
    }
    gkl_fp_restore(state);
}

static void tell_states(const gkl_side *side, char *to) {
    for (ptrdiff_t i = 0; to && i < side->count; ++i)
        to[side->first + i] = side->state[i] == GKL_BAD;
}

/* the block of q from q.first on, against the block of p */
static int do_block(gkl_pairing *x, int nthreads) {
    gkl_parallel(gkl_ceil(x->q.count, x->lanes), nthreads, pack_lanes, x);
    if (!x->status)
        gkl_parallel(gkl_ceil(x->p.count, TILE_ROWS), nthreads, do_rows, x);
    if (x->status)
        return x->status;
    tell_states(&x->q, x->job->state_q);
    const int stop = gkl_stop(x->job->poll);
    return x->status ? x->status : stop;
}

/* of no p, too: the states of q are told */
static int do_all(gkl_pairing *x) {
    const gkl_pairwise_job *job = x->job;
    const double pairs = (double)job->n * (double)job->m * (double)gkl_max(job->dim, 1);
    const int given = job->nthreads > 0 ? job->nthreads : gkl_threads();
    const int nthreads = pairs < GKL_GRAIN ? 1 : given;
    do {
        x->p.count = gkl_min(job->n - x->p.first, x->p.most);
        gkl_parallel(gkl_ceil(gkl_ceil(x->p.count, x->rows) * x->rows, ITEMS), nthreads, pack_rows,
                     x);
        if (x->status)
            return x->status;
        tell_states(&x->p, job->state_p);
        for (x->q.first = 0; x->q.first < job->m; x->q.first += x->q.most) {
            x->q.count = gkl_min(job->m - x->q.first, x->q.most);
            const int stop = do_block(x, nthreads);
            if (stop)
                return stop;
        }
        x->p.first += x->p.most;
    } while (x->p.first < job->n);
    return 0;
}

/* what can be seen without a look at operands */
static int check(const gkl_pairwise_job *job) {
    if ((unsigned)job->p > GKL_LOGVAR || (unsigned)job->q > GKL_LOGVAR
        || (unsigned)job->metric >= GKL_METRICS || (unsigned)job->storage > GKL_F64)
        return GKL_NO_KERNEL;
    if (job->n < 0 || job->m < 0 || job->dim < 0)
        return GKL_BAD_ARGUMENT;
    return job->dim > MOST_DIMENSIONS ? GKL_NO_MEMORY : 0;
}

int gkl_each_pair(const gkl_pairwise_job *job, gkl_taker *taker) {
    gkl_pairing x = {.job = job, .table = gkl_current(), .taker = taker,
                     .is_f64 = job->storage == GKL_F64};
    int status = check(job);
    if (status)
        return status;
    x.size = x.is_f64 ? sizeof(double) : sizeof(float);
    x.lanes = x.table->lanes[x.is_f64];
    x.rows = x.table->pair_rows;
    x.p.mean = &job->in[0];
    x.p.scale = &job->in[1];
    x.p.kind = job->p;
    x.q.mean = &job->in[2];
    x.q.scale = &job->in[3];
    x.q.kind = job->q;
    const gkl_fp_state state = gkl_fp_default();
    choose(&x);
    const ptrdiff_t bytes_p = plan_side(&x, &x.p, job->n, P_BYTES, TILE_ROWS);
    const ptrdiff_t bytes_q = plan_side(&x, &x.q, job->m, Q_BYTES, TILE_VECTORS * x.lanes);
    /* in one piece: what malloc gives back to the system and gets anew costs 14 % */
    char *memory = malloc((size_t)(bytes_p + bytes_q));
    status = GKL_NO_MEMORY;
    if (memory) {
        place_side(&x, &x.p, memory);
        place_side(&x, &x.q, memory + bytes_p);
        status = do_all(&x);
    }
    free(memory);
    gkl_fp_restore(state);
    return status;
}

/* ---- all values ---- */

typedef struct {
    gkl_taker taker;
    char *out;
    const ptrdiff_t *stride;
    int is_f64;
} gkl_store;

static int store(gkl_taker *taker, ptrdiff_t row, ptrdiff_t column, ptrdiff_t n,
                 const void *value) {
    const gkl_store *x = (const gkl_store *)taker;
    gkl_scatter(x->is_f64, value, 1, n, x->out + row * x->stride[0] + column * x->stride[1], 0,
                x->stride[1]);
    return 0;
}

int gkl_pairwise(const gkl_pairwise_job *job, void *out, const ptrdiff_t stride[2]) {
    const int is_f64 = job->storage == GKL_F64;
    const ptrdiff_t size = is_f64 ? sizeof(double) : sizeof(float);
    gkl_store x = {{.take = store}, out, stride, is_f64};
    gkl_taker dense = {.out = out, .stride = stride[0]};
    return gkl_each_pair(job, stride[1] == size ? &dense : &x.taker);
}
