/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The scalar functions of the divergences, over one vector:
 *
 *     phi(u) = u - log1p(u) >= 0        psi(y) = expm1(y) - y >= 0
 *
 * with log, exp and expm1 from the same two polynomials.  Calling log1p or expm1 and subtracting
 * would bring back the cancellation that they are here to avoid.
 *
 * u is half the machine epsilon: 2^-24 for float, 2^-53 for double.  The bounds are for the whole
 * range of finite results in the normal range; tests/test_scalar.py measures them, for float over
 * every 257th input (slow: every one), the ratio's with a divisor of 1.  What a division adds, and
 * the low parts, show in the divergences themselves: tests/test_accuracy.py.
 *
 * `careful` is a constant. 0: every scale is ordinary, far from the ends of the range, and no
 * intermediate can over- or underflow. 1: anything goes. Both agree within the bounds.
 *
 * Parameters: real.h and the vector words.
 */
#ifndef REAL
#error math.inc.h needs simd/real.h
#endif

#undef LN2_HIGH
#undef LN2_LOW
#undef LARGE_LOG
#if BITS == 32 /* k LN2_HIGH is exact for |k| < 2^9 (float), 2^13 (double) */
#define LN2_HIGH 0x1.62e4p-1f
#define LN2_LOW 0x1.7f7d1cp-20f
#define LARGE_LOG 340.0f /* beyond, e^(x/2) times a normal number is over- or underflow */
#else
#define LN2_HIGH 0x1.62e42fefa0000p-1
#define LN2_LOW 0x1.cf79abc9e3b3ap-40
#define LARGE_LOG 2800.0
#endif
#define LOG2_E ((REAL)1.44269504088896340736)
#define SQRT_2 ((REAL)1.41421356237309504880)
#define SQRT_HALF ((REAL)0.70710678118654752440)

/* c[0] + c[1] x + ... by pairs (Estrin): a chain of log2(n) multiply-adds instead of n.
 * n is a constant of at most 32, so that the loops unroll. */
INLINE vec FN(polynomial)(vec x, const REAL *c, const int n) {
    vec t[17];
    for (int i = 0; i < n / 2; ++i)
        t[i] = vfma(vset(c[2 * i + 1]), x, vset(c[2 * i]));
    if (n % 2)
        t[n / 2] = vset(c[n - 1]);
    for (int m = (n + 1) / 2; m > 1; m = (m + 1) / 2) {
        x = x * x;
        for (int i = 0; i < m / 2; ++i)
            t[i] = vfma(t[2 * i + 1], x, t[2 * i]);
        if (m % 2)
            t[m / 2] = t[m - 1];
    }
    return t[0];
}

/* f - log1p(f) for sqrt(1/2) - 1 <= f <= 1/2: three roundings, and what coefficients.h says */
INLINE vec FN(phi_reduced)(vec f) {
    const vec a = FN(polynomial)(f, FN(phi_coefficients), COUNT(FN(phi_coefficients)));
    return f * f * vfma(f, a, vset((REAL)0.5));
}

/* expm1(f) - f for |f| <= 1: likewise */
INLINE vec FN(psi_reduced)(vec f) {
    const vec b = FN(polynomial)(f, FN(psi_coefficients), COUNT(FN(psi_coefficients)));
    return f * f * vfma(f, b, vset((REAL)0.5));
}

/* variances, standard deviations are ordinary between these, log-variances below
 * LN_ORDINARY in size: ratios, squares and quotients of them are normal numbers */
#define LN_ORDINARY ((REAL)(EXPONENT_BIAS + 1) * (REAL)0.33)
#define ORDINARY_STD_HIGH ((REAL)(BITS == 32 ? 0x1p20 : 0x1p160))
#define ORDINARY_STD_LOW ((REAL)(BITS == 32 ? 0x1p-20 : 0x1p-160))
#define ORDINARY_HIGH ((REAL)(BITS == 32 ? 0x1p40 : 0x1p320))
#define ORDINARY_LOW ((REAL)(BITS == 32 ? 0x1p-40 : 0x1p-320))

/* Everything about the ratio r of two positive numbers: */
typedef struct {
    vec ratio;  /* r */
    vec excess; /* r - 1, without cancellation */
    vec log;    /* log r */
    vec phi;    /* r - 1 - log r, relative error <= 4.5 u */
} FN(ratio);

