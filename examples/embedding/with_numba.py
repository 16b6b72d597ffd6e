# SPDX-License-Identifier: BSD-3-Clause
"""Which of m Gaussians is nearest to each of n, in a loop that numba compiles.

(`gkl.nearest` does that much faster; here it is the loop that is shown.)
"""

import numba
import numpy as np

from gkl.c_api import GKL_STD, GKL_UNIT, kl_f64


@numba.njit
def nearest(mean_p, std_p, mean_q, std_q):
    d = mean_p.shape[1]
    kl, index = np.empty(1), np.empty(len(mean_p), np.int64)
    for i in range(len(mean_p)):
        least = np.inf
        for j in range(len(mean_q)):
            bad = kl_f64(
                GKL_STD, GKL_STD, 1, d, mean_p[i].ctypes, std_p[i].ctypes,
                mean_q[j].ctypes, std_q[j].ctypes, kl.ctypes,
            )  # fmt: skip
            if bad == 0 and kl[0] < least:
                least, index[i] = kl[0], j
    return index


@numba.njit
def from_unit(mean, std):
    """How far each is from N(0, I)."""
    n, d = mean.shape
    kl = np.empty(n)
    # N(0, I) has no parameters: compiled code passes 0, for None is no pointer there
    kl_f64(GKL_STD, GKL_UNIT, n, d, mean.ctypes, std.ctypes, 0, 0, kl.ctypes)
    return kl


if __name__ == "__main__":
    rng = np.random.default_rng(0)
    mean, std = rng.normal(size=(6, 4)), rng.gamma(4, size=(6, 4)) / 4
    print(nearest(mean, std, mean + 0.1, std * 1.1))
    print(from_unit(mean, std).round(3))
