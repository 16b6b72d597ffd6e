/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The custom call of XLA, with a caller of our own: what it answers, computes and refuses.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "harness.h"
#include "xla_ffi.h"

enum { MOST = 7 }; /* operands, or results */

static char message[200];
static int code;

static gkl_xla_error *create_error(gkl_xla_error_request *request) {
    snprintf(message, sizeof message, "%s", request->message);
    code = request->code;
    return (gkl_xla_error *)message;
}

static gkl_xla_api api = {sizeof api, NULL, {sizeof api.version, NULL, 0, 3}, NULL, create_error};

/* A call of row-major arrays of doubles. */
typedef struct {
    gkl_xla_buffer buffer[2][MOST];
    void *items[2][MOST];
    int64_t dims[2][MOST][4];
    int kinds[MOST];
    gkl_xla_string text[2], name[3], *names[3];
    gkl_xla_scalar bits;
    int32_t gradients;
    void *values[3];
    gkl_xla_call call;
} request;

static void request_make(request *x, const char *p, const char *q, int gradients) {
    static int attribute_kinds[] = {GKL_XLA_SCALAR, GKL_XLA_STRING, GKL_XLA_STRING};
    static const char *const names[] = {"gradients", "p", "q"};
    memset(x, 0, sizeof *x);
    x->gradients = gradients;
    x->bits = (gkl_xla_scalar){GKL_XLA_S32, &x->gradients};
    x->text[0] = (gkl_xla_string){p, strlen(p)};
    x->text[1] = (gkl_xla_string){q, strlen(q)};
    x->values[0] = &x->bits;
    EACH(i, 2) x->values[1 + i] = &x->text[i];
    EACH(i, 3) {
        x->name[i] = (gkl_xla_string){names[i], strlen(names[i])};
        x->names[i] = &x->name[i];
    }
    x->call = (gkl_xla_call){
        sizeof x->call, NULL, &api, NULL, 3,
        {sizeof x->call.operands, NULL, 0, x->kinds, x->items[0]},
        {sizeof x->call.results, NULL, 0, x->kinds, x->items[1]},
        {sizeof x->call.attributes, NULL, 3, attribute_kinds, x->names, x->values}};
}

/* one more operand, or result, of these dimensions */
static void add(request *x, int is_result, double *data, int rank, int64_t a, int64_t b,
                int64_t c) {
    gkl_xla_buffers *all = is_result ? &x->call.results : &x->call.operands;
    const int64_t i = all->count++, dims[] = {a, b, c};
    memcpy(x->dims[is_result][i], dims, sizeof dims);
    x->buffer[is_result][i] =
        (gkl_xla_buffer){sizeof(gkl_xla_buffer), NULL, GKL_XLA_F64, data, rank,
                         x->dims[is_result][i]};
    x->items[is_result][i] = &x->buffer[is_result][i];
}

static void check_refused(request *x, int wanted, const char *words) {
    code = 0;
    check(gkl_xla_kl(&x->call) != NULL && code == wanted && strstr(message, words),
          "code %d: %s", code, code ? message : "nothing");
}

static void test_metadata(void) {
    request x;
    request_make(&x, "", "", 0);
    gkl_xla_metadata metadata = {sizeof metadata, {sizeof metadata.version, NULL, -1, -1}, 7};
    gkl_xla_metadata_query query = {{sizeof query, GKL_XLA_METADATA, NULL}, &metadata};
    gkl_xla_extension other = {sizeof other, 99, &query.base};
    x.call.extension = &other;
    check(gkl_xla_kl(&x.call) == NULL && metadata.version.major == 0 && metadata.version.minor == 1
              && metadata.traits == 0,
          "version %d.%d", metadata.version.major, metadata.version.minor);
}

/* two items of d = 3 against a shared one, whose variance is one number */
static void test_call(void) {
    double mean[6] = {1, 2, 3, 0, 0, 0}, var[6] = {1, 2, 3, 4, 5, 6}, mean_q[3] = {0, 1, 0};
    double var_q = 2, value[2], d_var[6], d_var_q[2];
    request x;
    request_make(&x, "var", "var", 2 | 8);
    add(&x, 0, mean, 2, 2, 3, 0);
    add(&x, 0, var, 2, 2, 3, 0);
    add(&x, 0, mean_q, 2, 1, 3, 0);
    add(&x, 0, &var_q, 2, 1, 1, 0);
    add(&x, 1, value, 1, 2, 0, 0);
    add(&x, 1, d_var, 2, 2, 3, 0);
    add(&x, 1, d_var_q, 2, 2, 1, 0);
    check(gkl_xla_kl(&x.call) == NULL, "%s", message);
    EACH(i, 2) {
        double want = 0, slope = 0;
        EACH(j, 3) {
            const double u = var[3 * i + j] / var_q - 1, delta = mean[3 * i + j] - mean_q[j];
            want += (u - log1p(u) + delta * delta / var_q) / 2;
            slope -= (u + delta * delta / var_q) / (2 * var_q);
            const double got = d_var[3 * i + j], own = u / (2 * var[3 * i + j]);
            check(fabs(got - own) < 1e-14, "gradient %g, not %g", got, own);
        }
        check(fabs(value[i] - want) < 1e-14, "value %g, not %g", value[i], want);
        check(fabs(d_var_q[i] - slope) < 1e-14, "sum along d %g, not %g", d_var_q[i], slope);
    }
}

