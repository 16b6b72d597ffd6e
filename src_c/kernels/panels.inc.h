/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Lower triangular matrices of which every element is a vector: one matrix a lane.
 *
 * They lie in tiles of TILE x TILE, tile (I, J), J <= I, after I (I + 1)/2 + J others, each column by
 * column.  So the rows of a panel I lie together, as [column][row in the panel], which is how both
 * operands of an update are read, and the TILE x TILE sums of an update stay in registers where
 * there are 32; with 16, some go to the stack.  The size is filled up to whole tiles with the
 * identity: it adds exactly nothing.
 *
 * Every element takes the same operations in the same order for any TILE.
 *
 * Parameters: real.h, the vector words, TILE.
 */
#ifndef TILE
#error kernels/panels.inc.h needs TILE
#endif

/* element (i, j), j <= i, or in the upper part of a tile on the diagonal */
INLINE vec *FN(at)(const vec *m, ptrdiff_t i, ptrdiff_t j) {
    const ptrdiff_t row = i / TILE, column = j / TILE;
    return (vec *)m + ((row * (row + 1) / 2 + column) * TILE + j % TILE) * TILE + i % TILE;
}

INLINE vec *FN(tile)(const vec *m, ptrdiff_t row, ptrdiff_t column) {
    return (vec *)m + (row * (row + 1) / 2 + column) * TILE * TILE;
}

INLINE void FN(copy)(vec *to, const vec *from) {
    UNROLL for (int i = 0; i < TILE * TILE; ++i)
        to[i] = from[i];
}

/* to the tile (i, j) of a triangular matrix */
INLINE void FN(copy_lower)(vec *to, vec *from, const int diagonal) {
    if (diagonal)
        UNROLL for (int c = 0; c < TILE; ++c)
            UNROLL for (int r = 0; r < c; ++r)
                from[c * TILE + r] = vset(0);
    FN(copy)(to, from);
}

/* sum(r, c) -+= sum over k of a(r, k) b(k, c): tiles as they lie, or transposed */
INLINE void FN(multiply)(vec *sum, const vec *a, const int a_transposed, const vec *b,
                         const int b_transposed, const int subtract) {
    UNROLL for (int k = 0; k < TILE; ++k) {
        vec x[TILE];
        UNROLL for (int r = 0; r < TILE; ++r)
            x[r] = a_transposed ? a[r * TILE + k] : a[k * TILE + r];
        UNROLL for (int c = 0; c < TILE; ++c) {
            const vec y = b_transposed ? b[k * TILE + c] : b[c * TILE + k];
            UNROLL for (int r = 0; r < TILE; ++r) {
                vec *s = &sum[c * TILE + r];
                *s = subtract ? vfnma(x[r], y, *s) : vfma(x[r], y, *s);
            }
        }
    }
}

/* Sums over k go by blocks of BLOCK tiles: what has been found of a block is subtracted from all
 * that comes after it in the row (or column) while it is in the L1 cache. */
#ifndef BLOCK
#define BLOCK 16
#endif

INLINE ptrdiff_t FN(smaller)(ptrdiff_t a, ptrdiff_t b) { return a < b ? a : b; }

/* tile (i, j) of A, from which the tiles from `first` to `end` of L L^T are subtracted */
INLINE void FN(subtract_products)(vec *x, const vec *m, ptrdiff_t i, ptrdiff_t j, ptrdiff_t first,
                                  ptrdiff_t end) {
    FN(copy)(x, FN(tile)(m, i, j));
    for (ptrdiff_t k = first; k < end; ++k)
        FN(multiply)(x, FN(tile)(m, i, k), 0, FN(tile)(m, j, k), 1, 1);
}

/* column c of the tile x of L; l is the one on the diagonal above it, or x itself */
INLINE void FN(cholesky_column)(vec *x, const vec *l, const int diagonal, const int c, vec *pivot,
                                vec *inverse) {
    if (diagonal) {
        pivot[c] = x[c * TILE + c];
        x[c * TILE + c] = vsqrt(x[c * TILE + c]);
        inverse[c] = vset(1) / x[c * TILE + c];
    }
    const vec scale = inverse[c];
    UNROLL for (int r = 0; r < TILE; ++r)
        if (!diagonal || r > c)
            x[c * TILE + r] = x[c * TILE + r] * scale;
    UNROLL for (int n = c + 1; n < TILE; ++n)
        UNROLL for (int r = 0; r < TILE; ++r)
            if (!diagonal || r >= n)
                x[n * TILE + r] = vfnma(x[c * TILE + r], l[c * TILE + n], x[n * TILE + r]);
}

