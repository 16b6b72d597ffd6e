/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Threads.  The only file with OpenMP; without it everything runs on the calling thread.
 */
#include "internal.h"

#if defined(_OPENMP)
#include <omp.h>
#endif
#if defined(_WIN32)
#include <windows.h>
#endif

static int default_threads;             /* 0: what OpenMP says */
static _Thread_local int own_threads;   /* 0: the default */
static volatile int is_child;         /* of a fork: libgomp hangs there, its threads are gone */

int gkl_has_openmp(void) {
#if defined(_OPENMP)
    return 1;
#else
    return 0;
#endif
}

int gkl_threads(void) {
    if (is_child)
        return 1;
    if (own_threads > 0)
        return own_threads;
    const int set = __atomic_load_n(&default_threads, __ATOMIC_RELAXED);
    if (set > 0)
        return set;
#if defined(_OPENMP)
    return omp_get_max_threads(); /* the calling thread's: OMP_NUM_THREADS, threadpoolctl */
#else
    return 1;
#endif
}

void gkl_set_threads(int n) { __atomic_store_n(&default_threads, n, __ATOMIC_RELAXED); }

int gkl_set_own_threads(int n) {
    const int before = own_threads;
    own_threads = n;
    return before;
}

#if defined(_WIN32)
static BOOL CALLBACK call(PINIT_ONCE once, PVOID work, PVOID *nothing) {
    (void)once;
    (void)nothing;
    ((void (*)(void))work)();
    return TRUE;
}

void gkl_once(gkl_once_flag *flag, void (*work)(void)) {
    InitOnceExecuteOnce((PINIT_ONCE)flag, call, (PVOID)work, NULL);
}

void gkl_watch_forks(void) {} /* there is no fork */
#else
void gkl_once(gkl_once_flag *flag, void (*work)(void)) { pthread_once(flag, work); }

static void in_child(void) { is_child = 1; }

static void register_handler(void) { pthread_atfork(NULL, NULL, in_child); }

/* Any child: the regions that its parent ran in libgomp need not have been ours. */
void gkl_watch_forks(void) {
    static gkl_once_flag once = GKL_ONCE_INIT;
    gkl_once(&once, register_handler);
}
#endif

void gkl_parallel(ptrdiff_t count, int nthreads, gkl_task *task, void *context) {
#if defined(_OPENMP)
    gkl_watch_forks();
    if (nthreads > 1 && count > 1 && !is_child && !omp_in_parallel()) {
        /* always the whole team: libgomp makes its threads anew when the size changes */
#pragma omp parallel for num_threads(nthreads) schedule(dynamic)
        for (ptrdiff_t i = 0; i < count; ++i)
            task(context, i);
        return;
    }
#else
    (void)nthreads;
#endif
    for (ptrdiff_t i = 0; i < count; ++i)
        task(context, i);
}
