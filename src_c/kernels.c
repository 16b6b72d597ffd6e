/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The kernels by name: every pair of kernels.def with every output.
 */
#include <stdio.h>

#include "internal.h"

static const struct {
    const char *name;
    gkl_kind p, q;
} pairs[] = {
#define DIAG_PAIR(name, p, q) {#name, GKL_##p, GKL_##q},
#include "kernels.def"
#undef DIAG_PAIR
};

static const struct {
    const char *prefix, *suffix;
    gkl_output output;
    int weighted, nout, nout_unit;
    int place[GKL_MAX_OUT];
} outputs[] = {
#define PAIR_OUTPUT(prefix, suffix, output, weighted, n, n_unit, ...)                            \
    {#prefix, #suffix, GKL_##output, weighted, n, n_unit, {__VA_ARGS__}},
#include "kernels.def"
#undef PAIR_OUTPUT
};

static const struct {
    const char *name;
    gkl_kind p;
} singles[] = {
#define DIAG_SINGLE(name, p) {#name, GKL_##p},
#include "kernels.def"
#undef DIAG_SINGLE
};

static const struct {
    const char *prefix;
    gkl_output output;
} single_outputs[] = {
#define SINGLE_OUTPUT(prefix, output) {#prefix, GKL_##output},
#include "kernels.def"
#undef SINGLE_OUTPUT
};

#define COUNT(array) ((int)(sizeof(array) / sizeof((array)[0])))
enum {
    MOST = (int)(sizeof pairs / sizeof pairs[0]) * (int)(sizeof outputs / sizeof outputs[0])
           + (int)(sizeof singles / sizeof singles[0])
                 * (int)(sizeof single_outputs / sizeof single_outputs[0]),
    LONGEST = 64
};

static gkl_kernel kernels[MOST];
static char names[MOST][LONGEST], signatures[MOST][LONGEST];
static int count;

static void append(char *text, const char *more) {
    const size_t used = strlen(text);
    snprintf(text + used, LONGEST - used, "%s%s", used && text[used - 1] == ')' ? "," : "", more);
}

/* the names and signatures of one more kernel, whose other fields are set */
static void add(const char *prefix, const char *name, const char *suffix) {
    gkl_kernel *k = &kernels[count];
    snprintf(names[count], LONGEST, "%s_%s%s", prefix, name, suffix);
    char *signature = signatures[count];
    for (int i = 0; i < k->nin; ++i)
        append(signature, k->weighted && i == k->nin - 1 ? "()" : "(d)");
    snprintf(signature + strlen(signature), LONGEST - strlen(signature), "->");
    for (int i = 0; i < k->nout; ++i) {
        const int per_dim = k->output == GKL_PER_DIM || (k->output == GKL_GRAD && k->place[i] > 0);
        append(signature, per_dim ? "(d)" : "()");
    }
    k->name = names[count];
    k->signature = signature;
    ++count;
}

static void list(void) {
    for (int i = 0; i < COUNT(pairs); ++i)
        for (int j = 0; j < COUNT(outputs); ++j) {
            const int unit = pairs[i].q == GKL_UNIT;
            const int nout = unit ? outputs[j].nout_unit : outputs[j].nout;
            if (nout == 0)
                continue;
            gkl_kernel *k = &kernels[count];
            k->p = pairs[i].p;
            k->q = pairs[i].q;
            k->output = outputs[j].output;
            k->weighted = outputs[j].weighted;
            k->nin = (unit ? 2 : 4) + k->weighted;
            k->nout = nout;
            memcpy(k->place, outputs[j].place, sizeof k->place);
            add(outputs[j].prefix, pairs[i].name, outputs[j].suffix);
        }
    for (int i = 0; i < COUNT(singles); ++i)
        for (int j = 0; j < COUNT(single_outputs); ++j) {
            gkl_kernel *k = &kernels[count];
            k->p = singles[i].p;
            k->q = GKL_UNIT;
            k->output = single_outputs[j].output;
            k->nin = k->nout = 1;
            add(single_outputs[j].prefix, singles[i].name, "");
        }
}

const gkl_kernel *gkl_kernel_at(int index) {
    if (count == 0)
        list();
    return index >= 0 && index < count ? &kernels[index] : NULL;
}
