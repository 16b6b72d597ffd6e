# SPDX-License-Identifier: BSD-3-Clause
"""The command ``gkl``: score files of Gaussians, search them, time the library, show its
configuration.

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
from collections.abc import Iterable, Sequence
from contextlib import redirect_stdout
from io import StringIO
from typing import NoReturn

import gkl
from gkl import bench, score, search
from gkl.errors import MATRICES
from gkl.formats import FORMATS, map_npy, read
from gkl.report import for_a_person
from gkl.stored import SCALES, STRUCTURES, Gaussians

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line, that of the process by default, and return the exit code."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # names of files may be beyond the encoding
            stream.reconfigure(errors="backslashreplace")
    if threading.current_thread() is threading.main_thread():
        for name in {"SIGTERM", "SIGHUP"} & set(dir(signal)):
            signal.signal(getattr(signal, name), lambda number, frame: sys.exit(128 + number))
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
    except (ImportError, ValueError) as error:  # wrong files, invalid Gaussians, no package
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

    scoring = commands.add_parser(
        "score",
        help="the KL divergence of every Gaussian in a file from a prior",
        description="KL(p || prior), in nats, of every Gaussian p of a file: diagonal (var, std, "
        "logvar), full (cov, tril, precision) or low rank (factor F and var: F F^T + diag(var)). "
        "The prior is N(0, I) unless the file or an option gives another, of any structure, "
        "shared or one for each item.",
        epilog="An .npz is loaded whole; all else is read in parts, along the first axis "
        "of the batch, and may exceed memory, but for the divergences and, of compressed Arrow, a "
        "record batch. "
        "Of cov, tril and precision the lower triangle alone is read.",
    )
    kinds = ", ".join(x.words.split()[-1].lstrip(".") for x in FORMATS.values())
    words = "file or folder with mean and one of var, std, logvar, cov, tril, precision, or "
    words += f"factor and var; perhaps the same with prior_ in front: {kinds}"
    scoring.add_argument("file", nargs="?", metavar="FILE", help=words)
    _add_parameters(scoring, "", "p")
    _add_parameters(scoring, "prior-", "the prior")
    words = "write the divergences there: NPY, or Parquet where the name ends in .parquet"
    scoring.add_argument("-o", "--output", metavar="OUT", help=words)
    words = "compute on a Dask cluster that sees the same files: of the scheduler at ADDRESS, or "
    words += "one of this machine's own; stands after FILE"
    scoring.add_argument("--dask", nargs="?", const="", metavar="ADDRESS", help=words)
    _add_common(scoring)
    scoring.set_defaults(command=lambda args: _score(scoring, args))

    nearest = commands.add_parser(
        "nearest",
        help="for every Gaussian of P the k of Q from which it diverges least",
        description="For every Gaussian of P the k of Q from which it diverges least, written to "
        "an npz with divergence and index, both (n, k): ascending; where there are fewer than k, "
        "NaN and -1. Without Q, that is P itself.",
        epilog="An .npz is loaded whole; .npy files are mapped, and may be larger than memory. "
        "What is done is kept in the folder FILE.part until FILE is whole: the same command "
        "goes on where a killed one stopped. --threads and --on-error may change between.",
    )
    words = "npz with mean and one of var, std, logvar, cov, tril, precision, or factor and var"
    nearest.add_argument("p", nargs="?", metavar="P", help=words)
    nearest.add_argument("q", nargs="?", metavar="Q", help="the same; not given: P")
    _add_parameters(nearest, "p-", "p")
    _add_parameters(nearest, "q-", "q")
    nearest.add_argument("-k", type=_count, default=10, help="how many (default: 10)")
    nearest.add_argument(
        "--metric", choices=search.SEARCH_METRICS, default="kl", help="(default: kl: KL(p || q))"
    )
    words = "a Gaussian is no neighbor of itself; without Q only"
    nearest.add_argument("--exclude-self", action="store_true", help=words)
    words = "write the neighbors there"
    nearest.add_argument("-o", "--out", metavar="FILE", required=True, help=words)
    _add_common(nearest)
    nearest.set_defaults(command=lambda args: _nearest(nearest, args))

    info = commands.add_parser("info", help="version, instruction sets, threads and libraries")
    info.add_argument("--json", action="store_true", help=json_words)
    info.set_defaults(command=_info)

    benching = commands.add_parser(
        "bench",
        help="time gkl beside NumPy and the peers installed here",
        description="Works: KL(p || q) by var, std, logvar or full cov, KL(p || N(0, I)), value "
        "and gradients.",
    )
    benching.add_argument(
        "--work", choices=tuple(bench.WORKS), default="pair-var", help="(default: pair-var)"
    )
    benching.add_argument("--rows", type=_count, help="Gaussians (default: 131072; of cov 4096)")
    benching.add_argument("--dim", type=_count, help="dimensions (default: 128; of cov 32)")
    benching.add_argument("--dtype", choices=("f32", "f64"), help="(default: f32; of cov f64)")
    benching.add_argument("--repeat", type=_count, default=7, help="rounds (default: 7)")
    benching.add_argument("--json", action="store_true", help=json_words)
    benching.set_defaults(command=_bench)
    return parser


def _add_parameters(parser: argparse.ArgumentParser, prefix: str, of: str) -> None:
    for name in ("mean", *SCALES):
        core = "d, r" if name == "factor" else "d, d" if name in MATRICES else "d"
        words = f"{name} of {of}, ({core}{',' * (core == 'd')}) or (..., {core})"
        parser.add_argument(f"--{prefix}{name}", metavar="NPY", help=words)


def _add_common(parser: argparse.ArgumentParser) -> None:
    words = "invalid Gaussians: fail (the default), or count them and write NaN"
    parser.add_argument("--on-error", choices=("raise", "nan"), default="raise", help=words)
    parser.add_argument("--threads", type=_count, metavar="N", help="threads (default: all)")
    parser.add_argument("--json", action="store_true", help="one JSON object for a program")


def _info(args: argparse.Namespace) -> str:
    if args.json:
        return json.dumps(gkl.show_config(mode="dicts"))
    with redirect_stdout(StringIO()) as text:
        gkl.show_config()
    return text.getvalue().rstrip()


def _bench(args: argparse.Namespace) -> str:
    report = bench.run(args.work, args.rows, args.dim, args.dtype, args.repeat)
    return json.dumps(report) if args.json else bench.table(report)


def _score(parser: _Parser, args: argparse.Namespace) -> str:
    begin = time.perf_counter()
    if args.dask is not None and args.threads:
        parser.error("--threads goes without --dask")
    p, q = _read(parser, args)
    report = score.score(p, q, args.output, args.on_error, args.threads, args.dask)
    report["seconds"] = time.perf_counter() - begin
    report["rows_per_second"] = report["count"] / report["seconds"]
    return json.dumps(report, allow_nan=False) if args.json else for_a_person(report)


def _read(parser: _Parser, args: argparse.Namespace) -> tuple[Gaussians, Gaussians | None]:
    """The Gaussians and the prior that the command line asks for."""
    own, prior = _given(parser, args, ""), _given(parser, args, "prior-")
    if bool(args.file) == bool(own):
        parser.error(f"wanted: either FILE or {_ways('--')}")
    _refuse_input(parser, "--output", args.output, (args.file, *own.values(), *prior.values()))
    if own:
        return map_npy(own), map_npy(prior) if prior else None
    p, q = read(args.file, with_prior=not prior)
    return p, map_npy(prior) if prior else q


def _nearest(parser: _Parser, args: argparse.Namespace) -> str:
    begin = time.perf_counter()
    own, other = _given(parser, args, "p-"), _given(parser, args, "q-")
    p_file, q_file = (None, args.p) if own and not args.q else (args.p, args.q)
    if bool(p_file) == bool(own):
        parser.error(f"wanted: either P or {_ways('--p-')}")
    if q_file and other:
        parser.error(f"wanted: either Q or {_ways('--q-')}")
    if args.exclude_self and (q_file or other):
        parser.error("--exclude-self goes without Q")
    files = {"P": p_file, "Q": q_file}
    files |= {f"p-{name}": path for name, path in own.items()}
    files |= {f"q-{name}": path for name, path in other.items()}
    _refuse_input(parser, "--out", args.out, files.values())
    inputs = search.state_of({name: path for name, path in files.items() if path})  # as of now
    p = _read_npz(p_file) if p_file else map_npy(own)
    q = map_npy(other) if other else _read_npz(q_file) if q_file else None
    report = search.search(
        p, q, inputs, args.out, args.k, args.metric, args.exclude_self, args.on_error, args.threads
    )
    report["seconds"] = time.perf_counter() - begin
    pairs = (report["count"] - report["resumed_at"]) * report["candidates"]
    report["pairs_per_second"] = pairs / report["seconds"]
    return json.dumps(report, allow_nan=False) if args.json else search.for_a_person(report)


def _read_npz(path: str) -> Gaussians:
    return read(path, with_prior=False, only=("npz",))[0]


def _given(parser: _Parser, args: argparse.Namespace, prefix: str) -> dict[str, str]:
    """The files of parameters that options name, in the order of `Gaussians`."""
    which = prefix.replace("-", "_")
    given = {name: path for name in ("mean", *SCALES) if (path := getattr(args, which + name))}
    if given and ("mean" not in given or tuple(given)[1:] not in STRUCTURES):
        parser.error(f"wanted: {_ways('--' + prefix)}")
    return given


def _refuse_input(
    parser: _Parser, option: str, output: str | None, inputs: Iterable[str | None]
) -> None:
    if output is None:
        return
    if not output:
        parser.error(f"{option} is empty")
    target = os.path.realpath(output)
    for path in filter(None, inputs):
        source = os.path.realpath(path)
        if os.path.isdir(source) and target.startswith(os.path.join(source, "")):
            parser.error(f"{option} is within an input: {path}")
        if os.path.exists(path) and os.path.exists(output) and os.path.samefile(path, output):
            parser.error(f"{option} is an input, too: {path}")


def _ways(which: str) -> str:
    """The options that make Gaussians."""
    ways = (" and ".join(which + name for name in names) for names in STRUCTURES)
    return f"{which}mean with one of {', '.join(ways)}"
