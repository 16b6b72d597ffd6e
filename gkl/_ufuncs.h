/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Registration of the gufuncs: one loop for all kernels and types.
 *
 * The loops are of NumPy's newer kind, which may fail (an interrupt, two outputs in one place) and
 * are not charged with floating-point flags that lanes nobody asked for have raised.
 */
#ifndef GKL_UFUNCS_H
#define GKL_UFUNCS_H

#include <Python.h>
#include <numpy/ndarraytypes.h>
#include <numpy/ufuncobject.h>
#include <numpy/dtype_api.h>

#include "gkl.h"

enum { GKL_MAX_ARGS = GKL_MAX_IN + GKL_MAX_OUT };

/* Between blocks of a long call: has the user interrupted?  The GIL may be ours or not. */
static int gkl_poll(void) {
    const PyGILState_STATE state = PyGILState_Ensure();
    const int stop = PyErr_CheckSignals();
    PyGILState_Release(state);
    return stop;
}

/* An error of this type, or out of memory without a message. */
static int gkl_fail(PyObject *type, const char *message) {
    const PyGILState_STATE state = PyGILState_Ensure();
    if (message)
        PyErr_SetString(type, message);
    else
        PyErr_NoMemory();
    PyGILState_Release(state);
    return -1;
}

/* The storage type of an operand, -1 for none that the core reads. bfloat16 is a type of
 * another package, known by its name. */
static int gkl_storage(PyObject *dtype) {
    const PyArray_Descr *descr = (const PyArray_Descr *)dtype;
    switch (descr->type_num) {
    case NPY_HALF: return GKL_F16;
    case NPY_FLOAT: return GKL_F32;
    case NPY_DOUBLE: return GKL_F64;
    default: break;
    }
    return strstr(descr->typeobj->tp_name, "bfloat16") ? GKL_BF16 : -1;
}


/* Multiplications an item, roughly. */
static double gkl_cost(const gkl_job *job) {
    const double d = (double)job->dim;
    const double width = gkl_has_matrix(job->p) || gkl_has_matrix(job->q)
                             ? d : (double)(job->rank_p + job->rank_q);
    return (d + 1) * (width + 1) * (width + 1);
}

/* Where an output lies: its elements at the ends, and whether it fills all that is between. */
typedef struct {
    char *first, *last;
    int empty, dense;
} gkl_extent;

static gkl_extent gkl_extent_of(char *data, npy_intp size, int ndim, const npy_intp *shape,
                                const npy_intp *stride) {
    gkl_extent x = {data, data, 0, 0};
    npy_intp count = 1;
    for (int i = 0; i < ndim; ++i) {
        count *= shape[i];
        *(stride[i] < 0 ? &x.first : &x.last) += (shape[i] - 1) * stride[i];
    }
    x.empty = count == 0;
    x.dense = x.last - x.first == (count - 1) * size;
    return x;
}

/* Do two outputs surely overlap?  Not all that do are found: they may be interleaved. */
static int gkl_overlap(gkl_extent a, gkl_extent b) {
    if (a.empty || b.empty)
        return 0;
    return a.first == b.first || a.last == b.last
           || (a.dense && ((a.first < b.first && b.first < a.last)
                           || (a.first < b.last && b.last < a.last)))
           || (b.dense && b.first < a.first && a.last < b.last);
}

/* What a gufunc is made of; it stays for good.  Operands after the parameters, a weight or an order,
 * have the type of the results. */
typedef struct {
    const char *name, *signature;
    int nin, nout, parameters;
    PyArrayMethod_StridedLoop *loop;
    const void *kernel;
} gkl_gufunc;

/* NumPy would keep the GIL for short batches, however long the rows, and drop it for others: the
 * gufuncs ask that it be always held, and drop it here when the work is worth it. */
static PyThreadState *gkl_drop_gil(double cost) {
    return cost > 8192 ? PyEval_SaveThread() : NULL;
}

static int gkl_end(PyThreadState *held, int status) {
    if (held)
        PyEval_RestoreThread(held);
    if (status == GKL_NO_KERNEL)
        return gkl_fail(PyExc_NotImplementedError, "there is no kernel for this pair");
    return status > 0 ? gkl_fail(NULL, NULL) : status;
}

/* All of a gufunc's loops.  Steps: batch strides of the arguments, then strides along the core
 * dimensions of one argument after the other.  Dimensions: the batch, then the core dimensions as
 * they first appear in the signature, of which d is the first. */
