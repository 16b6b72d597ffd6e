/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What the custom call of xla.c needs of XLA's foreign function interface (FFI), version 0.1: the
 * members that it reads or writes, and those before them.  XLA keeps these where they are and
 * appends others; tests/test_jax_programs.py compares all with the header of the installed XLA.
 */
#ifndef GKL_XLA_FFI_H
#define GKL_XLA_FFI_H

#include <stddef.h>
#include <stdint.h>

enum { GKL_XLA_MAJOR = 0, GKL_XLA_MINOR = 1 };

/* Every struct that may grow begins with its size, as the one who made it knows it. */
typedef struct gkl_xla_extension {
    size_t size;
    int type;
    struct gkl_xla_extension *next;
} gkl_xla_extension;

typedef struct {
    size_t size;
    gkl_xla_extension *extension;
    int major, minor;
} gkl_xla_version;

/* An extension of a call that asks who is there, and wants no work. */
enum { GKL_XLA_METADATA = 1 };

typedef struct {
    size_t size;
    gkl_xla_version version;
    uint32_t traits;
} gkl_xla_metadata;

typedef struct {
    gkl_xla_extension base;
    gkl_xla_metadata *metadata;
} gkl_xla_metadata_query;

enum { GKL_XLA_INVALID_ARGUMENT = 3, GKL_XLA_RESOURCE_EXHAUSTED = 8, GKL_XLA_UNIMPLEMENTED = 12 };

typedef struct gkl_xla_error gkl_xla_error; /* XLA's own */

typedef struct {
    size_t size;
    gkl_xla_extension *extension;
    const char *message; /* is copied */
    int code;
} gkl_xla_error_request;

typedef struct {
    size_t size;
    gkl_xla_extension *extension;
    gkl_xla_version version;
    const void *internal;
    gkl_xla_error *(*create_error)(gkl_xla_error_request *request);
} gkl_xla_api;

enum { GKL_XLA_F16 = 10, GKL_XLA_F32 = 11, GKL_XLA_F64 = 12, GKL_XLA_BF16 = 16, GKL_XLA_S32 = 4 };

/* A dense array in row-major order. */
typedef struct {
    size_t size;
    gkl_xla_extension *extension;
    int type;
    void *data;
    int64_t rank;
    int64_t *dims;
} gkl_xla_buffer;

typedef struct {
    size_t size;
    gkl_xla_extension *extension;
    int64_t count;
    int *kinds;
    void **items;
} gkl_xla_buffers;

enum { GKL_XLA_SCALAR = 3, GKL_XLA_STRING = 4 };

typedef struct {
    int type;
    void *value;
} gkl_xla_scalar;

typedef struct {
    const char *text; /* without a 0 at its end */
    size_t length;
} gkl_xla_string;

typedef struct {
    size_t size;
    gkl_xla_extension *extension;
    int64_t count;
    int *kinds;
    gkl_xla_string **names;
    void **items;
} gkl_xla_attributes;

typedef struct {
    size_t size;
    gkl_xla_extension *extension;
    const gkl_xla_api *api;
    void *context;
    int stage;
    gkl_xla_buffers operands, results;
    gkl_xla_attributes attributes;
} gkl_xla_call;

/* The custom call: NULL, or what went wrong. */
gkl_xla_error *gkl_xla_kl(gkl_xla_call *call);

#endif
