/* SPDX-License-Identifier: BSD-3-Clause
 *
 * KL divergences and their gradients as a custom call of XLA.
 *
 *     operands     mean_p, (factor_p,) scale_p, and the same of q unless that is N(0, I): of one
 *                  type, each of the batch's dimensions, or 1 where it repeats itself, and its own
 *     results      the divergences, then the gradients of the operands that are asked for, item by
 *                  item: one element for all of d is the sum over d
 *     attributes   p, q         the names of their kinds
 *                  gradients    a bit for each operand
 */
#include <stdarg.h>
#include <stdio.h>

#include "groups.h"
#include "xla_ffi.h"

enum { MOST_OPERANDS = 6, ATTRIBUTES = 3 };

static const char *const kind_names[GKL_KINDS] = {"var",  "std",       "logvar",   "",
                                                  "cov", "tril", "precision", "low_rank"};

/* A call on its way to a job. */
typedef struct {
    const gkl_xla_call *call;
    gkl_xla_error *error;
    int places[MOST_OPERANDS], operands; /* as gkl_job has them */
    gkl_job job;
    ptrdiff_t shape[GKL_MAX_DIMS], stride[2 * MOST_OPERANDS + 1][GKL_MAX_DIMS];
} reading;

static int fail(reading *r, int code, const char *format, ...) {
    char message[200];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    gkl_xla_error_request request = {sizeof request, NULL, message, code};
    r->error = r->call->api->create_error(&request);
    return -1;
}

/* XLA's question on registration, if this is it. */
static int answer(const gkl_xla_call *call) {
    for (gkl_xla_extension *x = call->extension; x; x = x->next)
        if (x->type == GKL_XLA_METADATA) {
            gkl_xla_metadata *metadata = ((gkl_xla_metadata_query *)x)->metadata;
            metadata->version.major = GKL_XLA_MAJOR;
            metadata->version.minor = GKL_XLA_MINOR;
            metadata->traits = 0;
            return 1;
        }
    return 0;
}

static int is_text(const gkl_xla_string *x, const char *text) {
    return x->length == strlen(text) && memcmp(x->text, text, x->length) == 0;
}

static const void *attribute(const gkl_xla_call *call, const char *name, int kind) {
    const gkl_xla_attributes *x = &call->attributes;
    for (int64_t i = 0; i < x->count; ++i)
        if (x->kinds[i] == kind && is_text(x->names[i], name))
            return x->items[i];
    return NULL;
}

static int read_kind(reading *r, const char *owner, gkl_kind *kind) {
    const gkl_xla_string *given = attribute(r->call, owner, GKL_XLA_STRING);
    for (int i = 0; given && i < GKL_KINDS; ++i)
        if (is_text(given, kind_names[i])) {
            *kind = (gkl_kind)i;
            return 0;
        }
    return fail(r, GKL_XLA_INVALID_ARGUMENT, "gkl: no kind of Gaussian in attribute %s", owner);
}

static void add_places(reading *r, gkl_kind kind, int mean, int factor) {
    if (kind == GKL_UNIT)
        return;
    r->places[r->operands++] = mean;
    if (kind == GKL_LOW_RANK)
        r->places[r->operands++] = factor;
    r->places[r->operands++] = mean + 1;
}

static int read_storage(int type, gkl_type *storage) {
    switch (type) {
    case GKL_XLA_F16: *storage = GKL_F16; return 0;
    case GKL_XLA_BF16: *storage = GKL_BF16; return 0;
    case GKL_XLA_F32: *storage = GKL_F32; return 0;
    case GKL_XLA_F64: *storage = GKL_F64; return 0;
    default: return -1;
    }
}

static ptrdiff_t size_of(int type) {
    return type == GKL_XLA_F64 ? 8 : type == GKL_XLA_F32 ? 4 : 2;
}