/* The ratio r of a and b with the residual of one of them; b is 1 where b_is_one.
 *
 * With r = 2^k (1 + f), 1 + f from sqrt(1/2) to 3/2:
 *
 *     phi = (r - 1) - k ln 2 - log1p(f) = [(r - 1) - k ln 2 - f] + phi_reduced(f)
 *
 * where the bracket is 0 for k = 0 and otherwise free of rounding until its last sum: k = 1 begins
 * at r = 3/2 and k = -1 at r = sqrt(1/2), from where on f = 2^-k (r - 1) + 2^-k - 1 is exact.
 * r - 1 must not be rounded as r is: the remainder of the division mends it.  It is exact with a
 * fused multiply-add only.  A first correction makes the quotient itself the nearest number, so
 * that equal a and b give 1.  Where the difference is given, inverse_b may have two roundings. */
INLINE FN(ratio) FN(ratio_ordinary)(vec a, vec b, vec inverse_b, vec residual,
                                    const residual_of whose, const int b_is_one) {
    const vec one = vset(1);
    vec quotient = a, correction = residual, excess, c, k;
    if (whose == OF_DIFFERENCE) { /* no need to mend a quotient from which 1 is subtracted */
        const vec q = residual * inverse_b;
        quotient = a * inverse_b;
        excess = vfma(vfnma(q, b, residual), inverse_b, q);
    } else if (!b_is_one) {
        quotient = a * inverse_b;
        quotient = vfma(vfnma(quotient, b, a), inverse_b, quotient);
        correction = vfnma(quotient, b, a);
        if (whose == OF_A)
            correction = correction + residual;
        if (whose == OF_B)
            correction = vfnma(quotient, residual, correction);
        correction = correction * inverse_b;
    }
    const int corrected = whose != OF_DIFFERENCE && (!b_is_one || whose != OF_NONE);
    FN(ratio) r;
    r.excess = whose == OF_DIFFERENCE ? excess
               : corrected            ? (quotient - one) + correction
                                      : quotient - one;
    r.ratio = corrected ? quotient + correction : quotient;
    const mask small = vless(quotient, vset((REAL)0.5)); /* where r - 1 says little of r */
    if (whose == OF_DIFFERENCE) /* the quotient is that of a rounded inverse */
        r.ratio = vselect(small, quotient, one + r.excess);
    const vec edge = vselect(vless(one, quotient), vset((REAL)(4.0 / 3)), vset(SQRT_2));
    k = vexponent(quotient * edge, &c);
    vec f = vfma(c, vselect(small, quotient, r.excess), vselect(small, vset(0), c) - one);
    if (corrected)
        f = vfma(vselect(small, c, vset(0)), correction, f);
    const vec phi_f = FN(phi_reduced)(f);
    r.log = vfma(k, vset(LN2_HIGH), vfma(k, vset(LN2_LOW), f - phi_f));
    r.phi = (vfma(k, vset(-LN2_HIGH), r.excess) - f) + vfma(k, vset(-LN2_LOW), phi_f);
    return r;
}

/* The same for any a and b. Within [1/2, 2] the difference a - b is exact; beyond, exponents and
 * mantissas are taken apart, so that neither 1e-200/1e200 nor r - 1 = -1 loses the logarithm.
 *
 * a_far/b_far 2^shift is the same ratio, from numbers that are in range when a and b, which are
 * side by side, are not. */
INLINE FN(ratio) FN(ratio_careful)(vec a, vec b, vec residual, const residual_of whose, vec a_far,
                                   vec b_far, vec shift, const int b_is_one) {
    const vec one = vset(1), half = vset((REAL)0.5), two = vset(2), zero = vset(0);
    const mask close = vboth(vless_equal(a, b + b), vless_equal(b, a + a));
    vec far_k, exponent_b, mantissa_b = one;
    const vec mantissa_a = vsplit(a_far, &far_k);
    if (!b_is_one) {
        mantissa_b = vsplit(b_far, &exponent_b);
        far_k = far_k - exponent_b;
    }
    far_k = far_k + shift;
    vec difference = a - b;
    if (whose == OF_A)
        difference = difference + residual;
    if (whose == OF_B)
        difference = difference - residual;
    if (whose == OF_DIFFERENCE)
        difference = residual;
    const vec x = vselect(close, difference, mantissa_a) / vselect(close, b, mantissa_b);

    const vec reduced = vselect(close, x + one, x); /* in [1/2, 2] */
    const mask high = vless_equal(vset((REAL)1.5), reduced), low = vless(reduced, vset(SQRT_HALF));
    const vec c = vselect(high, half, vselect(low, two, one));
    const vec k = vselect(close, zero, far_k) + vselect(high, one, vselect(low, -one, zero));
    const vec f = vfma(c, x, vselect(close, c, zero) - one);
    const vec phi_f = FN(phi_reduced)(f);

    const vec limit = vset(3 * EXPONENT_BIAS);
    FN(ratio) r;
    r.ratio = vselect(close, reduced, vscale(x, vmin(vmax(far_k, -limit), limit)));
    r.excess = vselect(close, x, r.ratio - one);
    r.log = vfma(k, vset(LN2_HIGH), vfma(k, vset(LN2_LOW), f - phi_f));
    r.phi = (vfma(k, vset(-LN2_HIGH), r.excess) - f) + vfma(k, vset(-LN2_LOW), phi_f);
    return r;
}