static int gkl_loop(PyArrayMethod_Context *context, char *const data[],
                    const npy_intp *dimensions, const npy_intp *steps, NpyAuxData *aux) {
    const PyUFuncObject *ufunc = (const PyUFuncObject *)context->caller;
    const gkl_kernel *kernel = ((const gkl_gufunc *)ufunc->data)->kernel;
    const npy_intp *core_step = steps + kernel->nin + kernel->nout;
    gkl_extent extents[GKL_MAX_OUT];
    gkl_job job;
    (void)aux;
    memset(&job, 0, sizeof job);
    job.p = kernel->p;
    job.q = kernel->q;
    job.output = kernel->output;
    job.storage = (gkl_type)gkl_storage((PyObject *)context->descriptors[0]);
    job.ndim = 1;
    job.shape = dimensions;
    job.dim = dimensions[1];
    job.poll = gkl_poll;
    for (int i = 0; i < kernel->nin + kernel->nout; ++i) {
        const int ndim = ufunc->core_num_dims[i], out = i - kernel->nin;
        const int *which = ufunc->core_dim_ixs + ufunc->core_offsets[i];
        const npy_intp shape[] = {dimensions[0], ndim > 0 ? dimensions[1 + which[0]] : 1,
                                  ndim > 1 ? dimensions[1 + which[1]] : 1};
        const npy_intp stride[] = {steps[i], ndim > 0 ? core_step[0] : 0,
                                   ndim > 1 ? core_step[1] : 0};
        const gkl_array x = {data[i], &steps[i], stride[1], stride[2]};
        core_step += ndim;
        if (out < 0) {
            job.in[kernel->from[i]] = x;
            if (kernel->from[i] == GKL_FACTOR_P)
                job.rank_p = shape[2];
            else if (kernel->from[i] == GKL_FACTOR_Q)
                job.rank_q = shape[2];
            continue;
        }
        job.out[kernel->place[out]] = x;
        extents[out] = gkl_extent_of(data[i], context->descriptors[i]->elsize, 3, shape, stride);
        for (int j = 0; j < out; ++j)
            if (gkl_overlap(extents[j], extents[out]))
                return gkl_fail(PyExc_ValueError, "two outputs are the same array, or overlap");
    }
    PyThreadState *held = gkl_drop_gil((double)dimensions[0] * gkl_cost(&job));
    return gkl_end(held, gkl_run(&job));
}

/* The loops of every p against every q.  Dimensions: the batch, n, d, m. */
static int gkl_pairwise_loop(PyArrayMethod_Context *context, char *const data[],
                             const npy_intp *dimensions, const npy_intp *steps, NpyAuxData *aux) {
    const PyUFuncObject *ufunc = (const PyUFuncObject *)context->caller;
    const gkl_gufunc *gufunc = (const gkl_gufunc *)ufunc->data;
    const gkl_pairwise_kernel *kernel = gufunc->kernel;
    const npy_intp *core_step = steps + gufunc->nin + 1;
    const int is_double = context->descriptors[gufunc->nin]->type_num == NPY_DOUBLE;
    int status = 0;
    (void)aux;
    gkl_pairwise_job job = {
        .metric = kernel->metric, .p = kernel->p, .q = kernel->q,
        .storage = (gkl_type)gkl_storage((PyObject *)context->descriptors[0]),
        .n = dimensions[1], .dim = dimensions[2], .m = dimensions[3], .poll = gkl_poll};
    PyThreadState *held = gkl_drop_gil((double)dimensions[0] * (double)job.n * (double)job.m
                                       * (double)(job.dim + 1));
    for (npy_intp i = 0; i < dimensions[0] && !status; ++i) {
        for (int k = 0; k < 4; ++k)
            job.in[k] = (gkl_array){data[k] + i * steps[k], &core_step[2 * k],
                                    core_step[2 * k + 1], 0};
        if (kernel->ordered) {
            const char *order = data[4] + i * steps[4];
            job.order = is_double ? *(const double *)order : (double)*(const float *)order;
        }
        status = gkl_pairwise(&job, data[gufunc->nin] + i * steps[gufunc->nin], core_step + 8);
    }
    return gkl_end(held, status);
}

/* Types that are not all float16, bfloat16 or float32 meet in NumPy's common type of them,
 * and in double when that is none of ours.  A weight has the type of the results. */
static int gkl_promote(PyObject *self, PyArray_DTypeMeta *const given[],
                       PyArray_DTypeMeta *const signature[], PyArray_DTypeMeta *chosen[]) {
    const PyUFuncObject *ufunc = (const PyUFuncObject *)self;
    const int parameters = ((const gkl_gufunc *)ufunc->data)->parameters;
    PyArray_DTypeMeta *common = given[0];
    Py_INCREF(common);
    for (int i = 1; i < parameters; ++i) {
        PyArray_DTypeMeta *next = PyArray_CommonDType(common, given[i]);
        Py_DECREF(common);
        if (next == NULL)
            return -1;
        common = next;
    }
    if (common != &PyArray_FloatDType && common != &PyArray_HalfDType) {
        Py_DECREF(common);
        common = &PyArray_DoubleDType;
        Py_INCREF(common);
    }
    for (int i = 0; i < ufunc->nargs; ++i) {
        PyArray_DTypeMeta *type = common;
        if (i >= parameters && common == &PyArray_HalfDType)
            type = &PyArray_FloatDType;
        if (signature[i])
            type = signature[i];
        Py_INCREF(type);
        chosen[i] = type;
    }
    Py_DECREF(common);
    return 0;
}