/* tile (i, j) of A = L L^T, from which the tiles before `first` have been subtracted */
INLINE void FN(cholesky_tile)(vec *m, ptrdiff_t i, ptrdiff_t j, ptrdiff_t first, vec *pivot,
                              vec *inverse) {
    vec x[TILE * TILE];
    FN(subtract_products)(x, m, i, j, first, j);
    if (j < i)
        UNROLL for (int c = 0; c < TILE; ++c)
            FN(cholesky_column)(x, FN(tile)(m, j, j), 0, c, pivot + j * TILE, inverse + j * TILE);
    else
        UNROLL for (int c = 0; c < TILE; ++c)
            FN(cholesky_column)(x, x, 1, c, pivot + j * TILE, inverse + j * TILE);
    FN(copy_lower)(FN(tile)(m, i, j), x, i == j);
}

/* A = L L^T in place; the squares of L's diagonal (its pivots) and the diagonal's inverses.  What
 * is not positive definite has a pivot that is not positive, and NaN after it. */
static void FN(cholesky)(vec *m, ptrdiff_t tiles, vec *pivot, vec *inverse) {
    for (ptrdiff_t i = 0; i < tiles; ++i)
        for (ptrdiff_t first = 0; first <= i; first += BLOCK) {
            const ptrdiff_t end = FN(smaller)(first + BLOCK, i + 1);
            for (ptrdiff_t j = first; j < end; ++j)
                FN(cholesky_tile)(m, i, j, first, pivot, inverse);
            for (ptrdiff_t j = end; j <= i; ++j) {
                vec x[TILE * TILE];
                FN(subtract_products)(x, m, i, j, first, end);
                FN(copy)(FN(tile)(m, i, j), x);
            }
        }
}

/* of two matrices: small ones in turn, while the roots and divisions of one are waited for the other
 * goes on */
static void FN(cholesky_both)(vec *a, vec *pivot_a, vec *inverse_a, vec *b, vec *pivot_b,
                              vec *inverse_b, ptrdiff_t tiles) {
    if (tiles > BLOCK) {
        FN(cholesky)(a, tiles, pivot_a, inverse_a);
        FN(cholesky)(b, tiles, pivot_b, inverse_b);
        return;
    }
    for (ptrdiff_t i = 0; i < tiles; ++i) {
        for (ptrdiff_t j = 0; j < i; ++j) {
            FN(cholesky_tile)(a, i, j, 0, pivot_a, inverse_a);
            FN(cholesky_tile)(b, i, j, 0, pivot_b, inverse_b);
        }
        vec x[TILE * TILE], y[TILE * TILE];
        FN(subtract_products)(x, a, i, i, 0, i);
        FN(subtract_products)(y, b, i, i, 0, i);
        UNROLL for (int c = 0; c < TILE; ++c) {
            FN(cholesky_column)(x, x, 1, c, pivot_a + i * TILE, inverse_a + i * TILE);
            FN(cholesky_column)(y, y, 1, c, pivot_b + i * TILE, inverse_b + i * TILE);
        }
        FN(copy_lower)(FN(tile)(a, i, i), x, 1);
        FN(copy_lower)(FN(tile)(b, i, i), y, 1);
    }
}

INLINE void FN(solve_tile)(const vec *l, const vec *inverse, vec *m, ptrdiff_t i, ptrdiff_t j,
                           ptrdiff_t first, ptrdiff_t end) {
    vec x[TILE * TILE];
    FN(copy)(x, FN(tile)(m, i, j));
    for (ptrdiff_t k = first; k < FN(smaller)(i, end); ++k)
        FN(multiply)(x, FN(tile)(l, i, k), 0, FN(tile)(m, k, j), 0, 1);
    const vec *own = FN(tile)(l, i, i);
    if (i < end)
        UNROLL for (int r = 0; r < TILE; ++r) {
            UNROLL for (int c = 0; c < TILE; ++c)
                x[c * TILE + r] = x[c * TILE + r] * inverse[i * TILE + r];
            UNROLL for (int n = r + 1; n < TILE; ++n)
                UNROLL for (int c = 0; c < TILE; ++c)
                    x[c * TILE + n] = vfnma(own[r * TILE + n], x[c * TILE + r], x[c * TILE + n]);
        }
    FN(copy)(FN(tile)(m, i, j), x);
}

