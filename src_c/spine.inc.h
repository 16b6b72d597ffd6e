/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Everything of one instruction set: the vector words, the mathematics and the kernels, for float
 * and for double, and the table of them.  Read once by each isa_*.c.
 *
 * Parameters:  ISA           its name, an identifier
 *              ISA_WORDS     the header with its own vector words
 *              VECTOR_BYTES
 *              TILE          of matrices: TILE x TILE sums at a time
 *              ISA_AVAILABLE an expression: does this machine have it?
 */
#if !defined(ISA) || !defined(ISA_WORDS) || !defined(VECTOR_BYTES) || !defined(TILE)              \
    || !defined(ISA_AVAILABLE)
#error spine.inc.h needs ISA, ISA_WORDS, VECTOR_BYTES, TILE and ISA_AVAILABLE
#endif

#include "coefficients.h"
#include "internal.h"
#include "simd/words.h"

#define COUNT(array) ((int)(sizeof(array) / sizeof((array)[0])))

typedef double wide __attribute__((vector_size(VECTOR_BYTES))); /* partial sums */

/* a or b of a ratio may be the rounding of a number that is known with its residual, or a - b may
 * be known better than its rounding: it is given in the residual's place */
typedef enum { OF_NONE, OF_A, OF_B, OF_DIFFERENCE } residual_of;

#define BITS 32
#include "simd/real.h"
#include ISA_WORDS
#include "simd/generic.h"
#include "math.inc.h"
#include "kernels/diag.inc.h"
#include "kernels/scalar.inc.h"
#include "kernels/sums.inc.h"
#include "kernels/lanes.inc.h"
#include "kernels/full.inc.h"
#include "kernels/full_outputs.inc.h"
#include "kernels/low_rank.inc.h"
#include "kernels/pairwise.inc.h"
#undef BITS

#define BITS 64
#include "simd/real.h"
#include ISA_WORDS
#include "simd/generic.h"
#include "math.inc.h"
#include "kernels/diag.inc.h"
#include "kernels/scalar.inc.h"
#include "kernels/sums.inc.h"
#include "kernels/lanes.inc.h"
#include "kernels/full.inc.h"
#include "kernels/full_outputs.inc.h"
#include "kernels/low_rank.inc.h"
#include "kernels/pairwise.inc.h"

static int available(void) { return ISA_AVAILABLE; }

#define NAME_(x) #x
#define NAME(x) NAME_(x)
#define OUTPUTS(p, q, suffix)                                                                    \
    [GKL_##p][GKL_##q] = {                                                                       \
        [GKL_VALUE] = diag_##p##_##q##_VALUE##suffix,                                            \
        [GKL_PER_DIM] = diag_##p##_##q##_VALUE##suffix,                                          \
        [GKL_GRAD] = diag_##p##_##q##_GRAD##suffix,                                              \
        [GKL_TERMS] = diag_##p##_##q##_TERMS##suffix,                                            \
        [GKL_JEFFREYS] = diag_##p##_##q##_JEFFREYS##suffix,                                      \
        [GKL_CROSS] = diag_##p##_##q##_CROSS##suffix,                                            \
        [GKL_ENTROPY] = ENTROPY_##q(diag_##p##_UNIT_ENTROPY##suffix),                            \
    },
#define ENTROPY_UNIT(function) function
#define ENTROPY_VAR(function) NULL
#define ENTROPY_STD(function) NULL
#define ENTROPY_LOGVAR(function) NULL

const gkl_table GKL_PASTE(gkl_, ISA) = {
    .name = NAME(ISA),
    .available = available,
    .diag = {{
#define DIAG_PAIR(name, p, q) OUTPUTS(p, q, _f32)
#include "kernels.def"
#undef DIAG_PAIR
             },
             {
#define DIAG_PAIR(name, p, q) OUTPUTS(p, q, _f64)
#include "kernels.def"
#undef DIAG_PAIR
             }},
    .sum_rows = {sum_rows_f32, sum_rows_f64},
    .sum_add = {sum_add_f32, sum_add_f64},
    .sum_total = {sum_total_f32, sum_total_f64},
    .sum_column = {sum_column_f32, sum_column_f64},
    .sum_columns_total = {sum_columns_total_f32, sum_columns_total_f64},
    .lanes = {VECTOR_BYTES / sizeof(float), VECTOR_BYTES / sizeof(double)},
    .tile = TILE,
    .full = {full_group_f32, full_group_f64},
    .full_work = {full_work_f32, full_work_f64},
    .low_rank = {low_rank_group_f32, low_rank_group_f64},
    .low_rank_work = {low_rank_work_f32, low_rank_work_f64},
    .pack = {pack_f32, pack_f64},
    .unpack = {unpack_f32, unpack_f64},
    .accumulate = {accumulate_f32, accumulate_f64},
    .pair_rows = PAIR_ROWS,
    .pairwise_item = {pairwise_item_f32, pairwise_item_f64},
    .pairwise_row = {pairwise_row_f32, pairwise_row_f64},
    .pairwise_less = {pairwise_less_f32, pairwise_less_f64},
    .tiles = {PAIR_FORMS(_f32), PAIR_FORMS(_f64)},
    .stream = {stream_f32, stream_f64},
    .scalar = {SCALAR_FUNCTIONS(_f32), SCALAR_FUNCTIONS(_f64)},
};