static int gkl_add_loop(PyObject *ufunc, PyArray_DTypeMeta *in, PyArray_DTypeMeta *out) {
    const int nin = ((PyUFuncObject *)ufunc)->nin, nargs = ((PyUFuncObject *)ufunc)->nargs;
    const gkl_gufunc *gufunc = (const gkl_gufunc *)((PyUFuncObject *)ufunc)->data;
    const int parameters = gufunc->parameters;
    PyArray_DTypeMeta *types[GKL_MAX_ARGS];
    PyType_Slot slots[] = {{NPY_METH_strided_loop, (void *)gufunc->loop}, {0, NULL}};
    PyArrayMethod_Spec spec = {
        .name = ((PyUFuncObject *)ufunc)->name, .nin = nin, .nout = nargs - nin,
        .casting = NPY_NO_CASTING,
        .flags = NPY_METH_NO_FLOATINGPOINT_ERRORS | NPY_METH_REQUIRES_PYAPI,
        .dtypes = types, .slots = slots};
    for (int i = 0; i < nargs; ++i)
        types[i] = i < parameters ? in : out;
    return PyUFunc_AddLoopFromSpec(ufunc, &spec);
}

static PyObject *gkl_make_gufunc(const gkl_gufunc *made, const char *doc, PyObject *bfloat16) {
    PyObject *self = PyUFunc_FromFuncAndDataAndSignature(
        NULL, (void *const *)made, NULL, 0, made->nin, made->nout, PyUFunc_None, made->name, doc, 0,
        made->signature);
    if (self == NULL)
        return NULL;
    PyUFuncObject *ufunc = (PyUFuncObject *)self;
    /* an output that overlaps an input gets a copy: the default promises elementwise access */
    for (int i = 0; i < ufunc->nargs; ++i)
        ufunc->op_flags[i] =
            i < ufunc->nin ? NPY_ITER_READONLY | NPY_ITER_ALIGNED | NPY_ITER_COPY
                           : NPY_ITER_WRITEONLY | NPY_ITER_ALIGNED | NPY_ITER_UPDATEIFCOPY
                                 | NPY_ITER_ALLOCATE | NPY_ITER_NO_BROADCAST;
    PyObject *any = PyTuple_New(ufunc->nargs);
    PyObject *promoter = PyCapsule_New((void *)gkl_promote, "numpy._ufunc_promoter", NULL);
    for (int i = 0; any && i < ufunc->nargs; ++i) {
        PyObject *type = i < ufunc->nin ? (PyObject *)&PyArrayDescr_Type : Py_None;
        Py_INCREF(type);
        PyTuple_SET_ITEM(any, i, type);
    }
    const int ok = any && promoter
        && gkl_add_loop(self, &PyArray_HalfDType, &PyArray_FloatDType) == 0
        && gkl_add_loop(self, &PyArray_FloatDType, &PyArray_FloatDType) == 0
        && gkl_add_loop(self, &PyArray_DoubleDType, &PyArray_DoubleDType) == 0
        && (bfloat16 == Py_None
            || gkl_add_loop(self, (PyArray_DTypeMeta *)bfloat16, &PyArray_FloatDType) == 0)
        && PyUFunc_AddPromoter(self, any, promoter) == 0;
    Py_XDECREF(any);
    Py_XDECREF(promoter);
    if (!ok)
        Py_CLEAR(self);
    return self;
}

/* The description of gufunc `index` of both lists; no name past the end. */
static gkl_gufunc gkl_describe_gufunc(int index) {
    int count = 0;
    const gkl_kernel *kernel = gkl_kernel_at(index);
    if (kernel)
        return (gkl_gufunc){kernel->name, kernel->signature, kernel->nin, kernel->nout,
                            kernel->nin - kernel->weighted, gkl_loop, kernel};
    while (gkl_kernel_at(count))
        ++count;
    const gkl_pairwise_kernel *pairwise = gkl_pairwise_kernel_at(index - count);
    if (pairwise)
        return (gkl_gufunc){pairwise->name, pairwise->signature, 4 + pairwise->ordered, 1, 4,
                            gkl_pairwise_loop, pairwise};
    return (gkl_gufunc){.name = NULL};
}

#endif
