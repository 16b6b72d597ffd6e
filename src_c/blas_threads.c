/* SPDX-License-Identifier: BSD-3-Clause
 *
 * BLAS, and how many threads it takes.  Our own loops are parallel, over pieces of which the bits of
 * a result are made; a BLAS that starts threads inside them would only be in the way.  So while
 * there is a call of ours in it, the library behind the table is set to one thread.
 */
#if !defined(_WIN32)
#define _GNU_SOURCE /* dladdr */
#include <dlfcn.h>
#endif

#include <stdlib.h>

#include "large.h"

static const gkl_blas *in_use; /* one that was in use may still be: it is never freed */
static int (*find)(void);

void gkl_find_blas_by(int (*function)(void)) {
    __atomic_store_n(&find, function, __ATOMIC_RELEASE);
}

const gkl_blas *gkl_blas_in_use(void) {
    const gkl_blas *blas = __atomic_load_n(&in_use, __ATOMIC_ACQUIRE);
    int (*const now)(void) = __atomic_load_n(&find, __ATOMIC_ACQUIRE);
    if (blas || !now)
        return blas;
    if (now() == 0)
        __atomic_store_n(&find, NULL, __ATOMIC_RELEASE);
    return __atomic_load_n(&in_use, __ATOMIC_ACQUIRE);
}

#if !defined(_WIN32)
/* get() and set(n) of a library.  The old number is asked for: not every set gives it back. */
static const char *const names[][2] = {
    {"scipy_openblas_get_num_threads", "scipy_openblas_set_num_threads"},
    {"scipy_openblas_get_num_threads64_", "scipy_openblas_set_num_threads64_"},
    {"openblas_get_num_threads", "openblas_set_num_threads"},
    {"openblas_get_num_threads64_", "openblas_set_num_threads64_"},
    {"openblas_get_num_threads_64", "openblas_set_num_threads_64"},
    {"flexiblas_get_num_threads", "flexiblas_set_num_threads"},
    {"MKL_Get_Max_Threads", "MKL_Set_Num_Threads"},
    {"bli_thread_get_num_threads", "bli_thread_set_num_threads"},
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int (*get_threads)(void);
static void (*set_threads)(int);
static const char *set_by;
static int holds, before;

/* the library that the functions come from, or what that one was linked with */
static void find_library(void) {
    Dl_info where;
    get_threads = NULL;
    set_threads = NULL;
    set_by = NULL;
    const gkl_blas *blas = __atomic_load_n(&in_use, __ATOMIC_RELAXED);
    if (!blas || !dladdr(*(void *const *)&blas->potrf[1], &where) || !where.dli_fname)
        return;
    void *library = dlopen(where.dli_fname, RTLD_LAZY | RTLD_NOLOAD);
    if (!library) /* the program itself */
        library = dlopen(NULL, RTLD_LAZY | RTLD_NOLOAD);
    for (size_t i = 0; library && !set_by && i < sizeof names / sizeof names[0]; ++i) {
        *(void **)&get_threads = dlsym(library, names[i][0]);
        *(void **)&set_threads = dlsym(library, names[i][1]);
        if (get_threads && set_threads)
            set_by = names[i][1];
    }
    if (library)
        dlclose(library); /* it stays loaded: its functions are in use */
}

void gkl_hold_blas_threads(void) {
    pthread_mutex_lock(&lock);
    if (holds++ == 0 && set_by) {
        before = get_threads();
        if (before > 1)
            set_threads(1);
    }
    pthread_mutex_unlock(&lock);
}

void gkl_release_blas_threads(void) {
    pthread_mutex_lock(&lock);
    if (--holds == 0 && set_by && before > 1)
        set_threads(before);
    pthread_mutex_unlock(&lock);
}

/* A fork takes the lock with it, and the holds of threads that the child does not have. */
static void before_fork(void) { pthread_mutex_lock(&lock); }

static void after_fork(void) { pthread_mutex_unlock(&lock); }

static void in_child(void) {
    if (holds && set_by && before > 1)
        set_threads(before);
    holds = 0;
    pthread_mutex_unlock(&lock);
}

static void watch_forks(void) { pthread_atfork(before_fork, after_fork, in_child); }

const char *gkl_blas_threads_by(void) {
    pthread_mutex_lock(&lock);
    const char *name = set_by;
    pthread_mutex_unlock(&lock);
    return name;
}

static void begin(void) {
    static gkl_once_flag once = GKL_ONCE_INIT;
    gkl_once(&once, watch_forks);
    pthread_mutex_lock(&lock);
}

/* who is in the old library has its threads back, who holds the new one none of them */
static void end(void) {
    if (holds && set_by && before > 1)
        set_threads(before);
    find_library();
    before = 0;
    if (holds && set_by && (before = get_threads()) > 1)
        set_threads(1);
    pthread_mutex_unlock(&lock);
}
#else
void gkl_hold_blas_threads(void) {}

void gkl_release_blas_threads(void) {}

const char *gkl_blas_threads_by(void) { return NULL; }

static void begin(void) {}

static void end(void) {}
#endif

void gkl_use_blas(const gkl_blas *blas) {
    gkl_blas *table = NULL;
    begin();
    const gkl_blas *old = __atomic_load_n(&in_use, __ATOMIC_ACQUIRE);
    if (blas && old && memcmp(blas, old, sizeof *blas) == 0)
        table = (gkl_blas *)old;
    else if (blas && (table = malloc(sizeof *table)))
        *table = *blas;
    __atomic_store_n(&in_use, table, __ATOMIC_RELEASE);
    end();
}
