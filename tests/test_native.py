# SPDX-License-Identifier: BSD-3-Clause
"""The C core without Python: tests/native, compiled by the system's compiler and run."""

import os
import re
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor

import pytest
from helpers import in_checkout

ROOT = in_checkout("src_c").parent
SOURCES = [*sorted(ROOT.glob("src_c/*.c")), *sorted(ROOT.glob("tests/native/*.c"))]
FLAGS = [f"@{ROOT / 'src_c' / 'flags'}", "-Wall", "-Wextra", "-Wvla", "-Wshadow"]
SANITIZED = ["-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
CC = shutil.which(os.environ.get("CC", "cc"))

pytestmark = pytest.mark.skipif(CC is None, reason="there is no C compiler")


def compile_and_link(folder, flags):
    def compile_source(source):
        target = folder / f"{source.stem}.o"
        subprocess.run(
            [CC, *FLAGS, *flags, f"-I{ROOT / 'src_c'}", "-c", source, "-o", target], check=True
        )
        return target

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        objects = list(pool.map(compile_source, SOURCES))
    program = folder / "test_kernels"
    subprocess.run([CC, *flags, *objects, "-o", program, "-lm", "-lpthread"], check=True)
    return program


def builds(folder, flags):
    """Does the compiler have what these flags ask for?"""
    source = folder / "probe.c"
    source.write_text("int main(void) { return 0; }\n")
    command = [CC, *flags, source, "-o", folder / "probe"]
    return subprocess.run(command, capture_output=True).returncode == 0


@pytest.mark.parametrize(
    "flags",
    [
        pytest.param(["-O2"], id="plain"),
        pytest.param(SANITIZED, id="sanitized", marks=pytest.mark.slow),  # to compile
    ],
)
def test_kernels(tmp_path, flags):
    if not builds(tmp_path, flags):
        pytest.skip(f"{CC} has no {' '.join(flags)}")
    openmp = ["-fopenmp"] if builds(tmp_path, ["-fopenmp"]) else []
    program = compile_and_link(tmp_path, [*flags, *openmp])
    quick = {"GKL_TEST_QUICK": "1"} if flags is SANITIZED else {}
    run = subprocess.run([program], env=os.environ | quick, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr
    assert re.fullmatch(r"[1-9]\d* passed, 0 failed", run.stdout.splitlines()[-1])
