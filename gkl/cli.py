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
from contextlib import redirect_stdout
from io import StringIO
from typing import NoReturn

import gkl
from gkl import bench, score
from gkl.errors import MATRICES
from gkl.io import map_npy, read_npz
from gkl.stored import SCALES, STRUCTURES, Gaussians

__all__ = ["main"]


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

    scoring = commands.add_parser(
        "score",
        help="the KL divergence of every Gaussian in a file from a prior",
        description="KL(p || prior), in nats, of every Gaussian p of a file: diagonal (var, std, "
        "logvar), full (cov, tril, precision) or low rank (factor F and var: F F^T + diag(var)). "
        "The prior is N(0, I) unless the file or an option gives another, of any structure, "
        "shared or one for each item.",
        epilog="An .npz is loaded whole; .npy files are mapped, and may be larger than memory. "
        "Of cov, tril and precision the lower triangle alone is read.",
    )
    words = "npz with mean and one of var, std, logvar, cov, tril, precision, or factor and var; "
    words += "perhaps the same with prior_ in front"
    scoring.add_argument("file", nargs="?", metavar="FILE", help=words)
    for who, of in (("", "p"), ("prior-", "the prior")):
        for name in ("mean", *SCALES):
            core = "d, r" if name == "factor" else "d, d" if name in MATRICES else "d"
            words = f"{name} of {of}, ({core}{',' * (core == 'd')}) or (..., {core})"
            scoring.add_argument(f"--{who}{name}", metavar="NPY", help=words)
    scoring.add_argument("-o", "--output", metavar="NPY", help="write the divergences there")
    words = "invalid Gaussians: fail (the default), or count them and write NaN"
    scoring.add_argument("--on-error", choices=("raise", "nan"), default="raise", help=words)
    scoring.add_argument("--threads", type=_count, metavar="N", help="threads (default: all)")
    scoring.add_argument("--json", action="store_true", help=json_words)
    scoring.set_defaults(command=lambda args: _score(scoring, args))

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
    p, q = _read(parser, args)
    report = score.score(p, q, args.output, args.on_error, args.threads)
    report["seconds"] = time.perf_counter() - begin
    report["rows_per_second"] = report["count"] / report["seconds"]
    return json.dumps(report, allow_nan=False) if args.json else score.for_a_person(report)


def _read(parser: _Parser, args: argparse.Namespace) -> tuple[Gaussians, Gaussians | None]:
    """The Gaussians and the prior that the command line asks for."""
    own, prior = (
        {name: path for name in ("mean", *SCALES) if (path := getattr(args, which + name))}
        for which in ("", "prior_")
    )
    if bool(args.file) == bool(own):
        parser.error(f"wanted: either FILE or {_ways('--')}")
    for which, given in (("--", own), ("--prior-", prior)):
        if given and ("mean" not in given or tuple(given)[1:] not in STRUCTURES):
            parser.error(f"wanted: {_ways(which)}")
    if args.output and os.path.exists(args.output):
        for path in filter(None, (args.file, *own.values(), *prior.values())):
            if os.path.exists(path) and os.path.samefile(path, args.output):
                parser.error(f"--output is an input, too: {path}")
    if own:
        return map_npy(own), map_npy(prior) if prior else None
    p, q = read_npz(args.file, with_prior=not prior)
    return p, map_npy(prior) if prior else q


def _ways(which: str) -> str:
    """The options that make Gaussians."""
    ways = (" and ".join(which + name for name in names) for names in STRUCTURES)
    return f"{which}mean with one of {', '.join(ways)}"
