# SPDX-License-Identifier: BSD-3-Clause
"""Build of the one extension, gkl._core; all that is static stands in pyproject.toml."""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from glob import glob
from pathlib import Path

import numpy
from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.errors import CompileError, LinkError, PlatformError

# One rounding for each operation written, on every compiler: the bits of a result depend on it.
# -g0: the debugging information that CPython's own flags ask for is many times the code.
GNU_FLAGS = [*Path("src_c/flags").read_text().split(), "-O3", "-g0"]
GNU_WARNINGS = ["-Wall", "-Wextra", "-Wvla", "-Wshadow"]  # for our own C, not for Cython's

# (compile, link) flags of gcc or clang and of Apple's clang, in the order in which they are tried.
# GKL_OPENMP=0 builds without OpenMP, 1 not without; else it is used where the compiler has it.
OPENMP = [(["-fopenmp"], ["-fopenmp"]), (["-Xpreprocessor", "-fopenmp"], ["-lomp"])]
OPENMP_PROGRAM = """
#include <omp.h>
int main(void) {
    int n = 0;
#pragma omp parallel reduction(+ : n)
    n += 1;
    return n > omp_get_max_threads();
}
"""


def openmp_flags(compiler, candidates=OPENMP):
    """The first flags with which the compiler in use builds and links a program, or none."""
    asked = os.environ.get("GKL_OPENMP", "")
    if asked not in ("", "0", "1"):
        raise PlatformError(f"GKL_OPENMP is 0, 1 or not set, not {asked!r}")
    for compile_flags, link_flags in candidates if asked != "0" else ():
        with tempfile.TemporaryDirectory() as folder:
            source = Path(folder, "openmp.c")
            source.write_text(OPENMP_PROGRAM)
            try:
                objects = compiler.compile(
                    [str(source)], output_dir=folder, extra_postargs=compile_flags
                )
                compiler.link_executable(
                    objects, "openmp", output_dir=folder, extra_postargs=link_flags
                )
            except (CompileError, LinkError):
                continue
            return compile_flags, link_flags
    if asked == "1":
        raise PlatformError("GKL_OPENMP is 1, and this compiler has no working OpenMP")
    print("gkl: built without OpenMP; it will use one thread")
    return [], []


def use_clang_cl(compiler):
    """Put clang-cl in the place of Microsoft's compiler, which does not know GNU C; give what to
    link: clang's own library, which asks the processor for its features."""
    clang = shutil.which("clang-cl")
    if clang is None:
        raise PlatformError("gkl is in GNU C: put LLVM's clang-cl on PATH, for cl cannot build it")
    if not compiler.initialized:
        compiler.initialize()
    compiler.cc = clang
    compiler.compile_options.remove("/GL")  # which it would warn of
    where = [clang, "/clang:-print-libgcc-file-name", "/clang:-rtlib=compiler-rt"]
    return subprocess.run(where, check=True, capture_output=True, text=True).stdout.strip()


# With these the linker adds what makes denormals 0 in the whole process that imports gkl.
FAST_MATH = ["-Ofast", "-ffast-math", "-funsafe-math-optimizations"]


class BuildExt(build_ext):
    """Flags for the compiler in use, and one compiler process a core."""

    def build_extensions(self):
        flags, warnings = GNU_FLAGS, GNU_WARNINGS
        if self.compiler.compiler_type == "msvc":
            flags, warnings = ([f"/clang:{x}" for x in some] for some in (flags, warnings))
            libraries, openmp = [use_clang_cl(self.compiler)], openmp_flags(self.compiler, [])
        else:
            libraries, openmp = [], openmp_flags(self.compiler)
            command = self.compiler.linker_so  # has CFLAGS, too
            self.compiler.linker_so = [x for x in command if x not in FAST_MATH]
        for extension in self.extensions:
            extension.extra_compile_args += flags + openmp[0]
            extension.extra_link_args += libraries + openmp[1]
        compile_one = self.compiler.compile

        def compile_all(sources, *args, extra_postargs=(), **kwargs):
            def compile_source(source):
                flags = [*extra_postargs, *(warnings if source.startswith("src_c") else [])]
                return compile_one([source], *args, extra_postargs=flags, **kwargs)

            with ThreadPoolExecutor(os.cpu_count()) as pool:
                return [o for objects in pool.map(compile_source, sources) for o in objects]

        self.compiler.compile = compile_all
        super().build_extensions()


def files(*patterns):
    return sorted(path for pattern in patterns for path in glob(pattern, recursive=True))


# A wheel for each CPython: in the limited API, which has no free threading and asks for 3.12,
# making a view takes 0.64 us, not 0.32, and the KL of one Gaussian 1.16 us, not 1.05.

# Cython copies the C files that it is told of to its build_dir: they are added afterwards.
[core] = cythonize(
    Extension(
        "gkl._core",
        ["gkl/_core.pyx"],
        include_dirs=["src_c", "gkl", numpy.get_include()],
        define_macros=[
            ("NPY_NO_DEPRECATED_API", "NPY_2_0_API_VERSION"),
            ("NPY_TARGET_VERSION", "NPY_2_0_API_VERSION"),
        ],
    ),
    build_dir="build/cython",
    compiler_directives={"language_level": 3},
)
core.sources += files("src_c/*.c")
if sys.platform == "linux":
    core.libraries += ["dl"]  # glibc before 2.34
core.depends += files("src_c/flags", "src_c/**/*.h", "src_c/**/*.def")
core.depends += files("gkl/*.pyx", "gkl/*.pxi", "gkl/*.pxd", "gkl/*.h")

[version] = re.findall(r'define GKL_VERSION "(.*)"', Path("src_c/gkl.h").read_text())

setup(version=version, ext_modules=[core], cmdclass={"build_ext": BuildExt})