/* log v = high + low, |low| < 0.6: relative error of the sum <= 1.75 u */
INLINE vec FN(log_parts)(vec v, vec *low) {
    const vec one = vset(1);
    vec k, m = vsplit(v, &k);
    const mask large = vless(vset(SQRT_2), m);
    m = vselect(large, m * vset((REAL)0.5), m);
    k = vselect(large, k + one, k);
    const vec f = m - one;
    *low = vfma(k, vset(LN2_LOW), f - FN(phi_reduced)(f));
    return k * vset(LN2_HIGH);
}

/* e^x = 4^k (1 + t), |t| <= 1.01; an |x| beyond LARGE_LOG counts as LARGE_LOG.  Half the exponent is
 * given, so that d 2^k, and then (d 2^k)^2 (1 + t), keep within the range whenever results do.
 * Relative error of e^x <= 2.5 u. */
INLINE vec FN(exp_parts)(vec x, vec *k, const int careful) {
    if (careful)
        x = vmin(vmax(x, vset(-LARGE_LOG)), vset(LARGE_LOG));
    *k = vround(x * vset((REAL)0.5 * LOG2_E));
    const vec f = vfma(*k, vset(-2 * LN2_LOW), vfma(*k, vset(-2 * LN2_HIGH), x));
    return f + FN(psi_reduced)(f);
}

typedef struct {
    vec exp;      /* e^y */
    vec expm1;    /* e^y - 1, relative error <= 2.75 u */
    vec half_psi; /* (e^y - 1 - y)/2, relative error <= 4.5 u */
} FN(growth);

/* y = high + low, |low| <= u |high|; `low` is not looked at when `exact`.
 *
 * Near 0 psi is its own polynomial; from |y| = 1 on  e^y = 2^k (1 + t), 0 <= t < 1, and
 * psi/2 = (2^k/2 - (1 + y)/2) + 2^k t/2  has no cancellation that matters.  Rounding k down keeps
 * 2^k/2 finite where psi/2 is; at the bound on y it is infinite and t > 0, which gives infinity. */
INLINE FN(growth) FN(growth_of)(vec high, vec low, const int exact, const int careful) {
    const vec one = vset(1), half = vset((REAL)0.5), zero = vset(0);
    const mask near = vless_equal(vabs(high), one);
    vec y = high;
    if (careful) { /* beyond, e^y is 0 or infinite */
        const vec low_bound = vset(-(REAL)(EXPONENT_BIAS + MANTISSA_BITS + 3) * (REAL)0.69314718);
        high = vmin(high, vset(((REAL)EXPONENT_BIAS + (REAL)2.25) * (REAL)0.69314718));
        y = vmax(high, low_bound);
    }
    const vec k = vselect(near, zero, vfloor(y * vset(LOG2_E)));
    vec f = vfma(k, vset(-LN2_LOW), vfma(k, vset(-LN2_HIGH), y));
    if (!exact)
        f = f + low;
    const vec s = FN(psi_reduced)(f), t = f + s;
    const vec c = careful ? vscale(half, k) : vpower(k - one);
    FN(growth) g;
    g.exp = careful ? vscale(one + t, k) : vfma(c, t, c) + vfma(c, t, c);
    const vec half_expm1 = vfma(c, t, c - half);
    g.expm1 = half_expm1 + half_expm1;
    g.half_psi = vselect(near, half * s, vfma(c, t, c - vfma(half, high, half)));
    if (!exact) { /* where f has rounded `low` away, to first order */
        g.expm1 = vselect(near, vfma(low, one + t, t), g.expm1);
        g.half_psi = vselect(near, half * vfma(low, t, s), g.half_psi);
    }
    return g;
}

/* a - b = high + low exactly (Knuth); low is 0 where it could not matter, or be NaN */
INLINE vec FN(two_difference)(vec a, vec b, vec *low, const int careful) {
    const vec high = a - b, c = high - a;
    const vec error = (a - (high - c)) - (b + c);
    *low = error;
    if (careful)
        *low = vselect(vless(vabs(high), vset((REAL)(2 * EXPONENT_BIAS))), error, vset(0));
    return high;
}
