/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The C core without Python: every instruction set of this machine through gkl.h alone.
 *
 *     cc @src_c/flags -O2 -fopenmp -Isrc_c tests/native/[a-z]*.c src_c/[a-z]*.c -lm -lpthread
 */
#include <stdlib.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#if !defined(_WIN32)
#include <sys/wait.h>
#include <unistd.h>
#endif

#include "harness.h"

static int distinct(int n, const int *places, int most) {
    unsigned seen = 0;
    for (int i = 0; i < n; ++i) {
        if (places[i] < 0 || places[i] >= most || (seen >> places[i] & 1))
            return 0;
        seen |= 1u << places[i];
    }
    return 1;
}

static const gkl_kernel *named(const char *name) {
    int i = 0;
    while (gkl_kernel_at(i) && strcmp(gkl_kernel_at(i)->name, name) != 0)
        ++i;
    return gkl_kernel_at(i);
}

/* a kernel of the list, its places one digit each */
static void expect(const char *name, const char *signature, const char *from, const char *place) {
    const gkl_kernel *k = named(name);
    check(k != NULL, "%s is not there", name);
    if (!k)
        return;
    check(strcmp(k->signature, signature) == 0, "%s: %s", name, k->signature);
    check((int)strlen(from) == k->nin && (int)strlen(place) == k->nout, "%s: %d to %d", name,
          k->nin, k->nout);
    for (int i = 0; i < k->nin; ++i)
        check(k->from[i] == from[i] - '0', "%s: operand %d is %d", name, i, k->from[i]);
    for (int i = 0; i < k->nout; ++i)
        check(k->place[i] == place[i] - '0', "%s: output %d is %d", name, i, k->place[i]);
}

static void *first_kernel(void *unused) {
    (void)unused;
    return (void *)gkl_kernel_at(0);
}

/* The list: names of their own, and the numbers of operands that the signatures say. It is made
 * by the first who asks. */
static void test_list(void) {
    int n = 0;
    group_begin("list of kernels");
    pthread_t thread[8];
    for (int i = 0; i < 8; ++i)
        check(pthread_create(&thread[i], NULL, first_kernel, NULL) == 0, "thread %d", i);
    for (int i = 0; i < 8; ++i) {
        void *found;
        pthread_join(thread[i], &found);
        check(found && found == (const void *)gkl_kernel_at(0), "thread %d sees another list", i);
    }
    for (const gkl_kernel *k; (k = gkl_kernel_at(n)) != NULL; ++n) {
        int operands = 0;
        for (const char *c = k->signature; *c; ++c)
            operands += *c == '(';
        check(operands == k->nin + k->nout, "%s: %s", k->name, k->signature);
        check(distinct(k->nin, k->from, GKL_MAX_IN), "%s: places of operands", k->name);
        check(distinct(k->nout, k->place, GKL_MAX_OUT), "%s: places of outputs", k->name);
        check(k->nin > 0 && k->nout > 0, "%s has nothing", k->name);
        for (int i = 0; i < n; ++i)
            check(strcmp(k->name, gkl_kernel_at(i)->name) != 0, "%s twice", k->name);
    }
    check(n > 500, "%d kernels", n);
    check(gkl_kernel_at(-1) == NULL, "a kernel before the first");
    expect("kl_diag_var_std_grad", "(d),(d),(d),(d)->(),(d),(d),(d),(d)", "0123", "01234");
    expect("kl_unit_std_vjp", "(d),(d),()->(d),(d)", "014", "12");
    expect("entropy_full_cov", "(d,d)->()", "1", "0");
    expect("kl_full_tril_grad_q", "(d),(d,d),(d),(d,d)->(),(d),(d,d)", "0123", "034");
    expect("kl_unit_low_rank_grad", "(d),(d,r),(d)->(),(d),(d,r),(d)", "051", "0152");
    expect("kl_low_rank_vjp",
           "(d),(d,r),(d),(d),(d,s),(d),()->(d),(d,r),(d),(d),(d,s),(d)", "0512634", "152364");
    expect("kl_full_low_rank_cov_parts", "(d),(d,d),(d),(d,s),(d)->(),(),()", "01263", "345");
    expect("entropy_low_rank", "(d,r),(d)->()", "51", "0");
    check(!named("kl_full_cov_per_dim") && !named("kl_unit_cov_grad_p"), "one too many");
    group_end();
}

/* Nobody has chosen an instruction set yet: the first who computes, many at once, takes the best. */
static void *first_kl(void *unused) {
    double mean = 2, var = 1, kl = 0;
    (void)unused;
    gkl_kl_f64(GKL_VAR, GKL_UNIT, 1, 1, &mean, &var, NULL, NULL, &kl);
    return kl == 2 ? (void *)gkl_isa() : NULL;
}

static void test_first_use(void) {
    pthread_t thread[8];
    void *isa[8];
    int created = 0;
    for (int i = 0; i < 8; ++i)
        created += pthread_create(&thread[i], NULL, first_kl, NULL) == 0;
    for (int i = 0; i < created; ++i)
        pthread_join(thread[i], &isa[i]);
    group_begin("first use"); /* only now: it asks for the instruction set, too */
    const char *best = NULL;
    for (int i = 0; gkl_isa_at(i); ++i)
        best = gkl_isa_at(i);
    check(created == 8, "%d threads", created);
    for (int i = 0; i < created; ++i)
        check(isa[i] && best && strcmp(isa[i], best) == 0, "thread %d", i);
    group_end();
}

