# SPDX-License-Identifier: BSD-3-Clause
"""The command ``gkl``: score files of Gaussians, time the library, show its configuration.

Results go to stdout, progress and errors to stderr.  Exit codes: 0; 1 for the data (missing,
truncated, wrong, invalid Gaussians, a place that cannot be written); 2 for the command line; 130
and 143 for an interrupt and a termination.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import nullcontext, redirect_stdout
from heapq import nlargest
from io import StringIO
from math import prod
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

import gkl
from gkl.errors import by_name, first_reason
from gkl.io import SCALES, DataError, Gaussians, atomic_file, batch_shape, map_npy, read_npz

__all__ = ["main"]

CHUNK = 1 << 21  # elements of a parameter between two steps of the progress bar
LARGEST = 5  # items that the summary names


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line, that of the process by default, and return the exit code."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # names of files may be beyond the encoding
            stream.reconfigure(errors="backslashreplace")
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    try:
        args = _parser().parse_args(argv)
        report = args.command(args)
        try:
            print(report, flush=True)
        except BrokenPipeError:  # who reads has seen enough; the work is done
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except KeyboardInterrupt:
        print("gkl: interrupted", file=sys.stderr)
        return 130
    except OSError as error:
        name = f"{error.filename}: " if error.filename is not None else ""
        return _fail(name + (error.strerror or str(error)))
    except MemoryError as error:
        return _fail(f"not enough memory: {error}")
    except ValueError as error:  # files that are wrong, Gaussians that are invalid
        return _fail(str(error))
    return 0


def _fail(words: str) -> int:
    print("gkl: error:", " ".join(words.split()), file=sys.stderr)
    return 1


class _Parser(argparse.ArgumentParser):
    """Says what is wrong with a command line in one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"gkl: error: {message} (see {self.prog} --help)\n")


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"a number from 1 up is wanted, not {text!r}")
    return int(text)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="gkl", description="KL divergence between Gaussians, at memory speed.")
    json_words = "one JSON object for a program"
    parser.add_argument("--version", action="version", version=f"gkl {gkl.__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    score = commands.add_parser(
        "score",
        help="the KL divergence of every Gaussian in a file from a prior",
        description="KL(p || prior), in nats, of every diagonal Gaussian p of a file. The prior "
        "is N(0, I) unless the file or an option gives another, shared or one for each item.",
        epilog="An .npz is loaded whole; .npy files are mapped, and may be larger than memory.",
    )
    words = "npz with mean and one of var, std, logvar; perhaps the same with prior_ in front"
    score.add_argument("file", nargs="?", metavar="FILE", help=words)
    for who, of in (("", "p"), ("prior-", "the prior")):
        score.add_argument(f"--{who}mean", metavar="NPY", help=f"means of {of}, (d,) or (..., d)")
        scales = score.add_mutually_exclusive_group()
        for name in SCALES:
            scales.add_argument(f"--{who}{name}", metavar="NPY", help=f"{name} of {of}")
    score.add_argument("-o", "--output", metavar="NPY", help="write the divergences there")
    words = "invalid Gaussians: fail (the default), or count them and write NaN"
    score.add_argument("--on-error", choices=("raise", "nan"), default="raise", help=words)
    score.add_argument("--threads", type=_count, metavar="N", help="threads (default: all)")
    score.add_argument("--json", action="store_true", help=json_words)
    score.set_defaults(command=lambda args: _score(score, args))

    info = commands.add_parser("info", help="version, instruction sets, threads and libraries")
    info.add_argument("--json", action="store_true", help=json_words)
    info.set_defaults(command=_info)

    bench = commands.add_parser("bench", help="time gkl beside NumPy and the peers installed here")
    bench.add_argument("--rows", type=_count, default=131072, help="Gaussians (default: 131072)")
    bench.add_argument("--dim", type=_count, default=128, help="dimensions (default: 128)")
    bench.add_argument("--dtype", choices=("f32", "f64"), default="f32")
    bench.add_argument("--repeat", type=_count, default=7, help="rounds (default: 7)")
    bench.add_argument("--work", choices=("kl-pair", "kl-unit", "grad"), default="kl-pair")
    bench.add_argument("--json", action="store_true", help=json_words)
    bench.set_defaults(command=_bench)
    return parser


