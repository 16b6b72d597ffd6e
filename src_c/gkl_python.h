/* SPDX-License-Identifier: BSD-3-Clause
 *
 * gkl's table of functions for an extension module of Python, which links against nothing:
 *
 *     const gkl_api *gkl = gkl_import();
 *     if (!gkl)
 *         return NULL;
 */
#ifndef GKL_PYTHON_H
#define GKL_PYTHON_H

#include <Python.h>

#include "gkl.h"

#define GKL_CAPSULE "gkl._core.C_API"

/* The table of the installed gkl, which stays for good; NULL and an exception, as a rule an
 * ImportError, when gkl cannot be imported, or this was built against a later interface or another
 * major one.  Needs the GIL. */
static inline const gkl_api *gkl_import(void) {
    const gkl_api *api = NULL;
    /* by hand: PyCapsule_Import does not tell why gkl cannot be imported */
    PyObject *core = PyImport_ImportModule("gkl._core");
    PyObject *capsule = core ? PyObject_GetAttrString(core, "C_API") : NULL;
    if (capsule)
        api = (const gkl_api *)PyCapsule_GetPointer(capsule, GKL_CAPSULE);
    Py_XDECREF(capsule);
    Py_XDECREF(core);
    if (!api || (api->major == GKL_API_MAJOR && api->minor >= GKL_API_MINOR))
        return api;
    PyErr_Format(PyExc_ImportError,
                 "gkl %s is installed, which has C interface %d.%d; this module was built against "
                 "%d.%d: %s",
                 api->version, api->major, api->minor, GKL_API_MAJOR, GKL_API_MINOR,
                 api->major > GKL_API_MAJOR
                     ? "build it again with the installed gkl, or install an older gkl"
                     : "pip install --upgrade gkl, or build it again with the installed one");
    return NULL;
}

#endif
