/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Products of triangular matrices in panels, of which gradients are made.
 *
 * Parameters: those of panels.inc.h.
 */
#ifndef TILE
#error kernels/congruence.inc.h needs TILE
#endif

/* sum(r, c) -+= sum over k of a(r, k) b(k, c) + u(r, k) v(k, c), both of each k together */
INLINE void FN(multiply_two)(vec *sum, const vec *a, const vec *b, const vec *u, const vec *v,
                             const int left_transposed, const int right_transposed) {
    UNROLL for (int k = 0; k < TILE; ++k)
        UNROLL for (int c = 0; c < TILE; ++c) {
            const int right = right_transposed ? k * TILE + c : c * TILE + k;
            UNROLL for (int r = 0; r < TILE; ++r) {
                const int left = left_transposed ? r * TILE + k : k * TILE + r;
                sum[c * TILE + r] = vfma(a[left], b[right], sum[c * TILE + r]);
                sum[c * TILE + r] = vfma(u[left], v[right], sum[c * TILE + r]);
            }
        }
}

/* K = X + X^T + X^T X, or X + X^T + X X^T, its lower triangle */
static void FN(square)(const vec *x, ptrdiff_t tiles, const int transposed_first, vec *k) {
    for (ptrdiff_t i = 0; i < tiles; ++i)
        for (ptrdiff_t j = 0; j <= i; ++j) {
            vec s[TILE * TILE];
            FN(copy)(s, FN(tile)(x, i, j));
            if (i == j) /* X is 0 above its diagonal */
                UNROLL for (int c = 0; c < TILE; ++c)
                    s[c * TILE + c] = s[c * TILE + c] + s[c * TILE + c];
            for (ptrdiff_t n = transposed_first ? i : 0; n < (transposed_first ? tiles : j + 1);
                 ++n) {
                if (transposed_first)
                    FN(multiply)(s, FN(tile)(x, n, i), 1, FN(tile)(x, n, j), 0, 0);
                else
                    FN(multiply)(s, FN(tile)(x, i, n), 0, FN(tile)(x, j, n), 1, 0);
            }
            FN(copy)(FN(tile)(k, i, j), s);
        }
}

/* K = Y + Y^T: from its lower triangle to Y, in place */
INLINE void FN(halve)(vec *k, ptrdiff_t tiles) {
    for (ptrdiff_t i = 0; i < tiles; ++i)
        for (int c = 0; c < TILE; ++c)
            for (int r = 0; r <= c; ++r) {
                vec *x = FN(tile)(k, i, i) + c * TILE + r;
                *x = r == c ? vset((REAL)0.5) * *x : vset(0);
            }
}

/* C = A B, all lower triangular */
static void FN(product)(const vec *a, const vec *b, ptrdiff_t tiles, vec *product) {
    for (ptrdiff_t i = 0; i < tiles; ++i)
        for (ptrdiff_t j = 0; j <= i; ++j) {
            vec s[TILE * TILE] = {{0}};
            for (ptrdiff_t k = j; k <= i; ++k)
                FN(multiply)(s, FN(tile)(a, i, k), 0, FN(tile)(b, k, j), 0, 0);
            FN(copy)(FN(tile)(product, i, j), s);
        }
}

/* the lower triangle of V^T (Y + Y^T) V with B = Y V, or of L (Y + Y^T) L^T with B = L Y */
static void FN(congruence)(const vec *v, const vec *b, ptrdiff_t tiles, const int transposed_first,
                           vec *g) {
    for (ptrdiff_t i = 0; i < tiles; ++i)
        for (ptrdiff_t j = 0; j <= i; ++j) {
            vec s[TILE * TILE] = {{0}};
            for (ptrdiff_t k = transposed_first ? i : 0; k < (transposed_first ? tiles : j + 1);
                 ++k) {
                if (transposed_first)
                    FN(multiply_two)(s, FN(tile)(v, k, i), FN(tile)(b, k, j), FN(tile)(b, k, i),
                                     FN(tile)(v, k, j), 1, 0);
                else
                    FN(multiply_two)(s, FN(tile)(b, i, k), FN(tile)(v, j, k), FN(tile)(v, i, k),
                                     FN(tile)(b, j, k), 0, 1);
            }
            FN(copy)(FN(tile)(g, i, j), s);
        }
}

/* tril(V^T K), K symmetric of which the lower triangle is given */
static void FN(triangle)(const vec *v, const vec *k, ptrdiff_t tiles, vec *g) {
    for (ptrdiff_t i = 0; i < tiles; ++i)
        for (ptrdiff_t j = 0; j <= i; ++j) {
            vec s[TILE * TILE] = {{0}};
            for (ptrdiff_t n = i; n < tiles; ++n)
                FN(multiply)(s, FN(tile)(v, n, i), 1, FN(tile)(k, n, j), 0, 0);
            FN(copy)(FN(tile)(g, i, j), s);
        }
}
