# SPDX-License-Identifier: BSD-3-Clause
"""The generalized ufuncs themselves, for ``axes=``, Dask, or the least overhead.

Names are made of what is computed, how p and how q are parameterized, and what is given:
``kl_diag_var_logvar_grad``.  They broadcast over the batch, never sum over it, and give NaN for
an item whose divergence is undefined; the functions of :mod:`gkl` name it and raise.

Examples
--------
>>> import numpy as np
>>> from gkl import ufuncs
>>> ufuncs.kl_unit_logvar(np.zeros((2, 3)), np.zeros((2, 3)))
array([0., 0.])
"""

from __future__ import annotations

from gkl import _core, reference

try:
    from ml_dtypes import bfloat16 as _bfloat16
except ImportError:  # an optional type
    _bfloat16 = None

_gufuncs = _core.make_gufuncs(reference.docstring, _bfloat16)
globals().update(_gufuncs)

__all__ = list(_gufuncs)