/* How many dimensions of an operand are not the batch's. */
static int own_dims(const gkl_job *job, int place) {
    switch (place) {
    case 1: return gkl_has_matrix(job->p) ? 2 : 1;
    case 3: return gkl_has_matrix(job->q) ? 2 : 1;
    default: return place >= GKL_FACTOR_P ? 2 : 1;
    }
}

/* The batch, which is that of the divergences; d, and the ranks. */
static int read_sizes(reading *r) {
    gkl_job *job = &r->job;
    const gkl_xla_buffer *value = r->call->results.items[0];
    if (value->rank >= GKL_MAX_DIMS)
        return fail(r, GKL_XLA_INVALID_ARGUMENT, "gkl: more than 63 batch dimensions");
    job->ndim = (int)value->rank;
    job->shape = r->shape;
    for (int i = 0; i < job->ndim; ++i)
        r->shape[i] = (ptrdiff_t)value->dims[i];
    job->dim = 1;
    for (int i = 0; i < r->operands; ++i) {
        const gkl_xla_buffer *x = r->call->operands.items[i];
        const int own = own_dims(job, r->places[i]);
        if (x->rank != job->ndim + own)
            return fail(r, GKL_XLA_INVALID_ARGUMENT, "gkl: operand %d of %d dimensions, not %d",
                        i, (int)x->rank, job->ndim + own);
        if (own == 2 || x->dims[job->ndim] != 1)
            job->dim = (ptrdiff_t)x->dims[job->ndim];
        if (r->places[i] == GKL_FACTOR_P)
            job->rank_p = (ptrdiff_t)x->dims[job->ndim + 1];
        else if (r->places[i] == GKL_FACTOR_Q)
            job->rank_q = (ptrdiff_t)x->dims[job->ndim + 1];
    }
    return 0;
}

/* Where an operand or a result is that belongs to this place; -1 is that of the divergences. */
static int describe(reading *r, int is_result, int index, int type, int place, ptrdiff_t *stride,
                    gkl_array *array) {
    static char nothing[sizeof(double)]; /* a buffer without elements may have no address */
    const gkl_job *job = &r->job;
    const char *what = is_result ? "result" : "operand";
    const gkl_xla_buffers *all = is_result ? &r->call->results : &r->call->operands;
    const gkl_xla_buffer *x = all->items[index];
    const int ndim = job->ndim, own = place < 0 ? 0 : own_dims(job, place);
    ptrdiff_t bytes = size_of(type);
    if (x->type != type || x->rank != ndim + own)
        return fail(r, GKL_XLA_INVALID_ARGUMENT, "gkl: %s %d is of type %d and %d dimensions, not "
                    "%d and %d", what, index, x->type, (int)x->rank, type, ndim + own);
    *array = (gkl_array){x->data ? x->data : nothing, stride, 0, 0};
    for (int axis = ndim + own; axis-- > 0;) {
        const ptrdiff_t n = (ptrdiff_t)x->dims[axis];
        const ptrdiff_t whole = axis < ndim    ? job->shape[axis]
                                : axis == ndim ? job->dim
                                               : gkl_columns(job, place);
        const int may_repeat = axis < ndim ? !is_result : own == 1;
        if (n != whole && !(n == 1 && may_repeat))
            return fail(r, GKL_XLA_INVALID_ARGUMENT, "gkl: %s %d has %td elements along axis %d, "
                        "not %td", what, index, n, axis, whole);
        *(axis < ndim ? &stride[axis] : axis == ndim ? &array->step : &array->across) =
            n == whole ? bytes : 0;
        bytes *= n;
    }
    return 0;
}

