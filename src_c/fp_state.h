/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Every task runs with the default floating-point state, whatever its thread has: flushed
 * denormals or another rounding would show in the results, unmasked traps would kill the process.
 * The thread's own state is put back, without the exceptions that masked lanes or a legal overflow
 * have raised: they are nobody's business.
 */
#ifndef GKL_FP_STATE_H
#define GKL_FP_STATE_H

#if defined(__x86_64__)
#include <immintrin.h>

typedef unsigned int gkl_fp_state;

static inline gkl_fp_state gkl_fp_default(void) {
    const gkl_fp_state state = _mm_getcsr();
    _mm_setcsr(0x1f80);
    return state;
}

static inline void gkl_fp_restore(gkl_fp_state state) { _mm_setcsr(state); }
#else
#include <fenv.h>

typedef fenv_t gkl_fp_state;

static inline gkl_fp_state gkl_fp_default(void) {
    gkl_fp_state state;
    fegetenv(&state);
    fesetenv(FE_DFL_ENV);
    return state;
}

static inline void gkl_fp_restore(gkl_fp_state state) { fesetenv(&state); }
#endif

#endif