def _info(args: argparse.Namespace) -> str:
    if args.json:
        return json.dumps(gkl.show_config(mode="dicts"))
    with redirect_stdout(StringIO()) as text:
        gkl.show_config()
    return text.getvalue().rstrip()


def _bench(args: argparse.Namespace) -> str:
    from gkl import bench

    report = bench.run(args.work, args.rows, args.dim, args.dtype, args.repeat)
    return json.dumps(report) if args.json else bench.table(report)


def _score(parser: _Parser, args: argparse.Namespace) -> str:
    begin = time.perf_counter()
    p, q = _read(parser, args)
    count = prod(batch_shape(p, q))
    with atomic_file(args.output) if args.output else nullcontext() as file:
        values = _divergences(p, q, args.threads)
        seconds = time.perf_counter() - begin
        bad = np.isnan(values)
        n_bad = int(np.count_nonzero(bad))
        if n_bad and args.on_error == "raise":
            index = np.argwhere(bad)
            reason = first_reason(by_name(p, q), tuple(index[0]))
            raise gkl.InvalidGaussianError(reason, index, count)
        if file is not None:
            try:
                np.save(file, values, allow_pickle=False)
            except OSError as error:
                raise DataError(f"{args.output}: cannot be written: {error}") from None
    report = {
        "gkl": gkl.__version__,
        "source": p.source,
        "shape": list(values.shape),
        "count": count,
        "bad": n_bad,
        "dim": p.dim if p.shape or q is None else q.dim,
        "dtype": str(p.dtype),
        "parameter": p.parameter,
        "prior": _prior(q),
        "kl": _statistics(values[~bad] if n_bad else values.reshape(-1)),
        "largest": _largest(values),
        "output": args.output,
        "seconds": seconds,
        "rows_per_second": count / seconds,
    }
    return json.dumps(report, allow_nan=False) if args.json else _for_a_person(report)


def _read(parser: _Parser, args: argparse.Namespace) -> tuple[Gaussians, Gaussians | None]:
    """The Gaussians and the prior that the command line asks for."""
    options = {name: path for name, path in vars(args).items() if name.endswith(("mean", *SCALES))}
    own = {name: path for name, path in options.items() if path and not name.startswith("prior")}
    prior = {name[6:]: path for name, path in options.items() if path and name not in own}
    if bool(args.file) == bool(own):
        parser.error("wanted: either FILE or --mean with one of --var, --std, --logvar")
    for which, given in (("--", own), ("--prior-", prior)):
        if given and ("mean" not in given or len(given) != 2):
            names = ", ".join(which + name for name in SCALES)
            parser.error(f"{which}mean and one of {names} go together")
    if args.output and os.path.exists(args.output):
        for path in filter(None, (args.file, *options.values())):
            if os.path.exists(path) and os.path.samefile(path, args.output):
                parser.error(f"--output is an input, too: {path}")

    def mapped(given: dict[str, str]) -> Gaussians:
        (parameter,) = given.keys() - {"mean"}
        return map_npy(given["mean"], given[parameter], parameter)

    if own:
        return mapped(own), mapped(prior) if prior else None
    p, q = read_npz(args.file, with_prior=not prior)
    return p, mapped(prior) if prior else q