/* X = L^-1 X in place, X lower triangular */
static void FN(solve)(const vec *l, const vec *inverse, ptrdiff_t tiles, vec *m) {
    for (ptrdiff_t j = 0; j < tiles; ++j)
        for (ptrdiff_t first = j; first < tiles; first += BLOCK)
            for (ptrdiff_t i = first; i < tiles; ++i)
                FN(solve_tile)(l, inverse, m, i, j, first, first + BLOCK);
}

/* The factors' difference Delta = La - Lb from E = A - B and Lb, in place, without ever subtracting
 * two factors:
 *
 *     t_ij = e_ij - sum_{k<j} [Delta_ik (lb_jk + Delta_jk) + lb_ik Delta_jk]
 *     d_j = t_jj (the difference of the pivots),  la_jj = sqrt(pivot_j + d_j)
 *     Delta_jj = d_j/(la_jj + lb_jj),  Delta_ij = (t_ij - lb_ij Delta_jj)/la_jj
 *
 * Good where every d_j/pivot_j is between -1/2 and 1, and `near` is left in no other lanes; there
 * La must be Lb + Delta, an independently computed factor makes the recursion explode. */
static void FN(difference)(const vec *lb, const vec *pivot, ptrdiff_t tiles, vec *m, vec *excess,
                           vec *root, mask *near) {
    for (ptrdiff_t i = 0; i < tiles; ++i)
        for (ptrdiff_t j = 0; j <= i; ++j) {
            vec x[TILE * TILE];
            const vec *li = FN(tile)(lb, i, j), *lj = FN(tile)(lb, j, j);
            FN(copy)(x, FN(tile)(m, i, j));
            for (ptrdiff_t k = 0; k < j; ++k) {
                const vec *a = FN(tile)(m, i, k), *b = FN(tile)(m, j, k);
                const vec *u = FN(tile)(lb, i, k), *v = FN(tile)(lb, j, k);
                UNROLL for (int n = 0; n < TILE; ++n)
                    UNROLL for (int c = 0; c < TILE; ++c) {
                        const vec la = b[n * TILE + c] + v[n * TILE + c];
                        UNROLL for (int r = 0; r < TILE; ++r) {
                            vec *t = &x[c * TILE + r];
                            *t = vfnma(a[n * TILE + r], la, *t);
                            *t = vfnma(u[n * TILE + r], b[n * TILE + c], *t);
                        }
                    }
            }
            const vec *d = j < i ? FN(tile)(m, j, j) : x;
            UNROLL for (int c = 0; c < TILE; ++c) {
                const ptrdiff_t n = j * TILE + c;
                const vec l = lj[c * TILE + c];
                if (i == j) {
                    const vec t = x[c * TILE + c], half = vset((REAL)-0.5) * pivot[n];
                    *near = vboth(*near, vboth(vless(half, t), vless(t, pivot[n])));
                    excess[n] = t;
                    root[n] = vsqrt(pivot[n] + t);
                    x[c * TILE + c] = t / (root[n] + l);
                }
                const vec delta = d[c * TILE + c], inverse = vset(1) / root[n];
                UNROLL for (int r = 0; r < TILE; ++r)
                    if (j < i || r > c)
                        x[c * TILE + r] = vfnma(li[c * TILE + r], delta, x[c * TILE + r]) * inverse;
                UNROLL for (int o = c + 1; o < TILE; ++o) {
                    const vec la = d[c * TILE + o] + lj[c * TILE + o];
                    UNROLL for (int r = 0; r < TILE; ++r)
                        if (j < i || r >= o) {
                            vec *t = &x[o * TILE + r];
                            *t = vfnma(x[c * TILE + r], la, *t);
                            *t = vfnma(li[c * TILE + r], d[c * TILE + o], *t);
                        }
                }
            }
            FN(copy_lower)(FN(tile)(m, i, j), x, i == j);
        }
}

/* V = L^-1 */
static void FN(invert)(const vec *l, const vec *inverse, ptrdiff_t tiles, vec *v) {
    memset(v, 0, (size_t)(tiles * (tiles + 1) / 2 * TILE * TILE) * sizeof(vec));
    for (ptrdiff_t i = 0; i < tiles * TILE; ++i)
        *FN(at)(v, i, i) = vset(1);
    FN(solve)(l, inverse, tiles, v);
}
