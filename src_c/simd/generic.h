/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The vector vocabulary of words.h in GNU C, for the element type of real.h.
 *
 * Parameter: VECTOR_BYTES, 16, 32 or 64.
 *
 * FUSED tells whether vfma rounds once.  + - * / are those of the compiler.  An ISA replaces a word
 * by defining HAVE_<word> and the function in its own header, which is read before this one.
 */
#if !defined(REAL) || !defined(VECTOR_BYTES)
#error simd/generic.h needs simd/real.h and VECTOR_BYTES
#endif

#ifndef HAVE_TYPES
typedef REAL vec __attribute__((vector_size(VECTOR_BYTES)));
#endif
typedef REAL FN(packed) __attribute__((vector_size(VECTOR_BYTES), aligned(1), may_alias));
typedef INT FN(bits) __attribute__((vector_size(VECTOR_BYTES)));

#ifndef HAVE_vset
INLINE vec FN(wset)(REAL x) { return x - (vec){0}; }
#endif

INLINE vec FN(wload)(const REAL *p) { return *(const FN(packed) *)p; }

#ifndef HAVE_vload_part
INLINE vec FN(wload_part)(const REAL *p, int n) {
    vec x = {0};
    memcpy(&x, p, (size_t)n * sizeof *p);
    return x;
}
#endif

INLINE void FN(wstore)(REAL *p, vec a) { *(FN(packed) *)p = a; }

#ifndef HAVE_vstream
INLINE void FN(wstream)(REAL *p, vec a) { vstore(p, a); }
#endif

#ifndef HAVE_mask
typedef FN(bits) mask;

INLINE mask FN(wless)(vec a, vec b) { return a < b; }

INLINE mask FN(wless_equal)(vec a, vec b) { return a <= b; }

INLINE mask FN(wboth)(mask a, mask b) { return a & b; }

INLINE int FN(wall)(mask m) {
    INT all = -1;
    for (int i = 0; i < LANES; ++i)
        all &= m[i];
    return all != 0;
}

INLINE int FN(wany)(mask m) {
    INT any = 0;
    for (int i = 0; i < LANES; ++i)
        any |= m[i];
    return any != 0;
}

INLINE unsigned FN(wbits)(mask m) {
    unsigned bits = 0;
    for (int i = 0; i < LANES; ++i)
        bits |= (unsigned)(m[i] & 1) << i;
    return bits;
}

INLINE mask FN(wpositive)(vec a) {
    const vec infinity = vset((REAL)INFINITY);
    return ((FN(bits))a > 0) & ((FN(bits))a < (FN(bits))infinity);
}
#endif

#ifndef HAVE_vselect
INLINE vec FN(wselect)(mask m, vec yes, vec no) {
    return (vec)((m & (FN(bits))yes) | (~m & (FN(bits))no));
}
#endif

#ifdef HAVE_vfma
#define FUSED 1
#else /* no fused instruction: two roundings */
#define FUSED 0
INLINE vec FN(wfma)(vec a, vec b, vec c) { return a * b + c; }
INLINE vec FN(wfnma)(vec a, vec b, vec c) { return c - a * b; }
#endif

#ifndef HAVE_vminus
INLINE vec FN(wminus)(vec a, const REAL *p) { return a - vset(*p); }
#endif

#ifndef HAVE_vmin
INLINE vec FN(wmin)(vec a, vec b) { return vselect(vless(a, b), a, b); }

INLINE vec FN(wmax)(vec a, vec b) { return vselect(vless(b, a), a, b); }
#endif

#ifndef HAVE_vsqrt
INLINE vec FN(wsqrt)(vec a) {
    vec b = a;
    for (int i = 0; i < LANES; ++i)
        b[i] = BITS == 32 ? (REAL)sqrtf((float)a[i]) : (REAL)sqrt((double)a[i]);
    return b;
}
#endif

#ifndef HAVE_vreciprocal
INLINE vec FN(wreciprocal)(vec a) { return vset(1) / a; }
#endif

INLINE vec FN(wabs)(vec a) { return (vec)((FN(bits))a & ~(FN(bits))vset(-(REAL)0)); }

#ifndef HAVE_vround
INLINE vec FN(wround)(vec a) { /* |a| < 2^(MANTISSA_BITS - 1): the sum's last bit is the units */
    const vec shift = vset((REAL)1.5 * (REAL)((INT)1 << MANTISSA_BITS));
    return (a + shift) - shift;
}

