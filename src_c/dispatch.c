/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Which instruction set does the work.
 */
#include "internal.h"

/* worst to best */
static const gkl_table *const tables[] = {
    &gkl_baseline,
#if defined(__x86_64__)
    &gkl_avx2,
    &gkl_avx512,
#endif
#if defined(__aarch64__)
    &gkl_neon,
#endif
};
enum { TABLES = sizeof tables / sizeof tables[0] };

static const gkl_table *current; /* NULL: nobody has asked yet */

static const gkl_table *find(const char *name) {
    for (int i = (int)TABLES - 1; i >= 0; --i)
        if (tables[i]->available() && (!name || strcmp(name, tables[i]->name) == 0))
            return tables[i];
    return NULL;
}

/* the best, unless somebody else has chosen meanwhile */
static const gkl_table *first_choice(void) {
    const gkl_table *none = NULL, *best = find(NULL);
    gkl_watch_forks(); /* before there is anybody to fork */
    return __atomic_compare_exchange_n(&current, &none, best, 0, __ATOMIC_ACQ_REL,
                                       __ATOMIC_ACQUIRE)
               ? best
               : none;
}

const gkl_table *gkl_current(void) {
    const gkl_table *table = __atomic_load_n(&current, __ATOMIC_ACQUIRE);
    return __builtin_expect(table != NULL, 1) ? table : first_choice();
}

const char *gkl_isa(void) { return gkl_current()->name; }

const char *gkl_isa_at(int index) {
    for (int i = 0; i < (int)TABLES; ++i)
        if (tables[i]->available() && index-- == 0)
            return tables[i]->name;
    return NULL;
}

int gkl_use_isa(const char *name) {
    const gkl_table *table = find(name);
    if (!table)
        return -1;
    gkl_watch_forks();
    __atomic_store_n(&current, table, __ATOMIC_RELEASE);
    return 0;
}

int gkl_scalar_function(const char *name, gkl_type type, ptrdiff_t n, const void *in, void *out) {
    static const char *const names[] = {"phi", "psi", "log", "exp", "expm1"};
    for (int i = 0; i < (int)(sizeof names / sizeof names[0]); ++i)
        if (strcmp(name, names[i]) == 0) {
            gkl_current()->scalar[type == GKL_F64][i](n, in, out);
            return 0;
        }
    return -1;
}
