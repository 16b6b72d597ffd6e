# SPDX-License-Identifier: BSD-3-Clause
"""``gkl bench``: gkl beside NumPy and whichever peers are installed, in one process.

Peers take turns, so that whatever else the machine does meets them all alike, and the median
counts.
"""

from __future__ import annotations

import statistics
import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

import gkl
from gkl.peers import DIAG, Arrays, Call, Peer
from gkl.peers_full import FULL

__all__ = ["DTYPES", "WORKS", "agree", "bytes_moved", "flops", "inputs", "peers", "run", "table"]

WORKS = {
    "pair-var": "KL(p‖q), var",
    "pair-std": "KL(p‖q), std",
    "pair-logvar": "KL(p‖q), logvar",
    "unit-logvar": "KL(p‖N(0, I)), logvar",
    "grad-var": "KL(p‖q), var, and four gradients",
    "pair-cov": "KL(p‖q), cov",
    "grad-cov": "KL(p‖q), cov, and four gradients",
}
DTYPES: dict[str, np.dtype[Any]] = {"f32": np.dtype(np.float32), "f64": np.dtype(np.float64)}
DEFAULTS = {False: (131072, 128, "f32"), True: (4096, 32, "f64")}  # of vectors, of matrices


def run(
    work: str,
    rows: int | None = None,
    dim: int | None = None,
    dtype: str | None = None,
    repeat: int = 7,
) -> dict[str, Any]:
    """Time a work in gkl and its peers, after a check that they agree.

    Parameters
    ----------
    work : str
        A key of `WORKS`.
    rows, dim : int, optional
        Size of the batch and dimension.
    dtype : {"f32", "f64"}, optional
    repeat : int
        Rounds.

    Returns
    -------
    dict
        The circumstances, and under ``results`` the median seconds of each peer.

    Raises
    ------
    ValueError
        A peer computes something else.
    """
    usual_rows, usual_dim, usual_dtype = DEFAULTS[_is_full(work)]
    rows, dim, dtype = rows or usual_rows, dim or usual_dim, dtype or usual_dtype
    arrays = inputs(work, rows, dim, dtype)
    calls: dict[str, Call] = {}
    missing = []
    for name, peer in peers(work).items():
        try:
            calls[name] = peer(work, arrays)
        except (ImportError, OSError):  # not installed, or not for this machine
            missing.append(name)
    agree(calls, dtype)

    read = sum(x.nbytes for x in arrays)
    moved = bytes_moved(work, arrays)
    per_call = {name: {"bytes": moved, "flops": flops(work, rows, dim)} for name in calls}
    calls["read by NumPy"] = lambda: [np.add.reduce(x.reshape(-1)) for x in arrays]
    per_call["read by NumPy"] = {"bytes": read, "flops": 0.0}
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(repeat):
        for name, call in calls.items():
            time.sleep(0.01)  # the threads of the last one stop spinning
            begin = time.perf_counter()
            call()
            seconds[name].append(time.perf_counter() - begin)
    medians = {name: statistics.median(times) for name, times in seconds.items()}
    config = gkl.show_config(mode="dicts") or {}
    return {
        "gkl": gkl.__version__,
        "work": work,
        "rows": rows,
        "dim": dim,
        "dtype": dtype,
        "repeat": repeat,
        "isa": config["ISA"]["chosen"],
        "threads": gkl.get_num_threads(),
        "bytes": {"read": read, "written": moved - read},
        "results": [
            {
                "name": name,
                "seconds": median,
                "ratio": median / medians["gkl"],
            }
            | {f"{what}_per_second": n / median for what, n in per_call[name].items() if n}
            for name, median in medians.items()
        ],
        "missing": missing,
    }


def table(report: dict[str, Any]) -> str:
    """The report of :func:`run` for a person.

    Parameters
    ----------
    report : dict

    Returns
    -------
    str
    """
    with_flops = _is_full(report["work"])
    lines = [
        f"{WORKS[report['work']]}: {report['rows']:,} x {report['dim']:,} {report['dtype']}, "
        f"{report['threads']} threads, {report['isa']}, median of {report['repeat']}",
        f"{'':16}{'ms':>10}{'GB/s':>10}{'GFLOP/s' * with_flops:>{10 * with_flops}}"
        f"{'time / gkl':>14}",
    ]
    for row in report["results"]:
        speeds = f"{row['bytes_per_second'] / 1e9:10.2f}"
        if with_flops:
            found = row.get("flops_per_second")
            speeds += f"{found / 1e9:10.2f}" if found else f"{'':10}"
        lines.append(f"{row['name']:16}{row['seconds'] * 1e3:10.2f}{speeds}{row['ratio']:14.2f}")
    if report["missing"]:
        lines.append(f"not installed: {', '.join(report['missing'])}")
    return "\n".join(lines)


def _is_full(work: str) -> bool:
    return work.endswith("cov")


def peers(work: str) -> dict[str, Peer]:
    """Who does a work, by name; gkl is the first."""
    return FULL if _is_full(work) else DIAG


def bytes_moved(work: str, arrays: Arrays) -> int:
    """Bytes read and written, each once."""
    read = sum(x.nbytes for x in arrays)
    return read + arrays[0].itemsize * len(arrays[0]) + read * work.startswith("grad")


def flops(work: str, rows: int, dim: int) -> float:
    """Operations of full covariances: d^3 a value (two Cholesky factorizations and a triangular
    solution), 8/3 d^3 for gradients beside it; 0 for diagonal ones, which memory bounds."""
    each = {"pair-cov": 1.0, "grad-cov": 11 / 3}
    return each.get(work, 0.0) * rows * dim**3


def inputs(work: str, rows: int, dim: int, dtype: str) -> Arrays:
    """Means and scales of p, and of q if the work has one."""
    rng = np.random.default_rng(0)

    def uniform(low: float, high: float) -> NDArray[Any]:
        x: NDArray[Any] = rng.random((rows, dim), dtype=DTYPES[dtype].type)
        x *= high - low
        x += low
        return x

    def scale() -> NDArray[Any]:
        if work.endswith("logvar"):
            return uniform(-1, 1)
        return _covariances(rng, rows, dim, dtype) if _is_full(work) else uniform(0.5, 2)

    one = [uniform(-1, 1), scale()]
    return one if work.startswith("unit") else [*one, uniform(-1, 1), scale()]


def _covariances(rng: np.random.Generator, rows: int, dim: int, dtype: str) -> NDArray[Any]:
    """A A^T / d + I/2 with normal A: unrelated, and of condition numbers below 10."""
    cov = np.empty((rows, dim, dim), DTYPES[dtype])
    step = max(1, (1 << 20) // dim**2)
    for start in range(0, rows, step):
        a = rng.standard_normal((min(step, rows - start), dim, dim), dtype=DTYPES[dtype].type)
        a /= np.sqrt(dim, dtype=a.dtype)
        np.matmul(a, a.swapaxes(-1, -2), out=cov[start : start + step])
    diagonal = np.einsum("nii->ni", cov)
    diagonal += 0.5
    return cov


def agree(calls: dict[str, Call], dtype: str) -> None:
    """See that every peer computes what gkl does; warms them up, too."""
    tolerance = 1e-4 if dtype == "f32" else 1e-9
    wanted = [np.asarray(x) for x in calls["gkl"]()]
    for name, call in calls.items():
        for x, y in zip(call(), wanted, strict=True):
            difference = float(np.max(np.abs(np.asarray(x) - y)))
            if not difference <= tolerance * (1 + float(np.max(np.abs(y)))):
                raise ValueError(f"{name} and gkl differ by {difference:.3g}, and should not")
