# SPDX-License-Identifier: BSD-3-Clause
"""The generalized ufuncs themselves, for ``axes=``, Dask, or the least overhead.

Names are made of what is computed, how p and how q are parameterized, and what is given:
``kl_diag_var_logvar_grad``, ``kl_full_cov_tril``, ``entropy_low_rank``.  They broadcast over the
batch, never sum over it, and give NaN for an item whose divergence is undefined; the functions of
:mod:`gkl` name it and raise.

There are hundreds: each is made when it is first asked for.

Examples
--------
>>> import numpy as np
>>> from gkl import ufuncs
>>> ufuncs.kl_unit_logvar(np.zeros((2, 3)), np.zeros((2, 3)))
array([0., 0.])
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from gkl import _core

__all__ = _core.gufunc_names()
_index = {name: i for i, name in enumerate(__all__)}


@functools.cache
def _bfloat16() -> Any:
    try:
        from ml_dtypes import bfloat16
    except ImportError:  # an optional type
        return None
    return bfloat16


def __getattr__(name: str) -> np.ufunc:
    if name not in _index:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from gkl import reference  # not before a docstring is needed

    made = _core.make_gufunc(_index[name], reference.docstring(name), _bfloat16())
    return globals().setdefault(name, made)  # another thread may have been first


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
