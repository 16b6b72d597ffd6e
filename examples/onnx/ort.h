/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The part of ONNX Runtime's C interface that a custom operator needs: its Python package comes
 * without the headers.  Functions of the table are known by their places, which never change: it is
 * only ever appended to.
 */
#ifndef ORT_H
#define ORT_H

#include <stddef.h>
#include <stdint.h>

enum { ORT_VERSION = 16 }; /* of the interface, that of ONNX Runtime 1.16 */

typedef struct ort_status ort_status; /* NULL: all is well */
typedef struct ort_options ort_options;
typedef struct ort_domain ort_domain;
typedef struct ort_context ort_context;
typedef struct ort_info ort_info;
typedef struct ort_shape ort_shape;
typedef struct ort_value ort_value;
typedef struct ort_operator ort_operator;

typedef enum { ORT_FLOAT = 1, ORT_DOUBLE = 11 } ort_type;
enum { ORT_INVALID_ARGUMENT = 2 };

typedef void (*ort_function)(void);
typedef struct {
    ort_function at[102]; /* those of the first version */
} ort_api;

typedef struct {
    const ort_api *(*get_api)(uint32_t version);
    const char *(*version)(void);
} ort_base;

struct ort_operator {
    uint32_t version;
    void *(*create)(const ort_operator *, const ort_api *, const ort_info *);
    const char *(*name)(const ort_operator *);
    const char *(*provider)(const ort_operator *);
    ort_type (*input_type)(const ort_operator *, size_t);
    size_t (*inputs)(const ort_operator *);
    ort_type (*output_type)(const ort_operator *, size_t);
    size_t (*outputs)(const ort_operator *);
    void (*compute)(void *, ort_context *);
    void (*destroy)(void *);
    int (*input_characteristic)(const ort_operator *, size_t); /* 0: required */
    int (*output_characteristic)(const ort_operator *, size_t);
    int (*input_memory)(const ort_operator *, size_t); /* 0: the default */
    int (*variadic[4])(const ort_operator *);
    ort_status *(*create_2)(const ort_operator *, const ort_api *, const ort_info *, void **);
    ort_status *(*compute_2)(void *, ort_context *);
    ort_function more[7]; /* may be NULL */
};

#define ORT_FUNCTION(place, result, name, ...)                                                   \
    static inline result (*name(const ort_api *ort))(__VA_ARGS__) {                              \
        return (result(*)(__VA_ARGS__))ort->at[place];                                           \
    }
ORT_FUNCTION(0, ort_status *, ort_create_status, int code, const char *message)
ORT_FUNCTION(26, ort_status *, ort_create_domain, const char *name, ort_domain **domain)
ORT_FUNCTION(27, ort_status *, ort_add_operator, ort_domain *domain, const ort_operator *op)
ORT_FUNCTION(28, ort_status *, ort_add_domain, ort_options *options, ort_domain *domain)
ORT_FUNCTION(51, ort_status *, ort_data, ort_value *value, void **data)
ORT_FUNCTION(61, ort_status *, ort_rank, const ort_shape *shape, size_t *rank)
ORT_FUNCTION(62, ort_status *, ort_dims, const ort_shape *shape, int64_t *dims, size_t rank)
ORT_FUNCTION(65, ort_status *, ort_shape_of, const ort_value *value, ort_shape **shape)
ORT_FUNCTION(90, ort_status *, ort_input, const ort_context *context, size_t index,
             const ort_value **value)
ORT_FUNCTION(91, ort_status *, ort_output, ort_context *context, size_t index,
             const int64_t *dims, size_t rank, ort_value **value)
ORT_FUNCTION(99, void, ort_release_shape, ort_shape *shape)

#endif
