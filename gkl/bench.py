# SPDX-License-Identifier: BSD-3-Clause
"""``gkl bench``: gkl beside NumPy and whichever peers are installed, in one process.

A peer is a function (work, arrays) -> call; `call` does the work once and gives the value and, of
the work "grad", the gradients.  Peers take turns, so that whatever else the machine does meets
them all alike, and the median counts.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

import gkl

__all__ = ["run", "table"]

Call = Callable[[], Any]
Arrays = list[NDArray[Any]]
Peer = Callable[[str, Arrays], Call]

WORKS = {
    "kl-pair": "KL(p || q), variances",
    "kl-unit": "KL(p || N(0, I)), log-variances",
    "grad": "KL(p || q) and its four gradients, variances",
}


def run(work: str, rows: int, dim: int, dtype: str, repeat: int) -> dict[str, Any]:
    """Time a work in gkl and its peers, after a check that they agree.

    Parameters
    ----------
    work : {"kl-pair", "kl-unit", "grad"}
    rows, dim : int
        Size of the batch and dimension.
    dtype : {"f32", "f64"}
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
    arrays = _inputs(work, rows, dim, np.dtype(np.float32 if dtype == "f32" else np.float64))
    calls: dict[str, Call] = {}
    missing = []
    for name, peer in PEERS.items():
        try:
            calls[name] = peer(work, arrays)
        except (ImportError, OSError):  # not installed, or not for this machine
            missing.append(name)
    _agree(calls, 1e-4 if dtype == "f32" else 1e-9)

    read = sum(x.nbytes for x in arrays)
    written = arrays[0].itemsize * rows + (read if work == "grad" else 0)
    calls["read by NumPy"] = lambda: [np.add.reduce(x.reshape(-1)) for x in arrays]
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
        "bytes": {"read": read, "written": written},
        "results": [
            {
                "name": name,
                "seconds": median,
                "bytes_per_second": (read + written * (name in PEERS)) / median,
                "ratio": median / medians["gkl"],
            }
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
    lines = [
        f"{WORKS[report['work']]}: {report['rows']:,} x {report['dim']:,} {report['dtype']}, "
        f"{report['threads']} threads, {report['isa']}, median of {report['repeat']}",
        f"{'':16}{'ms':>10}{'GB/s':>10}{'time / gkl':>14}",
    ]
    for row in report["results"]:
        lines.append(
            f"{row['name']:16}{row['seconds'] * 1e3:10.2f}{row['bytes_per_second'] / 1e9:10.2f}"
            f"{row['ratio']:14.2f}"
        )
    if report["missing"]:
        lines.append(f"not installed: {', '.join(report['missing'])}")
    return "\n".join(lines)


def _inputs(work: str, rows: int, dim: int, dtype: np.dtype[Any]) -> Arrays:
    rng = np.random.default_rng(0)

    def uniform(low: float, high: float) -> NDArray[Any]:
        x: NDArray[Any] = rng.random((rows, dim), dtype=dtype)
        x *= high - low
        x += low
        return x

    if work == "kl-unit":
        return [uniform(-1, 1), uniform(-1, 1)]
    return [uniform(-1, 1), uniform(0.5, 2), uniform(-1, 1), uniform(0.5, 2)]


def _agree(calls: dict[str, Call], tolerance: float) -> None:
    """See that every peer computes what gkl does; warms them up, too."""
    wanted = [np.asarray(x) for x in calls["gkl"]()]
    for name, call in calls.items():
        for x, y in zip(call(), wanted, strict=True):
            difference = float(np.max(np.abs(np.asarray(x) - y)))
            if not difference <= tolerance * (1 + float(np.max(np.abs(y)))):
                raise ValueError(f"{name} and gkl differ by {difference:.3g}, and should not")


def _gkl(work: str, arrays: Arrays) -> Call:
    value = np.empty(len(arrays[0]), arrays[0].dtype)
    if work == "kl-unit":
        p = gkl.DiagNormal(arrays[0], logvar=arrays[1])
        return lambda: (gkl.kl(p, out=value),)
    p, q = gkl.DiagNormal(arrays[0], var=arrays[1]), gkl.DiagNormal(arrays[2], var=arrays[3])
    if work == "kl-pair":
        return lambda: (gkl.kl(p, q, out=value),)
    grads = [np.empty_like(x) for x in arrays]
    out = value, gkl.DiagNormal(grads[0], var=grads[1]), gkl.DiagNormal(grads[2], var=grads[3])

    def call() -> Any:
        gkl.kl_and_grad(p, q, out=out)
        return value, *grads

    return call


def _formula(work: str, arrays: Any, xp: Any) -> Any:
    """The usual formula, in the words of NumPy, torch or jax alike."""
    if work == "kl-unit":
        mean, logvar = arrays
        return (0.5 * (mean * mean + xp.exp(logvar) - 1 - logvar).sum(-1),)
    mean_p, var_p, mean_q, var_q = arrays
    delta, ratio = mean_p - mean_q, var_p / var_q
    value = 0.5 * (ratio + delta * delta / var_q - 1 - xp.log(ratio)).sum(-1)
    if work == "kl-pair":
        return (value,)
    slope, u = delta / var_q, ratio - 1
    return value, slope, 0.5 * u / var_p, -slope, -0.5 * (u + delta * slope) / var_q


def _numpy(work: str, arrays: Arrays) -> Call:
    return lambda: _formula(work, arrays, np)


def _numba(work: str, arrays: Arrays) -> Call:
    numba = import_module("numba")

    numba.set_num_threads(min(gkl.get_num_threads(), numba.config.NUMBA_NUM_THREADS))
    compiled = numba.njit(parallel=True, fastmath=True)
    prange = numba.prange
    half, one = arrays[0].dtype.type(0.5), arrays[0].dtype.type(1)  # or float64 it would be

    def unit(mean, logvar, value):  # type: ignore[no-untyped-def]
        for i in prange(mean.shape[0]):
            total = half - half
            for j in range(mean.shape[1]):
                m, y = mean[i, j], logvar[i, j]
                total += m * m + np.exp(y) - one - y
            value[i] = half * total

    def pair(mean_p, var_p, mean_q, var_q, value):  # type: ignore[no-untyped-def]
        for i in prange(mean_p.shape[0]):
            total = half - half
            for j in range(mean_p.shape[1]):
                delta, ratio = mean_p[i, j] - mean_q[i, j], var_p[i, j] / var_q[i, j]
                total += ratio + delta * delta / var_q[i, j] - one - np.log(ratio)
            value[i] = half * total

    def grad(mean_p, var_p, mean_q, var_q, value, g0, g1, g2, g3):  # type: ignore[no-untyped-def]
        for i in prange(mean_p.shape[0]):
            total = half - half
            for j in range(mean_p.shape[1]):
                delta, ratio = mean_p[i, j] - mean_q[i, j], var_p[i, j] / var_q[i, j]
                slope, u = delta / var_q[i, j], ratio - one
                m = delta * slope
                total += u + m - np.log(ratio)
                g0[i, j], g2[i, j] = slope, -slope
                g1[i, j] = half * u / var_p[i, j]
                g3[i, j] = -half * (u + m) / var_q[i, j]
            value[i] = half * total

    kernel = compiled({"kl-unit": unit, "kl-pair": pair, "grad": grad}[work])
    outputs = [np.empty(len(arrays[0]), arrays[0].dtype)]
    outputs += [np.empty_like(x) for x in arrays] if work == "grad" else []

    def call() -> Any:
        kernel(*arrays, *outputs)
        return outputs

    return call


def _torch(work: str, arrays: Arrays) -> Call:
    torch = import_module("torch")

    torch.set_num_threads(gkl.get_num_threads())
    tensors = [torch.from_numpy(x).requires_grad_(work == "grad") for x in arrays]

    def call() -> Any:
        if work != "grad":
            return _formula(work, tensors, torch)
        (value,) = _formula("kl-pair", tensors, torch)
        return value.detach(), *torch.autograd.grad(value.sum(), tensors)

    return call


def _jax(work: str, arrays: Arrays) -> Call:
    jax = import_module("jax")

    jax.config.update("jax_enable_x64", True)
    tensors = [jax.device_put(x, jax.devices("cpu")[0]) for x in arrays]
    compiled = jax.jit(lambda *tensors: _formula(work, tensors, jax.numpy))
    return lambda: jax.block_until_ready(compiled(*tensors))


PEERS: dict[str, Peer] = {
    "gkl": _gkl,
    "NumPy": _numpy,
    "numba": _numba,
    "torch": _torch,
    "jax": _jax,
}
