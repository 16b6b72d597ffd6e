/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The kernels by name: every pair of kernels.def with every output.
 */
#include <stdio.h>

#include "groups.h"

static const struct {
    const char *name;
    gkl_kind p, q;
} pairs[] = {
#define DIAG_PAIR(name, p, q) {#name, GKL_##p, GKL_##q},
#define MATRIX_PAIR DIAG_PAIR
#include "kernels.def"
#undef DIAG_PAIR
#undef MATRIX_PAIR
};

static const struct {
    const char *prefix, *suffix;
    gkl_output output;
    int weighted, unit, nout;
    int place[GKL_MAX_OUT];
} outputs[] = {
#define PAIR_OUTPUT(prefix, suffix, output, weighted, unit, n, ...)                              \
    {#prefix, #suffix, GKL_##output, weighted, unit, n, {__VA_ARGS__}},
#include "kernels.def"
#undef PAIR_OUTPUT
};

static const struct {
    const char *name;
    gkl_kind p;
} singles[] = {
#define DIAG_SINGLE(name, p) {#name, GKL_##p},
#define MATRIX_SINGLE DIAG_SINGLE
#include "kernels.def"
#undef DIAG_SINGLE
#undef MATRIX_SINGLE
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
    LONGEST = 80
};

static gkl_kernel kernels[MOST];
static char names[MOST][LONGEST], signatures[MOST][LONGEST];
static int count;

/* the order of the operands: a factor goes before the variances that it comes with */
static const int operand_order[] = {0, GKL_FACTOR_P, 1, 2, GKL_FACTOR_Q, 3, GKL_WEIGHT};

/* Does the kernel take this operand? */
static int takes(const gkl_kernel *k, int operand) {
    switch (operand) {
    case 0: return k->output != GKL_ENTROPY;
    case 1: return 1;
    case GKL_FACTOR_P: return k->p == GKL_LOW_RANK;
    case GKL_FACTOR_Q: return k->q == GKL_LOW_RANK;
    case GKL_WEIGHT: return k->weighted;
    default: return k->q != GKL_UNIT;
    }
}

/* its core dimensions in the signature */
static const char *core(const gkl_kernel *k, int operand) {
    switch (operand) {
    case 1: return gkl_has_matrix(k->p) ? "(d,d)" : "(d)";
    case 3: return gkl_has_matrix(k->q) ? "(d,d)" : "(d)";
    case GKL_FACTOR_P: return "(d,r)";
    case GKL_FACTOR_Q: return "(d,s)";
    case GKL_WEIGHT: return "()";
    default: return "(d)";
    }
}

static const char *core_of_output(const gkl_kernel *k, int place) {
    if (k->output == GKL_PER_DIM)
        return "(d)";
    return k->output == GKL_GRAD && place > 0 ? core(k, gkl_operand_of(place)) : "()";
}

static void append(char *text, const char *more) {
    const size_t used = strlen(text);
    snprintf(text + used, LONGEST - used, "%s%s", used && text[used - 1] == ')' ? "," : "", more);
}

/* One more kernel, whose kinds and output are set; of these places those that it has. */
static void add(const char *prefix, const char *name, const char *suffix, int n, const int *place) {
    gkl_kernel *k = &kernels[count];
    char *signature = signatures[count];
    snprintf(names[count], LONGEST, "%s_%s%s", prefix, name, suffix);
    for (int i = 0; i < COUNT(operand_order); ++i)
        if (takes(k, operand_order[i])) {
            k->from[k->nin++] = operand_order[i];
            append(signature, core(k, operand_order[i]));
        }
    snprintf(signature + strlen(signature), LONGEST - strlen(signature), "->");
    for (int i = 0; i < n; ++i)
        if (k->output != GKL_GRAD || place[i] == 0 || takes(k, gkl_operand_of(place[i]))) {
            k->place[k->nout++] = place[i];
            append(signature, core_of_output(k, place[i]));
        }
    k->name = names[count];
    k->signature = signature;
    ++count;
}

static void list(void) {
    for (int i = 0; i < COUNT(pairs); ++i)
        for (int j = 0; j < COUNT(outputs); ++j) {
            const gkl_kind p = pairs[i].p, q = pairs[i].q;
            if (q == GKL_UNIT && !outputs[j].unit)
                continue;
            if (outputs[j].output == GKL_PER_DIM && (p > GKL_UNIT || q > GKL_UNIT))
                continue;
            gkl_kernel *k = &kernels[count];
            k->p = p;
            k->q = q;
            k->output = outputs[j].output;
            k->weighted = outputs[j].weighted;
            add(outputs[j].prefix, pairs[i].name, outputs[j].suffix, outputs[j].nout,
                outputs[j].place);
        }
    static const int first[] = {0};
    for (int i = 0; i < COUNT(singles); ++i)
        for (int j = 0; j < COUNT(single_outputs); ++j) {
            gkl_kernel *k = &kernels[count];
            k->p = singles[i].p;
            k->q = GKL_UNIT;
            k->output = single_outputs[j].output;
            add(single_outputs[j].prefix, singles[i].name, "", 1, first);
        }
}

const gkl_kernel *gkl_kernel_at(int index) {
    static gkl_once_flag once = GKL_ONCE_INIT;
    gkl_once(&once, list);
    return index >= 0 && index < count ? &kernels[index] : NULL;
}

static const struct {
    const char *name;
    gkl_metric metric;
    int ordered;
} metrics[] = {
#define METRIC(name, metric, ordered) {#name, GKL_##metric, ordered},
#include "kernels.def"
#undef METRIC
};

static gkl_pairwise_kernel pairwise[COUNT(metrics) * COUNT(pairs)];
static char pairwise_names[COUNT(metrics) * COUNT(pairs)][LONGEST];
static int pairwise_count;

static void list_pairwise(void) {
    for (int i = 0; i < COUNT(metrics); ++i)
        for (int j = 0; j < COUNT(pairs); ++j) {
            gkl_pairwise_kernel *k = &pairwise[pairwise_count];
            if (pairs[j].p > GKL_LOGVAR || pairs[j].q > GKL_LOGVAR)
                continue;
            snprintf(pairwise_names[pairwise_count], LONGEST, "pairwise_%s_%s", metrics[i].name,
                     pairs[j].name);
            k->name = pairwise_names[pairwise_count++];
            k->signature = metrics[i].ordered ? "(n,d),(n,d),(m,d),(m,d),()->(n,m)"
                                              : "(n,d),(n,d),(m,d),(m,d)->(n,m)";
            k->metric = metrics[i].metric;
            k->p = pairs[j].p;
            k->q = pairs[j].q;
            k->ordered = metrics[i].ordered;
        }
}

const gkl_pairwise_kernel *gkl_pairwise_kernel_at(int index) {
    static gkl_once_flag once = GKL_ONCE_INIT;
    gkl_once(&once, list_pairwise);
    return index >= 0 && index < pairwise_count ? &pairwise[index] : NULL;
}