static void test_dispatch(void) {
    group_begin("dispatch");
    const char *before = gkl_isa(), *best = NULL;
    check(gkl_use_isa("nonsense") == -1 && gkl_isa() == before, "an unknown name was taken");
    for (int i = 0; gkl_isa_at(i); ++i) {
        best = gkl_isa_at(i);
        check(gkl_use_isa(best) == 0 && strcmp(gkl_isa(), best) == 0, "%s is not there", best);
    }
    check(gkl_use_isa(NULL) == 0 && best && strcmp(gkl_isa(), best) == 0, "not the best");
    gkl_set_threads(3);
    check(gkl_threads() == 3, "%d threads, not 3", gkl_threads());
    check(gkl_set_own_threads(2) == 0 && gkl_threads() == 2, "own threads");
    check(gkl_set_own_threads(0) == 2 && gkl_threads() == 3, "own threads given back");
    gkl_set_threads(0);
    check(gkl_threads() >= 1, "%d threads", gkl_threads());
    group_end();
}

#if !defined(_WIN32)
/* A child of a process that used threads computes the same and does not hang. */
static void test_fork(void) {
    gaussians x;
    group_begin("fork after use");
    gaussians_make(&x, GKL_VAR, GKL_VAR, GKL_F32, GENERIC, 2000, 100);
    const manner how = {.output = GKL_VALUE, .batch_axes = 1, .nthreads = 3};
    results want = solve(&x, &how);
    fflush(stdout);
    const pid_t child = fork();
    if (child == 0) {
        alarm(60); /* the end of a child that hangs */
        results got = solve(&x, &how);
        _exit(same(&want, &got) ? 0 : 1);
    }
    int status = -1;
    waitpid(child, &status, 0);
    check(status == 0, "the child ended with status %#x", (unsigned)status);
    results again = solve(&x, &how);
    check(same(&want, &again), "other bits after a fork");
    results_free(&again);
    results_free(&want);
    gaussians_free(&x);
    group_end();
}
#else
static void test_fork(void) {} /* there is none */
#endif

static int polls;

static int stop_at_second(void) { return ++polls < 2 ? 0 : -7; }

/* A long call looks at `poll` between portions and stops when told; a short one ends well.
 * More than 2^31 numbers by strides of 0: all the rows are one row, and one number is written. */
static void test_poll(void) {
    float row[4] = {1, 1, 1, 1}, kl = -1;
    const ptrdiff_t zero[] = {0}, shape[] = {(ptrdiff_t)1 << 31};
    const gkl_job job = {.p = GKL_LOGVAR, .q = GKL_UNIT, .output = GKL_VALUE, .storage = GKL_F32,
                         .ndim = 1, .shape = shape, .dim = 4, .nthreads = 1,
                         .in = {{.data = (char *)row, .stride = zero, .step = sizeof *row},
                                {.data = (char *)row, .stride = zero, .step = sizeof *row}},
                         .out = {{.data = (char *)&kl, .stride = zero}}, .poll = stop_at_second};
    group_begin("poll");
    polls = 0;
    const int code = gkl_run(&job);
    check(code == -7 && polls == 2, "code %d after %d polls", code, polls);
    group_end();
}

/* The instruction sets named, or all that there are, or "callers" for none of them. */
int main(int argc, char **argv) {
    quick = getenv("GKL_TEST_QUICK") != NULL;
    test_first_use();
    test_list();
    test_dispatch();
    test_callers();
    if (argc == 2 && strcmp(argv[1], "callers") == 0) /* for the sanitizer of threads */
        return report();
    for (int i = 0; argc > 1 ? i < argc - 1 : gkl_isa_at(i) != NULL; ++i) {
        const char *isa = argc > 1 ? argv[i + 1] : gkl_isa_at(i);
        if (gkl_use_isa(isa) != 0) {
            fprintf(stderr, "%s is not there\n", isa);
            return 2;
        }
        seed(1); /* the same numbers on each of them */
        test_scalar_functions();
        test_values(GENERIC, "values, d = 1 to 130 between unmapped pages", 1);
        test_values(NEAR, "values near p = q", 0);
        test_values(WIDE, "values far apart", 0);
        test_equal();
        test_corners();
        test_bad_items();
        test_layouts();
        test_storage();
        if (!quick)
            test_threads();
        test_sums();
        test_full_values();
        test_full_near();
        test_full_equal();
        if (!quick)
            test_full_bad();
        test_full_empty();
        test_full_layouts();
        if (!quick)
            test_full_shared();
        test_full_storage();
        test_full_company();
        if (!quick)
            test_full_sums();
        test_full_weights();
        test_pairwise_values();
        test_pairwise_layouts();
        test_pairwise_company();
        test_pairwise_bad();
        test_pairwise_extremes();
        test_nearest();
        test_pairwise_poll();
        test_pairwise_arguments();
        test_gathers();
        test_rows();
        test_xla();
        if (!quick)
            test_poll();
        test_fork();
    }
    return report();
}