static int read_call(reading *r) {
    const gkl_xla_buffers *operands = &r->call->operands, *results = &r->call->results;
    const gkl_xla_scalar *wanted = attribute(r->call, "gradients", GKL_XLA_SCALAR);
    gkl_job *job = &r->job;
    if (read_kind(r, "p", &job->p) || read_kind(r, "q", &job->q))
        return -1;
    if (job->p == GKL_UNIT)
        return fail(r, GKL_XLA_INVALID_ARGUMENT, "gkl: p has no parameters");
    add_places(r, job->p, 0, GKL_FACTOR_P);
    add_places(r, job->q, 2, GKL_FACTOR_Q);
    if (!wanted || wanted->type != GKL_XLA_S32)
        return fail(r, GKL_XLA_INVALID_ARGUMENT, "gkl: no 32-bit integer in attribute gradients");
    if (r->call->attributes.count != ATTRIBUTES) /* a program of a later gkl may say more */
        return fail(r, GKL_XLA_INVALID_ARGUMENT, "gkl: %d attributes, not %d",
                    (int)r->call->attributes.count, ATTRIBUTES);
    const int bits = *(const int32_t *)wanted->value;
    job->output = bits ? GKL_GRAD : GKL_VALUE;
    int count = 1;
    for (int i = 0; i < r->operands; ++i)
        count += bits >> i & 1;
    if (operands->count != r->operands || operands->count == 0 || results->count != count)
        return fail(r, GKL_XLA_INVALID_ARGUMENT, "gkl: %d operands and %d results, not %d and %d",
                    (int)operands->count, (int)results->count, r->operands, count);
    const int type = ((const gkl_xla_buffer *)operands->items[0])->type;
    if (read_storage(type, &job->storage))
        return fail(r, GKL_XLA_INVALID_ARGUMENT, "gkl: operands of XLA's type %d; it takes F16, "
                    "BF16, F32 and F64", type);
    const int result_type = type == GKL_XLA_F64 ? GKL_XLA_F64 : GKL_XLA_F32;
    if (read_sizes(r)
        || describe(r, 1, 0, result_type, -1, r->stride[0], &job->out[0]))
        return -1;
    for (int i = 0, next = 1; i < r->operands; ++i) {
        const int place = r->places[i];
        if (describe(r, 0, i, type, place, r->stride[1 + i], &job->in[place]))
            return -1;
        if (!(bits >> i & 1))
            continue;
        if (describe(r, 1, next++, result_type, place, r->stride[1 + MOST_OPERANDS + i],
                     &job->out[gkl_output_of(place)]))
            return -1;
    }
    return 0;
}

/* Without dimensions every divergence is 0, and so is what is summed over them. */
static void fill_zeros(const gkl_xla_buffers *results) {
    for (int64_t i = 0; i < results->count; ++i) {
        const gkl_xla_buffer *x = results->items[i];
        size_t bytes = (size_t)size_of(x->type);
        for (int64_t axis = 0; axis < x->rank; ++axis)
            bytes *= (size_t)x->dims[axis];
        if (bytes)
            memset(x->data, 0, bytes);
    }
}

gkl_xla_error *gkl_xla_kl(gkl_xla_call *call) {
    if (answer(call))
        return NULL;
    reading r;
    memset(&r, 0, sizeof r);
    r.call = call;
    if (call->api->version.major != GKL_XLA_MAJOR || call->size < sizeof *call)
        fail(&r, GKL_XLA_UNIMPLEMENTED, "gkl: this XLA has version %d.%d of the foreign function "
             "interface, and gkl knows %d.%d", call->api->version.major, call->api->version.minor,
             GKL_XLA_MAJOR, GKL_XLA_MINOR);
    else if (read_call(&r) == 0) {
        int empty = 0;
        for (int i = 0; i < r.job.ndim; ++i)
            empty |= r.shape[i] == 0;
        if (empty)
            return NULL;
        if (r.job.dim == 0) {
            fill_zeros(&call->results);
            return NULL;
        }
        const int status = gkl_run(&r.job);
        if (status == GKL_NO_MEMORY)
            fail(&r, GKL_XLA_RESOURCE_EXHAUSTED, "gkl: no memory for the work of this call");
        else if (status)
            fail(&r, GKL_XLA_UNIMPLEMENTED, "gkl: no kernel for p = %s, q = %s",
                 kind_names[r.job.p], kind_names[r.job.q]);
    }
    return r.error;
}
