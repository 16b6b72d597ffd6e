/* SPDX-License-Identifier: BSD-3-Clause
 *
 * An operator for ONNX Runtime, in the domain "gkl":
 *
 *     kl = KLDiagLogvar(mean, logvar)         KL(N(mean, diag(exp(logvar))) || N(0, I)), nats
 *
 * mean and logvar are float or double tensors (..., d) of one shape, kl is (...).  A bad item, a
 * number that is not finite, has NaN.
 */
#include <gkl.h>

#include "ort.h"

enum { MOST_AXES = 16 };
#define TRY(call)                                                                                \
    do {                                                                                         \
        ort_status *const status = (call);                                                       \
        if (status)                                                                              \
            return status;                                                                       \
    } while (0)

typedef struct {
    int64_t dims[MOST_AXES];
    size_t rank;
    const void *data;
} tensor;

static const ort_api *ort;

static ort_status *refuse(const char *why) {
    return ort_create_status(ort)(ORT_INVALID_ARGUMENT, why);
}

static ort_status *read_shape(const ort_shape *shape, tensor *x) {
    TRY(ort_rank(ort)(shape, &x->rank));
    if (x->rank < 1 || x->rank > MOST_AXES)
        return refuse("KLDiagLogvar: mean and logvar must have 1 to 16 axes");
    return ort_dims(ort)(shape, x->dims, x->rank);
}

static ort_status *read_input(const ort_context *context, size_t index, tensor *x) {
    const ort_value *value;
    ort_shape *shape;
    void *data;
    TRY(ort_input(ort)(context, index, &value));
    TRY(ort_data(ort)((ort_value *)value, &data));
    x->data = data;
    TRY(ort_shape_of(ort)(value, &shape));
    ort_status *const status = read_shape(shape, x);
    ort_release_shape(ort)(shape);
    return status;
}

/* the kernel is the type it is for */
static ort_status *compute(void *kernel, ort_context *context) {
    tensor mean, logvar;
    ort_value *output;
    void *kl;
    ptrdiff_t n = 1;
    TRY(read_input(context, 0, &mean));
    TRY(read_input(context, 1, &logvar));
    if (mean.rank != logvar.rank)
        return refuse("KLDiagLogvar: mean and logvar are not of one shape");
    for (size_t i = 0; i < mean.rank; ++i) {
        if (mean.dims[i] != logvar.dims[i])
            return refuse("KLDiagLogvar: mean and logvar are not of one shape");
        if (i + 1 < mean.rank)
            n *= (ptrdiff_t)mean.dims[i];
    }
    TRY(ort_output(ort)(context, 0, mean.dims, mean.rank - 1, &output));
    TRY(ort_data(ort)(output, &kl));
    const ptrdiff_t d = (ptrdiff_t)mean.dims[mean.rank - 1];
    const ptrdiff_t bad =
        *(const ort_type *)kernel == ORT_DOUBLE
            ? gkl_kl_f64(GKL_LOGVAR, GKL_UNIT, n, d, mean.data, logvar.data, NULL, NULL, kl)
            : gkl_kl_f32(GKL_LOGVAR, GKL_UNIT, n, d, mean.data, logvar.data, NULL, NULL, kl);
    static const char *const why[] = {[GKL_NO_MEMORY] = "KLDiagLogvar: out of memory",
                                      [GKL_NO_KERNEL] = "KLDiagLogvar: no such kernel",
                                      [GKL_BAD_ARGUMENT] = "KLDiagLogvar: bad argument"};
    return bad < 0 ? refuse(why[-bad]) : NULL;
}

static const char *name(const ort_operator *op) { return (void)op, "KLDiagLogvar"; }
static const char *provider(const ort_operator *op) { return (void)op, NULL; } /* the CPU */
static size_t two(const ort_operator *op) { return (void)op, 2; }
static size_t one(const ort_operator *op) { return (void)op, 1; }
static int required(const ort_operator *op, size_t i) { return (void)op, (void)i, 0; }
static int no(const ort_operator *op) { return (void)op, 0; }
static void destroy(void *kernel) { (void)kernel; }

static ort_type float_type(const ort_operator *op, size_t i) {
    return (void)op, (void)i, ORT_FLOAT;
}
static ort_type double_type(const ort_operator *op, size_t i) {
    return (void)op, (void)i, ORT_DOUBLE;
}

static ort_status *create(const ort_operator *op, const ort_api *api, const ort_info *info,
                          void **kernel) {
    static ort_type types[] = {ORT_FLOAT, ORT_DOUBLE};
    (void)api, (void)info;
    *kernel = &types[op->input_type == double_type];
    return NULL;
}

#define OPERATOR(type)                                                                           \
    {.version = ORT_VERSION, .name = name, .provider = provider, .input_type = type,             \
     .inputs = two, .output_type = type, .outputs = one, .destroy = destroy,                     \
     .input_characteristic = required, .output_characteristic = required,                        \
     .input_memory = required, .variadic = {no, no, no, no}, .create_2 = create,                 \
     .compute_2 = compute}
static const ort_operator operators[] = {OPERATOR(float_type), OPERATOR(double_type)};

/* What SessionOptions.register_custom_ops_library looks for. */
#pragma GCC visibility push(default)
ort_status *RegisterCustomOps(ort_options *options, const ort_base *base);
#pragma GCC visibility pop

ort_status *RegisterCustomOps(ort_options *options, const ort_base *base) {
    ort_domain *domain;
    ort = base->get_api(ORT_VERSION);
    if (!ort) /* an older ONNX Runtime, of which only the first version can say so */
        return ort = base->get_api(1), refuse("gkl: ONNX Runtime 1.16 or later is needed");
    TRY(ort_create_domain(ort)("gkl", &domain)); /* it lives as long as the process */
    for (size_t i = 0; i < sizeof operators / sizeof operators[0]; ++i)
        TRY(ort_add_operator(ort)(domain, &operators[i]));
    return ort_add_domain(ort)(options, domain);
}
