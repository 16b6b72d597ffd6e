/* SPDX-License-Identifier: BSD-3-Clause
 *
 * One Gaussian of a pair, whatever parameter carries its covariance: a Cholesky factor, or what
 * will be one.
 *
 * Parameters: those of tiles.inc.h.
 */
#ifndef REAL
#error large/sides.inc.h needs simd/real.h
#endif

typedef struct {
    gkl_kind kind;
    int diagonal;
    int factored; /* l holds the factor */
    REAL *l;      /* the matrix, then its factor */
    REAL *given;  /* its factor, when the caller has it */
    double *root, *pivot; /* diagonal of the factor, and its square */
    REAL *factor; /* of GKL_LOW_RANK, d x rank */
    ptrdiff_t rank;
} FN(side);

/* what the workspace is handed out from */
static void *FN(take)(char **work, size_t n, size_t size) {
    void *const mine = *work;
    *work += round_up(n * size);
    return mine;
}

static REAL *FN(take_matrix)(const space *s, char **work) {
    return FN(take)(work, (size_t)(s->d * s->ld), sizeof(REAL));
}

static int FN(all_finite)(const REAL *x, ptrdiff_t n) {
    int finite = 1;
    for (ptrdiff_t i = 0; i < n; ++i)
        finite &= x[i] >= -LARGEST && x[i] <= LARGEST;
    return finite;
}

/* The lower triangle of an operand to a matrix in tiles. */
typedef struct {
    const space *s;
    const gkl_array *array;
    const char *from;
    gkl_type type;
    REAL *to;
    int bad;
} FN(read_job);

static void FN(read_task)(void *context, ptrdiff_t i) {
    FN(read_job) *job = context;
    const space *s = job->s;
    const ptrdiff_t step = job->array->step, across = job->array->across;
    const int by_rows = llabs(across) <= llabs(step);
    int finite = 1;
    for (ptrdiff_t j = 0; j <= i; ++j)
        for (ptrdiff_t r = 0; r < extent(s, i); ++r) {
            const ptrdiff_t row = i * BLOCK + r;
            const ptrdiff_t n = by_rows ? row + 1 : i == j ? r + 1 : BLOCK;
            REAL *to = job->to + row * s->ld + j * BLOCK;
            if (by_rows && j > 0)
                continue;
            gkl_gather(job->type, job->from + row * step + j * BLOCK * across, 1, 0, n, across, to);
            finite &= FN(all_finite)(to, n);
        }
    FN(clear_upper)(s, job->to, i);
    if (!finite)
        __atomic_store_n(&job->bad, 1, __ATOMIC_RELAXED);
}

static int FN(read_matrix)(const space *s, const gkl_item *item, int operand, gkl_type type,
                           REAL *to) {
    FN(read_job) job = {s, &item->job->in[operand], item->in[operand], type, to, 0};
    run_tasks(s, s->tiles, FN(read_task), &job);
    return job.bad;
}

/* 1 when there is something that is not finite */
static int FN(read_vector)(const space *s, const gkl_item *item, int operand, REAL *to) {
    gkl_gather(item->job->storage, item->in[operand], 1, 0, s->d, item->job->in[operand].step, to);
    return !FN(all_finite)(to, s->d);
}

/* root and pivot from the factor; 1 when its diagonal is not positive */
static int FN(read_diagonal)(const space *s, FN(side) *side) {
    side->factored = 1;
    for (ptrdiff_t k = 0; k < s->d; ++k) {
        side->root[k] = (double)side->l[k * s->ld + k];
        side->pivot[k] = side->root[k] * side->root[k];
        if (!(side->root[k] > 0))
            return 1;
    }
    return 0;
}

static int FN(factor_side)(const space *s, FN(side) *side) {
    if (side->factored)
        return 0;
    if (side->given)
        side->l = side->given;
    else if (FN(factor)(s, side->l))
        return 1;
    return FN(read_diagonal)(s, side);
}

static int FN(factor_sides)(const space *s, FN(side) *a, FN(side) *b) {
    if (!a->factored && !b->factored && !a->given && !b->given)
        return FN(factor_two)(s, a->l, b->l) || FN(read_diagonal)(s, a) || FN(read_diagonal)(s, b);
    return FN(factor_side)(s, a) || FN(factor_side)(s, b);
}

/* m(i, j) = from(d - 1 - j, d - 1 - i): J M^T J with J the reversal, lower triangular again */
static void FN(reverse)(const space *s, const REAL *from, REAL *m) {
    const ptrdiff_t last = s->d - 1;
    for (ptrdiff_t first = 0; first < s->d; first += BLOCK) /* columns of m, rows of `from` */
        for (ptrdiff_t i = first; i < s->d; ++i)
            for (ptrdiff_t j = first; j <= i && j < first + BLOCK; ++j)
                m[i * s->ld + j] = from[(last - j) * s->ld + last - i];
    for (ptrdiff_t i = 0; i < s->tiles; ++i)
        FN(clear_upper)(s, m, i);
}

