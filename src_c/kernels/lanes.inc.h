/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Items side by side: from rows of LANES items to one vector for each element, and back.
 *
 * Parameters: real.h and the vector words.
 */
#ifndef REAL
#error kernels/lanes.inc.h needs simd/real.h
#endif

/* x[i] lane j <-> x[j] lane i: log2(LANES) perfect shuffles */
INLINE void FN(transpose)(vec *x) {
    vec y[LANES];
    for (int done = 1; done < LANES; done *= 2) {
        for (int i = 0; i < LANES / 2; ++i) {
            y[2 * i] = vzip_low(x[i], x[i + LANES / 2]);
            y[2 * i + 1] = vzip_high(x[i], x[i + LANES / 2]);
        }
        for (int i = 0; i < LANES; ++i)
            x[i] = y[i];
    }
}

/* to[j stride], or to[place[j]], = element j of every lane's row, j < n, of which `readable` >= n may
 * be read; what lies `ahead` bytes further, if not 0, will be wanted soon */
static void FN(pack)(const void *const *lane, ptrdiff_t n, ptrdiff_t readable, void *to,
                     ptrdiff_t stride, const int *place, ptrdiff_t ahead) {
    vec *out = to;
    vec x[LANES];
    for (ptrdiff_t j = 0; j < n; j += LANES) {
        /* the last ones with some before them again, if that many may be read */
        const ptrdiff_t first = j + LANES <= readable || readable < LANES ? j : readable - LANES;
        const int part = readable < LANES ? (int)n : LANES;
        for (int i = 0; i < LANES; ++i) {
            const REAL *from = (const REAL *)lane[i] + first;
            if (ahead)
                __builtin_prefetch((const char *)from + ahead, 0, 2);
            x[i] = part == LANES ? vload(from) : vload_part(from, part);
        }
        FN(transpose)(x);
        for (int i = 0; i < LANES && first + i < n; ++i)
            out[place ? place[first + i] : (first + i) * stride] = x[i];
    }
}

/* the same backwards: n elements of every lane's row, times the factor of that lane */
static void FN(unpack)(const void *from, ptrdiff_t n, const void *factor, void *const *lane) {
    const vec *in = from;
    const vec times = factor ? *(const vec *)factor : vset(1);
    const mask nothing = vless_equal(vabs(times), vset(0)); /* 0 times an overflow is 0 here */
    for (ptrdiff_t j = 0; j < n; j += LANES) {
        const int count = n - j < LANES ? (int)(n - j) : LANES;
        vec x[LANES] = {{0}};
        for (int i = 0; i < count; ++i)
            x[i] = factor ? vselect(nothing, vset(0), in[j + i] * times) : in[j + i];
        FN(transpose)(x);
        for (int i = 0; i < LANES; ++i)
            if (lane[i]) {
                if (count == LANES)
                    vstore((REAL *)lane[i] + j, x[i]);
                else
                    memcpy((REAL *)lane[i] + j, &x[i], (size_t)count * sizeof(REAL));
            }
    }
}

/* A sum whose error does not grow with its length, in every lane: in double, compensated for it. */
typedef struct {
#if BITS == 32
    wide low, high;
#else
    vec sum, rest;
#endif
} FN(tally);

INLINE void FN(tally_add)(FN(tally) *t, vec x) {
#if BITS == 32
    wide low, high;
    vwiden(x, &low, &high);
    t->low += low;
    t->high += high;
#else
    const vec sum = t->sum + x, y = sum - t->sum;
    t->rest += (t->sum - (sum - y)) + (x - y);
    t->sum = sum;
#endif
}

/* the sum, times a power of two; an infinite one has no meaningful rest */
INLINE vec FN(tally_total)(const FN(tally) *t, REAL times) {
#if BITS == 32
    vec x = {0};
    for (int i = 0; i < LANES / 2; ++i) {
        x[i] = (REAL)(times * t->low[i]);
        x[i + LANES / 2] = (REAL)(times * t->high[i]);
    }
    return x;
#else
    const mask finite = vless_equal(vabs(t->sum), vset(LARGEST));
    return vset(times) * vselect(finite, t->sum + t->rest, t->sum);
#endif
}
