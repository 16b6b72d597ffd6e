/* SPDX-License-Identifier: BSD-3-Clause
 *
 * A small extension module of Python, which has gkl's functions from the installed gkl:
 * kl(mean, var), of two contiguous buffers of float64, is KL(N(mean, diag(var)) || N(0, I)).
 */
#include <gkl_python.h> /* before all else, for Python.h */

static const gkl_api *gkl;

static PyObject *kl(PyObject *self, PyObject *args) {
    Py_buffer mean, var;
    double result = 0;
    ptrdiff_t bad = 0;
    (void)self;
    if (!PyArg_ParseTuple(args, "y*y*", &mean, &var))
        return NULL;
    if (mean.len != var.len)
        PyErr_SetString(PyExc_ValueError, "mean and var are not of one length");
    else if (mean.len % (ptrdiff_t)sizeof(double))
        PyErr_SetString(PyExc_ValueError, "mean and var are not of float64");
    else
        bad = gkl->kl_f64(GKL_VAR, GKL_UNIT, 1, mean.len / (ptrdiff_t)sizeof(double),
                          (const double *)mean.buf, (const double *)var.buf, NULL, NULL, &result);
    if (bad > 0)
        PyErr_SetString(PyExc_ValueError, "not a Gaussian");
    else if (bad < 0)
        PyErr_Format(PyExc_RuntimeError, "gkl: error %zd", -bad);
    PyBuffer_Release(&mean);
    PyBuffer_Release(&var);
    return PyErr_Occurred() ? NULL : PyFloat_FromDouble(result);
}

static PyMethodDef methods[] = {{"kl", kl, METH_VARARGS, "KL(N(mean, diag(var)) || N(0, I))"},
                                {NULL, NULL, 0, NULL}};

static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "capsule", NULL, -1, methods,
                                    NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit_capsule(void);

PyMODINIT_FUNC PyInit_capsule(void) {
    PyObject *result = NULL;
    gkl = gkl_import();
    if (gkl)
        result = PyModule_Create(&module);
#ifdef Py_GIL_DISABLED
    if (result)
        PyUnstable_Module_SetGIL(result, Py_MOD_GIL_NOT_USED); /* else importing it turns it on */
#endif
    return result;
}