/* Lambda = U U^T with U upper triangular, by the Cholesky factor C of J Lambda J; then U^-T is a
 * lower factor of the covariance, J C^-T J */
static int FN(invert_precision)(const space *s, FN(side) *side, char *work) {
    REAL *c = FN(take_matrix)(s, &work), *inverse = FN(take_matrix)(s, &work);
    FN(reverse)(s, side->l, c);
    if (FN(factor)(s, c))
        return 1;
    FN(invert)(s, c, inverse);
    FN(reverse)(s, inverse, side->l);
    return FN(read_diagonal)(s, side);
}

/* F F^T + diag(v) */
static int FN(expand)(const space *s, FN(side) *side, const REAL *v) {
    memset(side->l, 0, (size_t)(s->d * s->ld) * sizeof(REAL));
    for (ptrdiff_t i = 0; i < s->tiles && side->rank > 0; ++i)
        for (ptrdiff_t j = 0; j <= i; ++j)
            FN(multiply)(s, extent(s, i), extent(s, j), side->rank, 1,
                         (FN(operand)){side->factor + i * BLOCK * side->rank, side->rank, 0},
                         (FN(operand)){side->factor + j * BLOCK * side->rank, side->rank, 1}, 0,
                         FN(tile_at)(s, side->l, i, j), s->ld);
    for (ptrdiff_t k = 0; k < s->d; ++k) {
        if (!(v[k] > 0))
            return 1;
        side->l[k * s->ld + k] += v[k];
    }
    for (ptrdiff_t i = 0; i < s->tiles; ++i)
        FN(clear_upper)(s, side->l, i);
    return 0;
}

/* standard deviations and variances of a diagonal Gaussian */
static int FN(read_scale)(const space *s, FN(side) *side, const REAL *scale) {
    side->diagonal = side->factored = 1;
    for (ptrdiff_t k = 0; k < s->d; ++k) {
        const double x = scale ? (double)scale[k] : 1;
        double v = 1, root = 1;
        if (side->kind == GKL_VAR)
            v = x, root = sqrt(x);
        else if (side->kind == GKL_STD)
            v = x * x, root = x;
        else if (side->kind == GKL_LOGVAR)
            v = exp(x), root = exp(x / 2);
        side->root[k] = root;
        side->pivot[k] = v;
        if (!(root > 0 && root <= DBL_MAX))
            return 1;
    }
    return 0;
}

/* `inverted`: a precision stays one; 1 when the item is bad */
static int FN(read_side)(const space *s, const gkl_item *item, int is_q, int inverted,
                         FN(side) *side, char **work) {
    const gkl_job *job = item->job;
    const int operand = is_q ? 3 : 1, factor = is_q ? GKL_FACTOR_Q : GKL_FACTOR_P;
    const gkl_type type = BITS == 64 ? GKL_F64 : GKL_F32;
    const gkl_kind kind = is_q ? job->q : job->p;
    *side = (FN(side)){.kind = kind, .rank = is_q ? job->rank_q : job->rank_p};
    side->root = FN(take)(work, (size_t)s->d, sizeof(double));
    side->pivot = FN(take)(work, (size_t)s->d, sizeof(double));
    REAL *scale = FN(take)(work, (size_t)s->d, sizeof(REAL));
    if (kind <= GKL_UNIT || kind == GKL_LOW_RANK)
        if (kind != GKL_UNIT && FN(read_vector)(s, item, operand, scale))
            return 1;
    if (kind <= GKL_UNIT)
        return FN(read_scale)(s, side, kind == GKL_UNIT ? NULL : scale);
    side->l = FN(take_matrix)(s, work);
    if (kind == GKL_LOW_RANK) {
        const gkl_array *x = &job->in[factor];
        side->factor = FN(take)(work, (size_t)(s->d * side->rank), sizeof(REAL));
        gkl_gather(job->storage, item->in[factor], s->d, x->step, side->rank, x->across,
                   side->factor);
        return !FN(all_finite)(side->factor, s->d * side->rank) || FN(expand)(s, side, scale);
    }
    if (FN(read_matrix)(s, item, operand, job->storage, side->l))
        return 1;
    if (kind == GKL_TRIL)
        return FN(read_diagonal)(s, side);
    if (kind == GKL_PRECISION && !inverted)
        return FN(invert_precision)(s, side, *work);
    if (item->in[factor]) {
        side->given = FN(take_matrix)(s, work);
        return FN(read_matrix)(s, item, factor, type, side->given);
    }
    return 0;
}