/* arrays without elements may have no address */
static void test_empty(void) {
    double mean[2] = {1, 2}, var[2] = {1, 2}, value[2] = {7, 7}, d_mean[2] = {7, 7};
    request x;
    request_make(&x, "var", "", 1); /* d = 0 */
    add(&x, 0, mean, 2, 2, 1, 0);
    add(&x, 0, NULL, 2, 2, 0, 0);
    add(&x, 1, value, 1, 2, 0, 0);
    add(&x, 1, d_mean, 2, 2, 1, 0);
    check(gkl_xla_kl(&x.call) == NULL && value[0] == 0 && value[1] == 0 && d_mean[0] == 0
              && d_mean[1] == 0, "d = 0: %g", value[0]);
    request_make(&x, "var", "", 0); /* no items */
    add(&x, 0, NULL, 2, 0, 2, 0);
    add(&x, 0, var, 2, 1, 2, 0);
    add(&x, 1, NULL, 1, 0, 0, 0);
    check(gkl_xla_kl(&x.call) == NULL, "%s", message);
    request_make(&x, "low_rank", "", 0); /* rank 0 */
    add(&x, 0, mean, 1, 2, 0, 0);
    add(&x, 0, NULL, 2, 2, 0, 0);
    add(&x, 0, var, 1, 2, 0, 0);
    add(&x, 1, value, 0, 0, 0, 0);
    const double want = 2.5 + (3 - 2 - log(2)) / 2;
    check(gkl_xla_kl(&x.call) == NULL && fabs(value[0] - want) < 1e-14, "rank 0: %g, not %g",
          value[0], want);
}

static void test_refusals(void) {
    double room[64] = {0};
    request x;
    request_make(&x, "var", "nought", 0);
    check_refused(&x, GKL_XLA_INVALID_ARGUMENT, "attribute q");
    request_make(&x, "", "var", 0);
    check_refused(&x, GKL_XLA_INVALID_ARGUMENT, "p has no parameters");
    request_make(&x, "var", "", 0);
    x.bits.type = GKL_XLA_F64;
    check_refused(&x, GKL_XLA_INVALID_ARGUMENT, "attribute gradients");
    request_make(&x, "var", "", 0);
    add(&x, 0, room, 1, 3, 0, 0);
    add(&x, 1, room, 0, 0, 0, 0);
    check_refused(&x, GKL_XLA_INVALID_ARGUMENT, "1 operands and 1 results, not 2 and 1");
    add(&x, 0, room, 1, 4, 0, 0);
    check_refused(&x, GKL_XLA_INVALID_ARGUMENT, "operand 0 has 3 elements along axis 0, not 4");
    x.dims[0][1][0] = 3;
    x.buffer[0][1].type = GKL_XLA_F32;
    check_refused(&x, GKL_XLA_INVALID_ARGUMENT, "operand 1 is of type 11");
    x.buffer[0][0].type = GKL_XLA_S32;
    check_refused(&x, GKL_XLA_INVALID_ARGUMENT, "operands of XLA's type 4");
    x.buffer[0][0].type = GKL_XLA_F64;
    x.buffer[0][0].rank = 2;
    check_refused(&x, GKL_XLA_INVALID_ARGUMENT, "operand 0 of 2 dimensions, not 1");
    request_make(&x, "cov", "", 2); /* matrices that are not square, gradients that repeat */
    add(&x, 0, room, 2, 2, 3, 0);
    add(&x, 0, room, 3, 1, 3, 2);
    add(&x, 1, room, 1, 2, 0, 0);
    add(&x, 1, room, 3, 1, 3, 3);
    check_refused(&x, GKL_XLA_INVALID_ARGUMENT, "operand 1 has 2 elements along axis 2, not 3");
    x.dims[0][1][2] = 3;
    check_refused(&x, GKL_XLA_INVALID_ARGUMENT, "result 1 has 1 elements along axis 0, not 2");
    api.version.major = 1;
    check_refused(&x, GKL_XLA_UNIMPLEMENTED, "has version 1.3");
    api.version.major = 0;
}

void test_xla(void) {
    group_begin("the custom call of XLA");
    test_metadata();
    test_call();
    test_empty();
    test_refusals();
    group_end();
}
