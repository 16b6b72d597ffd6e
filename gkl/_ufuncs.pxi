# SPDX-License-Identifier: BSD-3-Clause
# Registration of the gufuncs: one loop for all kernels and types.
#
# The loops are of NumPy's newer kind, which may fail (an interrupt, two outputs in one place) and
# are not charged with floating-point flags that lanes nobody asked for have raised.

cdef extern from *:
    """
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

    /* All of a gufunc's loops.  Steps: batch strides of the arguments, then strides along d of
     * those that have it. */
    static int gkl_loop(PyArrayMethod_Context *context, char *const data[],
                        const npy_intp *dimensions, const npy_intp *steps, NpyAuxData *aux) {
        const PyUFuncObject *ufunc = (const PyUFuncObject *)context->caller;
        const gkl_kernel *kernel = (const gkl_kernel *)ufunc->data;
        const npy_intp *core_step = steps + kernel->nin + kernel->nout;
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
            gkl_array x = {data[i], &steps[i], 0};
            const int is_out = i >= kernel->nin;
            if (ufunc->core_num_dims[i])
                x.step = *core_step++;
            if (is_out)
                job.out[kernel->place[i - kernel->nin]] = x;
            else if (kernel->weighted && i == kernel->nin - 1)
                job.in[GKL_WEIGHT] = x;
            else
                job.in[kernel->output == GKL_ENTROPY ? 1 : i] = x;
            for (int j = kernel->nin; j < i; ++j)
                if (is_out && data[i] == data[j] && dimensions[0] > 0)
                    return gkl_fail(PyExc_ValueError, "two outputs are the same array");
        }
        /* NumPy would keep the GIL for short batches, however long the rows, and drop it for others:
         * the flag below has it always held here, and dropped by us when the work is worth it */
        PyThreadState *held = NULL;
        if (dimensions[0] > 8192 / (dimensions[1] + 1))
            held = PyEval_SaveThread();
        const int status = gkl_run(&job);
        if (held)
            PyEval_RestoreThread(held);
        return status > 0 ? gkl_fail(NULL, NULL) : status;
    }

    /* Types that are not all float16, bfloat16 or float32 meet in NumPy's common type of them,
     * and in double when that is none of ours.  A weight has the type of the results. */
    static int gkl_promote(PyObject *self, PyArray_DTypeMeta *const given[],
                           PyArray_DTypeMeta *const signature[], PyArray_DTypeMeta *chosen[]) {
        const PyUFuncObject *ufunc = (const PyUFuncObject *)self;
        const int parameters = ufunc->nin - ((const gkl_kernel *)ufunc->data)->weighted;
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
        const int parameters = nin - ((const gkl_kernel *)((PyUFuncObject *)ufunc)->data)->weighted;
        PyArray_DTypeMeta *types[GKL_MAX_ARGS];
        PyType_Slot slots[] = {{NPY_METH_strided_loop, (void *)gkl_loop}, {0, NULL}};
        PyArrayMethod_Spec spec = {
            .name = ((PyUFuncObject *)ufunc)->name, .nin = nin, .nout = nargs - nin,
            .casting = NPY_NO_CASTING,
            .flags = NPY_METH_NO_FLOATINGPOINT_ERRORS | NPY_METH_REQUIRES_PYAPI,
            .dtypes = types, .slots = slots};
        for (int i = 0; i < nargs; ++i)
            types[i] = i < parameters ? in : out;
        return PyUFunc_AddLoopFromSpec(ufunc, &spec);
    }

    static PyObject *gkl_make_gufunc(const gkl_kernel *kernel, const char *doc,
                                     PyObject *bfloat16) {
        PyObject *self = PyUFunc_FromFuncAndDataAndSignature(
            NULL, (void *const *)kernel, NULL, 0, kernel->nin, kernel->nout, PyUFunc_None,
            kernel->name, doc, 0, kernel->signature);
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
    """
    int gkl_poll() noexcept nogil
    int gkl_storage(object descr)
    object gkl_make_gufunc(const gkl_kernel *kernel, const char *doc, object bfloat16)


cdef list _kept_docs = []  # NumPy keeps the pointer to a docstring, not the text


def make_gufuncs(docstring, bfloat16=None):
    """All gufuncs by name.

    `docstring` gives the documentation of a name; `bfloat16` is that NumPy dtype, if there is one.
    """
    cdef int i = 0
    cdef const gkl_kernel *kernel = gkl_kernel_at(0)
    gufuncs = {}
    while kernel != NULL:
        name = kernel.name.decode()
        doc = docstring(name).encode()
        _kept_docs.append(doc)
        gufuncs[name] = gkl_make_gufunc(
            kernel, doc, None if bfloat16 is None else type(np.dtype(bfloat16))
        )
        i += 1
        kernel = gkl_kernel_at(i)
    return gufuncs