def _divergences(p: Gaussians, q: Gaussians | None, threads: int | None) -> NDArray[Any]:
    """KL(p || q) by chunks of the first batch axis, NaN for invalid Gaussians."""
    shape = batch_shape(p, q)
    ndim = len(shape)

    def divergence(start: int, stop: int, out: NDArray[Any] | None = None) -> NDArray[Any]:
        pair = p.rows(ndim, start, stop), None if q is None else q.rows(ndim, start, stop)
        return np.asarray(gkl.kl(*pair, out=out, on_error="nan", threads=threads))

    if not shape:
        return divergence(0, 0)
    values = np.empty(shape, divergence(0, 0).dtype)
    step = max(1, CHUNK // max(1, prod(shape[1:]) * p.dim))
    with _progress(shape[0]) as bar:
        for start in range(0, shape[0], step):
            stop = min(start + step, shape[0])
            divergence(start, stop, values[start:stop])
            if bar is not None:
                bar.update(stop - start)
    return values


def _progress(rows: int) -> Any:
    """A progress bar, where there are a terminal and tqdm to show it."""
    if sys.stderr is not None and sys.stderr.isatty():
        try:
            from tqdm import tqdm

            return tqdm(total=rows, unit=" rows", unit_scale=True, leave=False)
        except ImportError:
            pass
    return nullcontext()


def _number(x: Any) -> float | str | None:
    """A number as JSON has it: infinity, which it lacks, is the string "inf"."""
    return "inf" if np.isinf(x) else float(x)


def _statistics(values: NDArray[Any]) -> dict[str, float | str | None]:
    if not values.size:
        return dict.fromkeys(("mean", "median", "min", "max", "total"))
    with np.errstate(over="ignore", invalid="ignore"):
        total = values.sum(dtype=np.float64)
        middle = np.median(values)
    figures = (total / values.size, middle, values.min(), values.max(), total)
    return dict(zip(("mean", "median", "min", "max", "total"), map(_number, figures), strict=True))


def _largest(values: NDArray[Any]) -> list[dict[str, Any]]:
    flat = values.reshape(-1)
    best: list[tuple[Any, int]] = []  # value, minus the place: of equals the first comes first
    for start in range(0, flat.size, CHUNK):
        part = flat[start : start + CHUNK]
        part = np.where(np.isnan(part), -1, part)
        k = min(LARGEST, part.size)
        top = np.argpartition(part, -k)[-k:]
        best = nlargest(LARGEST, best + [(part[i], -start - int(i)) for i in top if part[i] >= 0])
    places = [[int(k) for k in np.unravel_index(-i, values.shape)] for _, i in best]
    return [
        {"index": at[0] if len(at) == 1 else at, "kl": _number(x)}
        for (x, _), at in zip(best, places, strict=True)
    ]


def _prior(q: Gaussians | None) -> dict[str, Any]:
    if q is None:
        return {"kind": "standard normal"}
    kind = "one for each item" if len(q.shape) > 1 and prod(q.shape[:-1]) != 1 else "shared"
    return {"kind": kind, "parameter": q.parameter, "shape": list(q.shape), "dtype": str(q.dtype)}


def _for_a_person(report: dict[str, Any]) -> str:
    def show(x: float | str | None) -> str:
        return "-" if x is None else f"{float(x):.6g}"

    prior, figures = report["prior"], report["kl"]
    prior_words = "N(0, I)"
    if "shape" in prior:
        prior_words = f"{prior['kind']}, {prior['parameter']}, {tuple(prior['shape'])}"
    bad = f"  ({report['bad']:,} invalid, NaN)" if report["bad"] else ""
    shape = f"  {tuple(report['shape'])}" if len(report["shape"]) != 1 else ""
    lines = {
        "source": report["source"],
        "Gaussians": f"{report['count']:,}{shape}{bad}",
        "dimensions": f"{report['dim']}",
        "parameters": f"mean, {report['parameter']}  ({report['dtype']})",
        "prior": prior_words,
        "KL, nats": "  ".join(f"{k} {show(figures[k])}" for k in ("mean", "median", "min", "max")),
        "total": show(figures["total"]),
        "largest": ", ".join(f"{show(x['kl'])} at {x['index']}" for x in report["largest"]) or "-",
        "elapsed": f"{report['seconds']:.3g} s, {report['rows_per_second']:,.0f} rows/s",
        "written": report["output"],
    }
    return "\n".join(f"{name:<11} {text}" for name, text in lines.items() if text is not None)
