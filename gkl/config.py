# SPDX-License-Identifier: BSD-3-Clause
"""What this installation is and what it has chosen."""

from __future__ import annotations

import platform
from typing import Any

import numpy as np

from gkl import _core

__all__ = ["show_config"]


def show_config(mode: str = "stdout") -> dict[str, Any] | None:
    """Print, or give, the version, instruction sets, threads and libraries.

    Parameters
    ----------
    mode : {"stdout", "dicts"}
        "dicts" gives a dictionary instead of printing, as `numpy.show_config` does.

    Returns
    -------
    dict or None

    Raises
    ------
    ValueError
        Another `mode`.

    Examples
    --------
    >>> import gkl
    >>> gkl.show_config(mode="dicts")["ISA"]["chosen"] in ("baseline", "avx2", "avx512", "neon")
    True
    """
    if mode not in ("stdout", "dicts"):
        raise ValueError(f"mode= takes 'stdout' or 'dicts', not {mode!r}")
    import scipy  # only here: it would slow down the import of gkl

    import gkl

    config: dict[str, dict[str, Any]] = {
        "gkl": {"version": gkl.__version__},
        "ISA": {"chosen": _core.isa(), "available": _core.isas()},
        "Threads": {"OpenMP": _core.has_openmp(), "number": _core.threads()},
        "Python": {"version": platform.python_version(), "machine": platform.machine()},
        "NumPy": {"version": np.__version__},
        "SciPy": {"version": scipy.__version__},
        "BLAS": _blas(scipy.show_config(mode="dicts")),
    }
    if mode == "dicts":
        return config
    for section, entries in config.items():
        print(f"{section}:")
        for name, value in entries.items():
            print(f"  {name}: {', '.join(value) if isinstance(value, list) else value}")
    return None


def _blas(config: dict[str, Any]) -> dict[str, Any]:
    """The one that SciPy brings."""
    blas = config.get("Build Dependencies", {}).get("blas", {})
    return {key: blas[key] for key in ("name", "version") if key in blas}
