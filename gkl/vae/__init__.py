# SPDX-License-Identifier: BSD-3-Clause
"""The KL term of variational autoencoders: objectives, schedules, and what to watch in training.

P is the posterior q(z | x) of each item, Q the prior.  NumPy is all that is needed; the objectives
are also functions of a framework's tensors, which its own automatic differentiation goes through.

>>> import numpy as np
>>> from gkl import DiagNormal, vae
>>> posterior = DiagNormal(np.array([[1.0, 0.0], [2.0, 0.1]]), logvar=0.0)
>>> value, grad, _ = vae.objective_and_grad(posterior, scheme=vae.FreeBits(0.5))
>>> float(value), grad.mean
(1.75, array([[0.5, 0. ],
       [1. , 0. ]]))
"""

from __future__ import annotations

from gkl.vae.active_units import ActiveUnits
from gkl.vae.objective import objective_and_grad
from gkl.vae.schedules import CyclicalSchedule, LinearSchedule
from gkl.vae.scheme import Scheme
from gkl.vae.schemes import Beta, Capacity, FreeBits, balance, beta, capacity, free_bits
from gkl.vae.statistics import KLStatistics

__all__ = [
    "ActiveUnits",
    "Beta",
    "Capacity",
    "CyclicalSchedule",
    "FreeBits",
    "KLStatistics",
    "LinearSchedule",
    "Scheme",
    "balance",
    "beta",
    "capacity",
    "free_bits",
    "objective_and_grad",
]
