/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The functions of the table, whichever integers they take.  Matrices that lie row by row are
 * transposed in Fortran's eyes: a lower triangle is an upper one there.
 *
 * Parameter: real.h.
 */
#ifndef REAL
#error large/blas.inc.h needs simd/real.h
#endif

#undef TABLE_INDEX
#undef CALL_POTRF
#undef CALL_TRSM
#undef CALL_GEMM
#define TABLE_INDEX (BITS == 64)

#define CALL_POTRF(INTEGER)                                                                      \
    do {                                                                                         \
        INTEGER order = (INTEGER)n, ld = (INTEGER)lda, info = 0;                                 \
        ((void (*)(const char *, INTEGER *, REAL *, INTEGER *, INTEGER *))                       \
             blas->potrf[TABLE_INDEX])("U", &order, a, &ld, &info);                              \
        failed = info != 0;                                                                      \
    } while (0)

/* the lower Cholesky factor in place; 1 when there is none */
static int FN(potrf)(const gkl_blas *blas, ptrdiff_t n, REAL *a, ptrdiff_t lda) {
    int failed;
    if (blas->ilp64)
        CALL_POTRF(int64_t);
    else
        CALL_POTRF(int);
    return failed;
}

#define CALL_TRSM(INTEGER)                                                                       \
    do {                                                                                         \
        INTEGER rows = (INTEGER)n, columns = (INTEGER)m, ldl_ = (INTEGER)ldl, ldb_ = (INTEGER)ldb; \
        ((void (*)(const char *, const char *, const char *, const char *, INTEGER *, INTEGER *, \
                   REAL *, REAL *, INTEGER *, REAL *, INTEGER *))blas->trsm[TABLE_INDEX])(       \
            how == RIGHT_TRANSPOSED ? "L" : "R", "U", how == LEFT ? "N" : "T", "N", &rows,       \
            &columns, &one, (REAL *)l, &ldl_, b, &ldb_);                                         \
    } while (0)

/* B = L^-1 B, L^-T B or B L^-T, B m x n */
static void FN(trsm)(const gkl_blas *blas, tile_solve how, ptrdiff_t m, ptrdiff_t n, const REAL *l,
                     ptrdiff_t ldl, REAL *b, ptrdiff_t ldb) {
    REAL one = 1;
    if (blas->ilp64)
        CALL_TRSM(int64_t);
    else
        CALL_TRSM(int);
}

#define CALL_GEMM(INTEGER)                                                                       \
    do {                                                                                         \
        INTEGER m_ = (INTEGER)m, n_ = (INTEGER)n, k_ = (INTEGER)k;                               \
        INTEGER lda_ = (INTEGER)lda, ldb_ = (INTEGER)ldb, ldc_ = (INTEGER)ldc;                   \
        ((void (*)(const char *, const char *, INTEGER *, INTEGER *, INTEGER *, REAL *, REAL *,  \
                   INTEGER *, REAL *, INTEGER *, REAL *, REAL *, INTEGER *))                     \
             blas->gemm[TABLE_INDEX])(a_transposed ? "T" : "N", b_transposed ? "T" : "N", &m_,   \
                                      &n_, &k_, &alpha, (REAL *)a, &lda_, (REAL *)b, &ldb_,      \
                                      &beta, c, &ldc_);                                          \
    } while (0)

/* as Fortran has it */
static void FN(gemm)(const gkl_blas *blas, int a_transposed, int b_transposed, ptrdiff_t m,
                     ptrdiff_t n, ptrdiff_t k, REAL alpha, const REAL *a, ptrdiff_t lda,
                     const REAL *b, ptrdiff_t ldb, REAL beta, REAL *c, ptrdiff_t ldc) {
    if (blas->ilp64)
        CALL_GEMM(int64_t);
    else
        CALL_GEMM(int);
}
