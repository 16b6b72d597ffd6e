# SPDX-License-Identifier: BSD-3-Clause
"""Build of the one extension, gkl._core; all that is static stands in pyproject.toml."""

import os
import re
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from glob import glob
from pathlib import Path

import numpy
from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.errors import CompileError, LinkError

# One rounding for each operation written, on every compiler: the bits of a result depend on it.
# -g0: the debugging information that CPython's own flags ask for is many times the code.
GNU_FLAGS = [*Path("src_c/flags").read_text().split(), "-O3", "-g0"]
GNU_WARNINGS = ["-Wall", "-Wextra", "-Wvla", "-Wshadow"]  # for our own C, not for Cython's
MSVC_FLAGS = ["/std:c11", "/O2", "/fp:precise"]

# (compile, link) flags, in the order in which they are tried
GNU_OPENMP = [(["-fopenmp"], ["-fopenmp"]), (["-Xpreprocessor", "-fopenmp"], ["-lomp"])]
MSVC_OPENMP = [(["/openmp"], [])]
OPENMP_PROGRAM = """
#include <omp.h>
int main(void) {
    int n = 0;
#pragma omp parallel reduction(+ : n)
    n += 1;
    return n > omp_get_max_threads();
}
"""


def openmp_flags(compiler, candidates):
    """The first flags with which the compiler in use builds and links a program, or none."""
    for compile_flags, link_flags in candidates:
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
    print("gkl: this compiler has no working OpenMP; gkl will use one thread")
    return [], []


class BuildExt(build_ext):
    """Flags for the compiler in use, and one compiler process a core."""

    def build_extensions(self):
        msvc = self.compiler.compiler_type == "msvc"
        flags = MSVC_FLAGS if msvc else GNU_FLAGS
        warnings = [] if msvc else GNU_WARNINGS
        compile_flags, link_flags = openmp_flags(
            self.compiler, MSVC_OPENMP if msvc else GNU_OPENMP
        )
        for extension in self.extensions:
            extension.extra_compile_args += flags + compile_flags
            extension.extra_link_args += link_flags
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
core.depends += files("src_c/**/*.h", "src_c/**/*.def")
core.depends += files("gkl/*.pyx", "gkl/*.pxi", "gkl/*.pxd", "gkl/*.h")

[version] = re.findall(r'define GKL_VERSION "(.*)"', Path("src_c/gkl.h").read_text())

setup(version=version, ext_modules=[core], cmdclass={"build_ext": BuildExt})
