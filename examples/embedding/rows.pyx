# SPDX-License-Identifier: BSD-3-Clause
# cython: language_level=3, freethreading_compatible=True
"""Gaussians of log-variances in two NumPy arrays, without the GIL and without a call of Python."""

from gkl.c_api cimport GKL_LOGVAR, GKL_UNIT, gkl_api, gkl_import

cdef const gkl_api *gkl = gkl_import()


def kl(const float[:, ::1] mean, const float[:, ::1] logvar, float[::1] out):
    """KL(p || N(0, I)) of each row to `out`; returns how many are no Gaussians, which get NaN."""
    cdef Py_ssize_t n = mean.shape[0], d = mean.shape[1], bad
    if (logvar.shape[0], logvar.shape[1], out.shape[0]) != (n, d, n):
        raise ValueError("mean and logvar must be (n, d), out (n,)")
    if n == 0 or d == 0:
        out[:] = 0
        return 0
    with nogil:
        bad = gkl.kl_f32(
            GKL_LOGVAR, GKL_UNIT, n, d, &mean[0, 0], &logvar[0, 0], NULL, NULL, &out[0]
        )
    if bad < 0:
        raise RuntimeError(f"gkl: error {-bad}")
    return bad
