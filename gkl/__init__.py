# SPDX-License-Identifier: BSD-3-Clause
"""KL divergence between Gaussians over huge batches, and its gradients, accurate to a few eps.

>>> import numpy as np
>>> import gkl
>>> p = gkl.DiagNormal(np.zeros((1000, 8)), logvar=np.zeros((1000, 8)))
>>> gkl.kl(p).shape
(1000,)
"""

from __future__ import annotations

from gkl import _start as _start  # the extension and its instruction set, before all else
from gkl import c_api, ufuncs
from gkl._core import DiagNormal, FullNormal, LowRankNormal
from gkl.c_api import get_include
from gkl.config import show_config
from gkl.divergence import (
    KLTerms,
    cross_entropy,
    entropy,
    jeffreys,
    kl,
    kl_per_dim,
    kl_terms,
)
from gkl.errors import InvalidGaussianError
from gkl.gradients import kl_and_grad
from gkl.inner_product import inner_product_vectors
from gkl.mixtures import gmm_kl
from gkl.neighbors import Neighbors, nearest
from gkl.pairs import pairs_kl
from gkl.pairwise import pairwise_kl
from gkl.threads import get_num_threads, num_threads, set_num_threads

__all__ = [
    "DiagNormal",
    "FullNormal",
    "InvalidGaussianError",
    "KLTerms",
    "LowRankNormal",
    "Neighbors",
    "c_api",
    "cross_entropy",
    "entropy",
    "get_include",
    "get_num_threads",
    "gmm_kl",
    "inner_product_vectors",
    "jeffreys",
    "kl",
    "kl_and_grad",
    "kl_per_dim",
    "kl_terms",
    "nearest",
    "num_threads",
    "pairs_kl",
    "pairwise_kl",
    "set_num_threads",
    "show_config",
    "ufuncs",
]


def __getattr__(name: str) -> str:
    if name != "__version__":
        raise AttributeError(f"module 'gkl' has no attribute {name!r}")
    from importlib.metadata import version  # only here: it takes longer than all of gkl

    return version("gkl")
