# SPDX-License-Identifier: BSD-3-Clause
# cython: language_level=3, freethreading_compatible=True
"""The C core in Python: gufuncs, the named views, the driver of the facade, threads and ISAs."""

cimport cython
cimport numpy as cnp
from cpython.ref cimport PyObject
from libc.stddef cimport ptrdiff_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, memset

from gkl.c_api cimport *

import numpy as np

from gkl.errors import raises, refuse, refuse_asymmetric

cnp.import_array()
cnp.import_ufunc()

include "_c.pxi"
include "_blas.pxi"
include "_ufuncs.pxi"
include "_gaussian.pxi"
include "_distributions.pxi"
include "_evaluate.pxi"
include "_fast.pxi"
include "_pairwise.pxi"
include "_xla.pxi"
