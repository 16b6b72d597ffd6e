# SPDX-License-Identifier: BSD-3-Clause
"""How fast ``gkl score`` goes through files, beside reading them and doing nothing else.

    python benchmarks/score_files.py [--gigabytes 4] [--rounds 5] [--folder /tmp]

writes a mean and a logvar of d = 128, float32, as two npy files of that size together.  Then, in
turn, each in a process of its own: a loop of readinto over both files into one buffer of 8 MB, and
gkl score, with and without -o; each from the disk (pages dropped by posix_fadvise beforehand) and
from the page cache.  Printed are the medians of the seconds that the work itself takes and of
those of the whole process, the rate of gkl as a share of that of readinto, and the peak of
resident memory.  Starting Python and gkl takes some 0.1 s, which the first figure leaves out.  The
files are removed at the end.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

D = 128
NAMES = ("mean", "logvar")
FILES = tuple(f"{name}.npy" for name in NAMES)
READ = """import sys, time
begin = time.perf_counter()
room = bytearray(1 << 23)
for path in sys.argv[1:]:
    with open(path, "rb", buffering=0) as file:
        while file.readinto(room):
            pass
seconds = time.perf_counter() - begin
"""
SCORE = """import io, json, sys
from contextlib import redirect_stdout
from gkl.cli import main
with redirect_stdout(io.StringIO()) as text:
    assert main(sys.argv[1:]) == 0
seconds = json.loads(text.getvalue())["seconds"]
"""
PEAK = """
print(seconds, next(x for x in open("/proc/self/status") if x.startswith("VmHWM")).split()[1])
"""
GKL = ("score", "--mean", FILES[0], "--logvar", FILES[1], "--json")
WORKS = {
    "readinto": (READ, FILES),
    "gkl score": (SCORE, GKL),
    "gkl score -o": (SCORE, (*GKL, "-o", "kl.npy")),
}


def main() -> None:
    parser = argparse.ArgumentParser(description="gkl score beside reading the same files")
    parser.add_argument("--gigabytes", type=float, default=4, help="of both files (4)")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder", default=tempfile.gettempdir())
    options = parser.parse_args()
    size = int(options.gigabytes * 1e9)
    if shutil.disk_usage(options.folder).free < 2 * size:
        parser.error(f"{options.folder} has not twice {options.gigabytes} GB to spare")
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        written = write(Path(folder), size // (2 * D * 4))
        print(f"{written / 1e9:.2f} GB, medians of {options.rounds}")
        print(f"{'':14}{'pages':>6}{'s':>9}{'GB/s':>8}{'of read':>9}{'process':>9}{'MB peak':>9}")
        for cold in (True, False):
            for line in measured(Path(folder), cold, options.rounds, written):
                print(line)


def write(folder: Path, rows: int) -> int:
    """Both files; how many bytes they have."""
    rng = np.random.default_rng(0)
    block = rng.standard_normal((1 << 14, D), dtype=np.float32)
    for path in FILES:
        array = np.lib.format.open_memmap(folder / path, "w+", np.float32, (rows, D))
        for start in range(0, rows, len(block)):
            part = array[start : start + len(block)]
            part[:] = np.roll(block, start // len(block), axis=1)[: len(part)]
        array.flush()
    return sum(os.path.getsize(folder / path) for path in FILES)


def measured(folder: Path, cold: bool, rounds: int, size: int) -> list[str]:
    """A line for each work."""
    found: dict[str, list[tuple[float, float, int]]] = {name: [] for name in WORKS}
    for _ in range(rounds):
        for name, (program, args) in WORKS.items():
            pages(folder, cold)
            begin = time.perf_counter()
            command = [sys.executable, "-P", "-c", program + PEAK, *args]
            done = subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True)
            seconds, peak = done.stdout.split()
            found[name].append((float(seconds), time.perf_counter() - begin, int(peak)))
    lines = []
    read = statistics.median(x[0] for x in found["readinto"])
    for name, times in found.items():
        own, process, peak = (statistics.median(x) for x in zip(*times, strict=True))
        where = "disk" if cold else "cache"
        lines.append(f"{name:14}{where:>6}{own:9.3f}{size / own / 1e9:8.2f}{read / own:9.2f}"
                     f"{process:9.3f}{peak / 1000:9.0f}")  # fmt: skip
    return lines


def pages(folder: Path, cold: bool) -> None:
    """Put the files out of the page cache, or into it."""
    for path in FILES:
        with open(folder / path, "rb", buffering=0) as file:
            if cold:
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            else:
                room = bytearray(1 << 23)
                while file.readinto(room):
                    pass


if __name__ == "__main__":
    main()
