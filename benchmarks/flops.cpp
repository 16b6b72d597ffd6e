/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Operations of the diagonal kernels, counted: their own source is compiled with vectors that
 * remember how they came about, and what the results need is added up.  + - x / and square roots are
 * one operation, a fused multiply-add two; comparing, selecting, rounding and taking exponents apart
 * are none.
 *
 * Prints {"diag_var": {"f32": {"value": n, "grad": n}, ...}, ...}, of one dimension.
 */
#include <cstdio>
#include <memory>
#include <set>
#include <vector>

#include "coefficients.h"
#include "internal.h"
#include "simd/words.h"

#undef INLINE /* nothing is to be fast here but the compiler */
#define INLINE static inline __attribute__((unused))
#define VECTOR_BYTES 16
#define FUSED 1
#define COUNT(array) ((int)(sizeof(array) / sizeof((array)[0])))

typedef enum { OF_NONE, OF_A, OF_B, OF_DIFFERENCE } residual_of;

struct Operation {
    int flops = 0;
    std::vector<std::shared_ptr<const Operation>> from;
};

/* A vector or a mask of either type. */
struct Number {
    std::shared_ptr<const Operation> made = std::make_shared<const Operation>();
    Number() = default;
    Number(int flops, std::initializer_list<Number> from) {
        Operation operation{flops, {}};
        for (const Number &x : from)
            operation.from.push_back(x.made);
        made = std::make_shared<const Operation>(std::move(operation));
    }
};

static Number operator+(Number a, Number b) { return Number(1, {a, b}); }
static Number operator-(Number a, Number b) { return Number(1, {a, b}); }
static Number operator*(Number a, Number b) { return Number(1, {a, b}); }
static Number operator/(Number a, Number b) { return Number(1, {a, b}); }
static Number operator-(Number a) { return Number(0, {a}); }

#define WORDS(suffix, real)                                                                      \
    typedef Number vec##suffix, mask##suffix;                                                    \
    static Number wset##suffix(real) { return Number(); }                                        \
    static Number wload##suffix(const real *) { return Number(); }                               \
    static void wstore##suffix(real *, Number) {}                                                \
    static Number wless##suffix(Number a, Number b) { return Number(0, {a, b}); }                \
    static Number wless_equal##suffix(Number a, Number b) { return Number(0, {a, b}); }          \
    static Number wboth##suffix(Number a, Number b) { return Number(0, {a, b}); }                \
    static Number wmin##suffix(Number a, Number b) { return Number(0, {a, b}); }                 \
    static Number wmax##suffix(Number a, Number b) { return Number(0, {a, b}); }                 \
    static Number wselect##suffix(Number m, Number a, Number b) { return Number(0, {m, a, b}); } \
    static Number wfma##suffix(Number a, Number b, Number c) { return Number(2, {a, b, c}); }    \
    static Number wfnma##suffix(Number a, Number b, Number c) { return Number(2, {a, b, c}); }   \
    static Number wsquare_residual##suffix(Number a, Number b) { return Number(2, {a, b}); }     \
    static Number wabs##suffix(Number a) { return Number(0, {a}); }                              \
    static Number wround##suffix(Number a) { return Number(0, {a}); }                            \
    static Number wfloor##suffix(Number a) { return Number(0, {a}); }                            \
    static Number wpositive##suffix(Number a) { return Number(0, {a}); }                         \
    static Number wpower##suffix(Number a) { return Number(0, {a}); }                            \
    static Number wscale##suffix(Number a, Number b) { return Number(0, {a, b}); }               \
    static Number wexponent##suffix(Number a, Number *b) { return *b = Number(0, {a}); }         \
    static Number wsplit##suffix(Number a, Number *b) { return *b = Number(0, {a}); }            \
    static int wall##suffix(Number) { return 1; }

WORDS(_f32, float)
WORDS(_f64, double)

#define BITS 32
#include "simd/real.h"
#include "math.inc.h"
#include "kernels/diag.inc.h"
#undef BITS
#define BITS 64
#include "simd/real.h"
#include "math.inc.h"
#include "kernels/diag.inc.h"

static int count(const Operation &x, std::set<const Operation *> &seen) {
    if (!seen.insert(&x).second)
        return 0;
    int flops = x.flops;
    for (const auto &y : x.from)
        flops += count(*y, seen);
    return flops;
}

template <class Cell> static int total(const Cell &x, gkl_output what, gkl_kind q) {
    std::set<const Operation *> seen;
    int flops = 1 + count(*x.term[0].made, seen); /* and the sum over the row */
    if (what == GKL_GRAD) {
        flops += count(*x.slope.made, seen) + count(*x.d_scale_p.made, seen);
        flops += q != GKL_UNIT ? count(*x.negative_d_scale_q.made, seen) : 0;
    }
    return flops;
}

#define OF(suffix, p, q, what)                                                                   \
    total(evaluate##suffix(Number(), Number(), Number(), Number(), GKL_##p, GKL_##q, what, 0),   \
          what, GKL_##q)

int main() {
    const char *separator = "{";
#define DIAG_PAIR(name, p, q)                                                                    \
    std::printf("%s\n \"%s\": {\"f32\": {\"value\": %d, \"grad\": %d}, "                         \
                "\"f64\": {\"value\": %d, \"grad\": %d}}",                                       \
                separator, #name, OF(_f32, p, q, GKL_VALUE), OF(_f32, p, q, GKL_GRAD),           \
                OF(_f64, p, q, GKL_VALUE), OF(_f64, p, q, GKL_GRAD));                            \
    separator = ",";
#include "kernels.def"
    std::puts("\n}");
}