INLINE vec FN(wfloor)(vec a) {
    const vec nearest = FN(wround)(a);
    return nearest - vselect(vless(a, nearest), vset(1), vset(0));
}
#endif

#ifndef HAVE_vsquare_residual /* Dekker: a in two halves whose products are exact; |a| < 4 */
INLINE vec FN(wsquare_residual)(vec a, vec h) {
    const vec c = a * vset((REAL)(((INT)1 << ((MANTISSA_BITS + 2) / 2)) + 1));
    const vec high = c - (c - a), low = a - high;
    return ((high * high - h) + (high * low + high * low)) + low * low;
}
#endif

#ifndef HAVE_vscale
/* by one above and one below the normal range, the exponent fields are those of inf and 0 */
INLINE vec FN(wpower)(vec k) {
    const vec shift = vset((REAL)1.5 * (REAL)((INT)1 << MANTISSA_BITS) + EXPONENT_BIAS);
    return (vec)((FN(bits))(k + shift) << MANTISSA_BITS);
}

INLINE vec FN(wexponent)(vec x, vec *c) {
    const vec magic = vset((REAL)((INT)1 << MANTISSA_BITS));
    const FN(bits) field = (FN(bits))x >> MANTISSA_BITS;
    *c = (vec)(((INT)(2 * EXPONENT_BIAS) - field) << MANTISSA_BITS);
    /* the exponent field becomes the low mantissa bits of 2^MANTISSA_BITS */
    return (vec)(field | (FN(bits))magic) - (magic + vset(EXPONENT_BIAS));
}

/* |k| <= 3 EXPONENT_BIAS, in three steps of one sign: only the result can over- or underflow */
INLINE vec FN(wscale)(vec x, vec k) {
    const vec k1 = vround(k * vset((REAL)(1.0 / 3)));
    const vec k2 = vround((k - k1) * vset((REAL)0.5));
    return x * FN(wpower)(k1) * FN(wpower)(k2) * FN(wpower)(k - k1 - k2);
}

/* for positive finite x, subnormal too; for others some numbers */
INLINE vec FN(wsplit)(vec x, vec *e) {
    const vec lift = vset((REAL)((INT)1 << MANTISSA_BITS)), one = vset(1);
    const mask subnormal = vless(x, vset(SMALLEST_NORMAL));
    const FN(bits) bits = (FN(bits))vselect(subnormal, x * lift, x);
    const vec field = (vec)((bits >> MANTISSA_BITS) | (FN(bits))lift) - lift;
    *e = field - vset(EXPONENT_BIAS) - vselect(subnormal, vset(MANTISSA_BITS), vset(0));
    return (vec)((bits & (((INT)1 << MANTISSA_BITS) - 1)) | (FN(bits))one);
}
#endif

#if BITS == 32 && !defined(HAVE_vwiden)
INLINE void FN(wwiden)(vec a, wide *low, wide *high) {
    *low = *high = (wide){0}; /* or compilers worry */
    for (int i = 0; i < LANES / 2; ++i) {
        (*low)[i] = (double)a[i];
        (*high)[i] = (double)a[i + LANES / 2];
    }
}
#endif

#undef ZIP_LOW
#undef ZIP_HIGH
#if VECTOR_BYTES * 8 / BITS == 2
#define ZIP_LOW 0, 2
#define ZIP_HIGH 1, 3
#elif VECTOR_BYTES * 8 / BITS == 4
#define ZIP_LOW 0, 4, 1, 5
#define ZIP_HIGH 2, 6, 3, 7
#elif VECTOR_BYTES * 8 / BITS == 8
#define ZIP_LOW 0, 8, 1, 9, 2, 10, 3, 11
#define ZIP_HIGH 4, 12, 5, 13, 6, 14, 7, 15
#else
#define ZIP_LOW 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23
#define ZIP_HIGH 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31
#endif
#if defined(__clang__)
INLINE vec FN(wzip_low)(vec a, vec b) { return __builtin_shufflevector(a, b, ZIP_LOW); }
INLINE vec FN(wzip_high)(vec a, vec b) { return __builtin_shufflevector(a, b, ZIP_HIGH); }
#else
INLINE vec FN(wzip_low)(vec a, vec b) { return __builtin_shuffle(a, b, (FN(bits)){ZIP_LOW}); }
INLINE vec FN(wzip_high)(vec a, vec b) { return __builtin_shuffle(a, b, (FN(bits)){ZIP_HIGH}); }
#endif
