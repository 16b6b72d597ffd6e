# SPDX-License-Identifier: BSD-3-Clause
"""gkl from C, C++, Cython, numba and ONNX Runtime: the commands of docs/embedding.md, run."""

import ctypes
import importlib.util
import os
import re
import runpy
import shlex
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import numpy as np
import pytest
from helpers import in_checkout

import gkl
from gkl import _core, c_api

ROOT = in_checkout("src_c").parent
PAGE = (ROOT / "docs" / "embedding.md").read_text()
HEADER = (ROOT / "src_c" / "gkl.h").read_text()
COMPILERS = {"gcc": "g++", "clang": "clang++"}


def commands(section):
    """The commands of a section, each with what it prints or None."""
    [text] = re.findall(rf"^## {section}\n(.*?)(?=^## |\Z)", PAGE, re.S | re.M)
    blocks = re.findall(r"```sh\n(.*?)```(?:\n\n```text\n(.*?)```)?", text, re.S)
    return [(sh, printed or None) for sh, printed in blocks]


def test_the_readme_has_these_commands():
    install, program = commands("The C library")[0][0], commands(r"C and C\+\+")[0][0]
    assert f"```sh\n{install}{program}```" in (ROOT / "README.md").read_text()


@pytest.fixture(params=COMPILERS)
def compiler(request):
    if shutil.which(request.param) is None or shutil.which(COMPILERS[request.param]) is None:
        pytest.skip(f"there is no {request.param}")
    return request.param


@pytest.fixture
def shell(compiler, tmp_path):
    """A shell in a folder with copies of the sources, in which cc and c++ are the compiler."""
    built = shutil.ignore_patterns("build", "*.so", "__pycache__")
    for name in ("src_c", "examples", "gkl"):  # gkl/ as a clone has it, without the extension
        shutil.copytree(ROOT / name, tmp_path / name, ignore=built)
    (tmp_path / "bin").mkdir()
    for name, tool in (("cc", compiler), ("c++", COMPILERS[compiler]), ("python", sys.executable)):
        (tmp_path / "bin" / name).write_text(f'#!/bin/sh\nexec "{shutil.which(tool)}" "$@"\n')
        (tmp_path / "bin" / name).chmod(0o755)
    folders = [tmp_path / "bin", Path(sys.executable).parent, os.environ["PATH"]]
    environment = {
        **{x: y for x, y in os.environ.items() if x not in ("CC", "CXX", "PYTHONSAFEPATH")},
        "PATH": os.pathsep.join(map(str, folders)),
        "CC": "cc",
        "CFLAGS": "-O1",  # -O3 takes minutes
        "MAKEFLAGS": f"-j{os.cpu_count()}",
        # for Cython, also where pip has linked to the folder
        "PYTHONPATH": str(Path(gkl.__file__).parent.parent),
    }

    def run(command, printed=None, **more):
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", command],
            cwd=tmp_path, env=environment | more, text=True, capture_output=True,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        if printed is not None:
            assert done.stdout == printed
        return done.stdout

    return run


def symbols(shell, command):
    return {line.split()[-1] for line in shell(command).splitlines()}


def test_the_library(shell, compiler):
    """Built, installed, used by a C program and a C++ program; clang's is without OpenMP."""
    [(install, _), (one_line, _)] = commands("The C library")
    programs = commands(r"C and C\+\+")
    assert [printed is not None for _, printed in programs] == [True, True]
    openmp = {"gcc": "1", "clang": "0"}[compiler]
    shell(install, OPENMP=openmp)
    paths = install[install.index("export") :]
    static = "--define-variable=libdir=$PWD/static --static --libs"
    shell("mkdir static && cp prefix/lib/libgkl.a static")
    for command, printed in programs:
        shell(paths + command, printed)
        shell(paths + command.replace("--libs", static), printed)
        assert "libgkl" not in shell(f"ldd {command.split()[-1]}")
    check_company(shell, paths, *programs[0], static)

    declared = set(re.findall(r"^[a-z].*?\b(gkl_\w+)\(", HEADER, re.M)) - {"gkl_has_matrix"}
    assert len(declared) > 15
    assert symbols(shell, "nm -D --defined-only prefix/lib/libgkl.so") == declared
    shell("make -C src_c install DESTDIR=$PWD/stage PREFIX=/opt/gkl", OPENMP=openmp)
    installed = shell("cd stage && find . -type f -o -type l | sort").split()
    assert installed == [
        "./opt/gkl/include/gkl.h",
        "./opt/gkl/lib/libgkl.a",
        "./opt/gkl/lib/libgkl.so",
        f"./opt/gkl/lib/libgkl.so.{re.search('GKL_API_MAJOR (.*)', HEADER)[1]}",
        "./opt/gkl/lib/pkgconfig/gkl.pc",
    ]
    assert f"Version: {gkl.__version__}\n" in shell("cat stage/opt/gkl/lib/pkgconfig/gkl.pc")
    assert shell("cd src_c && ls -d build *.o *.so *.a 2>/dev/null || true") == "build\n"

    library = ctypes.CDLL(str(Path(shell("pwd").strip(), "prefix/lib/libgkl.so")))
    assert library.gkl_has_openmp() == int(openmp)
    check_library(library)

    if openmp == "0":
        one_line = one_line.replace("-fopenmp", "")
    shell(one_line.replace("-O3", "-fsyntax-only"))  # all of it takes a minute: one file,
    others = [x.stem for x in sorted(ROOT.glob("src_c/*.c")) if x.stem != "rows"]
    objects = " ".join(f"src_c/build/{x}.o" for x in others)  # and what make has compiled
    shell(one_line.replace("src_c/*.c", f"src_c/rows.c {objects}"))
    assert symbols(shell, "nm -D --defined-only libgkl.so") == declared
    assert "gkl_" not in shell("readelf -rW libgkl.so")  # it calls its own functions
    assert "NODELETE" in shell("readelf -dW libgkl.so")
    if importlib.util.find_spec("onnxruntime") and importlib.util.find_spec("onnx"):
        [(command, printed)] = commands("ONNX Runtime")
        shell(paths + command, printed)
        check_operator(Path(shell("pwd").strip()))


def check_company(shell, paths, command, printed, static):
    """Beside another gkl_run, inside another library, and after dlclose."""
    shell("printf 'int gkl_run(void) { return 2; }' > other.c")
    shell(paths + command.replace("program.c", "program.c other.c"), printed)
    build, _ = command.replace("--libs", static).split("\n", 1)
    shell(paths + build.replace("-o program", "-o inside.so -shared -fPIC"))
    assert symbols(shell, "nm -D --defined-only inside.so") == {"main"}
    unload = "import ctypes, _ctypes; _ctypes.dlclose(ctypes.CDLL('libgkl.so')._handle)"
    check = "assert 'libgkl.so' in open('/proc/self/maps').read()"
    shell(paths + f'python -c "{unload}; {check}"')
    moved = "pkg-config --define-variable=prefix=/other --libs --cflags gkl"
    assert set(shell(paths + moved).split()) == {"-I/other/include", "-L/other/lib", "-lgkl"}


def test_make_again(shell):
    """What was compiled with other flags is compiled again, and nothing else."""
    make, compiled = "make -C src_c build/emit.o", "-c emit.c"
    assert compiled in shell(make)
    assert compiled not in shell(make)
    assert compiled in shell(make, OPENMP="0")
    link, changed = "make -C src_c build/link && cat src_c/build/link", "-Wl,--as-needed"
    assert changed not in shell(link)
    assert changed in shell(link, LDFLAGS=changed)
    assert "build/link" in shell(
        "make -C src_c -n -p build/libgkl.so | grep '^build/libgkl.so[.]'"
    )


def test_a_relative_prefix(shell):
    shell("make -C src_c build/gkl.pc PREFIX=there/")
    folder = shell("pwd -P").strip()
    said = shell("PKG_CONFIG_PATH=src_c/build pkg-config --cflags --libs gkl").split()
    assert said == [f"-I{folder}/src_c/there/include", f"-L{folder}/src_c/there/lib", "-lgkl"]


def test_fast_math_is_switched_off(shell):
    """NaN is a result: no CFLAGS may take it away."""
    for asked in ("-Ofast", "-O2 -ffinite-math-only"):
        macros = shell(f"cc {asked} @src_c/flags -dM -E -x c /dev/null")
        assert "__FAST_MATH__" not in macros
        assert "__FINITE_MATH_ONLY__ 0" in macros


@pytest.mark.parametrize("flag", ["-Ofast", "-ffast-math", "-funsafe-math-optimizations"])
def test_fast_math_is_not_linked(shell, flag):
    """crtfastmath.o flushes denormals to zero in the whole process that loads the library."""
    for name in ("CFLAGS", "LDFLAGS"):
        [link] = shell(
            f"make -C src_c -n {name}='-O2 {flag}' | grep '^cc .* -shared '"
        ).splitlines()
        assert flag not in link.split()
        words = ["-###", *(x for x in link.split()[1:] if not x.endswith(".o")), "gkl.h"]
        assert "crtfastmath" not in shell(f"cd src_c && cc {shlex.join(words)} 2>&1")


def test_fast_math_is_not_linked_to_the_extension(monkeypatch):
    build = pytest.importorskip("Cython.Build")
    setuptools = pytest.importorskip("setuptools")
    from setuptools.command.build_ext import build_ext, customize_compiler, new_compiler

    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("CFLAGS", "-Ofast")
    monkeypatch.setenv("GKL_OPENMP", "0")
    monkeypatch.setattr(setuptools, "setup", lambda **kwargs: None)
    monkeypatch.setattr(build, "cythonize", lambda extension, **kwargs: [extension])
    monkeypatch.setattr(build_ext, "build_extensions", lambda self: None)
    command = runpy.run_path("setup.py")["BuildExt"](setuptools.Distribution())
    command.compiler, command.extensions = new_compiler(compiler="unix"), []
    customize_compiler(command.compiler)
    assert "-Ofast" in command.compiler.linker_so
    command.build_extensions()
    assert "-Ofast" not in command.compiler.linker_so


def check_library(library):
    """Against gkl.kl, with and without BLAS; the bits are those of Python on one ISA."""
    for function in ("gkl_kl_f64", "gkl_kl_f32"):
        getattr(library, function).argtypes = c_api.kl_f64.argtypes
        getattr(library, function).restype = ctypes.c_ssize_t
    assert library.gkl_use_isa(_core.isa().encode()) == 0
    rng = np.random.default_rng(0)
    mean, logvar = rng.normal(size=(2, 3000, 70)).astype(np.float32)
    kl = np.empty(3000, np.float32)
    bad = library.gkl_kl_f32(
        c_api.GKL_LOGVAR, c_api.GKL_UNIT, 3000, 70, mean.ctypes, logvar.ctypes, None, None,
        kl.ctypes,
    )  # fmt: skip
    assert bad == 0
    np.testing.assert_array_equal(kl, gkl.kl(gkl.DiagNormal(mean, logvar=logvar)))
    exact = np.exp(logvar.astype(float)) - 1 - logvar + mean.astype(float) ** 2
    np.testing.assert_allclose(kl, exact.sum(1) / 2, rtol=1e-6)

    d = 150
    mean, x = rng.normal(size=(2, 1, d)), rng.normal(size=(2, 1, d, 2 * d))
    cov = x @ x.swapaxes(-1, -2) / d
    p, q = (gkl.FullNormal(m, cov=c) for m, c in zip(mean, cov, strict=True))
    wanted = gkl.kl(p, q)
    for blas in (None, blas_of_scipy()):
        library.gkl_use_blas(blas and ctypes.byref(blas))
        kl = np.empty(1)
        operands = (x.ctypes for x in (mean[0], cov[0], mean[1], cov[1], kl))
        assert library.gkl_kl_f64(c_api.GKL_COV, c_api.GKL_COV, 1, d, *operands) == 0
        np.testing.assert_allclose(kl, wanted, rtol=1e-12)
    library.gkl_use_blas(None)


class Blas(ctypes.Structure):
    _fields_ = (
        ("ilp64", ctypes.c_int),
        *((x, ctypes.c_void_p * 2) for x in ("potrf", "trsm", "gemm")),
    )


def blas_of_scipy():
    api = ctypes.pythonapi
    api.PyCapsule_GetName.restype = ctypes.c_char_p
    api.PyCapsule_GetName.argtypes = [ctypes.py_object]
    api.PyCapsule_GetPointer.restype = ctypes.c_void_p
    api.PyCapsule_GetPointer.argtypes = [ctypes.py_object, ctypes.c_char_p]
    functions, blas = _core.scipy_blas(), Blas()
    blas.ilp64 = b"int64_t *" in api.PyCapsule_GetName(functions["dgemm"])
    for name, _ in Blas._fields_[1:]:
        for i, letter in enumerate("sd"):
            capsule = functions[letter + name]
            pointer = api.PyCapsule_GetPointer(capsule, api.PyCapsule_GetName(capsule))
            getattr(blas, name)[i] = pointer
    return blas


def check_operator(folder):
    spec = importlib.util.spec_from_file_location("model", folder / "examples/onnx/model.py")
    model = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(model)
    library = str(folder / "kl_operator.so")
    rng = np.random.default_rng(1)
    for dtype in (np.float32, np.float64):
        session = model.session(library, dtype)
        for shape in ((0, 4), (3, 0), (5, 1), (40, 300)):
            mean, logvar = rng.normal(size=(2, *shape)).astype(dtype)
            if len(mean) > 3:
                logvar[3, 0] = np.nan
            [kl] = session.run(None, {"mean": mean, "logvar": logvar})
            wanted = gkl.kl(gkl.DiagNormal(mean, logvar=logvar), on_error="nan")
            assert kl.dtype == dtype
            np.testing.assert_array_equal(kl, wanted)
        with pytest.raises(Exception, match="not of one shape"):
            session.run(None, {"mean": mean, "logvar": logvar[1:]})


def test_onnx_runtime_is_there():
    """test_the_library runs the operator if it is."""
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnx")


@pytest.mark.parametrize("standard", ["c11", "c++11", "c++17"])
def test_the_headers_are_pedantic(compiler, standard, tmp_path):
    include = ["-I", gkl.get_include(), "-isystem", sysconfig.get_path("include")]
    source = tmp_path / ("a.cpp" if "+" in standard else "a.c")
    for text in ("#include <gkl.h>\n", "#include <gkl_python.h>\n"):
        source.write_text(text)
        flags = [f"-std={standard}", "-Wall", "-Wextra", "-pedantic", "-Werror", *include]
        tool = COMPILERS[compiler] if "+" in standard else compiler
        subprocess.run([tool, *flags, "-c", source, "-o", tmp_path / "a.o"], check=True)


def test_enums_of_another_size_are_refused(shell):
    for tool in ("cc -std=c11 -x c", "c++ -std=c++11 -x c++"):
        said = shell(f"! {tool} -fshort-enums -fsyntax-only src_c/gkl.h 2>&1")
        assert "gkl_enums_are_as_large_as_int" in said


# importing it does not turn the GIL on, where it is off
NO_GIL = """
import sys, gkl
is_on = getattr(sys, "_is_gil_enabled", bool)
before = is_on()
import {}
assert is_on() == before"""


def test_an_extension_module(shell):
    [(command, printed)] = commands("An extension module of Python")
    shell(command, printed)
    python = "PYTHONPATH=prefix python -P -c"
    shell(f"{python} '{NO_GIL.format('capsule')}'")
    call = "import capsule; capsule.kl(bytes({}), bytes({}))"
    refused = f"! {python} '{call}' 2>&1 | tail -n 1"
    assert "not a Gaussian" in shell(refused.format(8, 8))
    assert "not of one length" in shell(refused.format(8, 16))
    assert "not of float64" in shell(refused.format(9, 9))
    said = shell(f"! {python} 'import capsule' 2>&1", GKL_ISA="none")
    assert "ImportError: GKL_ISA: 'none' is not" in said  # the cause, not only that it failed
    # without -P; -S: an editable installation would find the extension for this folder
    assert "its extension is not built here" in shell("! python -S -c 'import gkl' 2>&1")


@pytest.mark.parametrize(
    ("macro", "by", "advice"),
    [
        ("MINOR", 1, "pip install --upgrade gkl, or build it again"),
        ("MAJOR", 1, "pip install --upgrade gkl, or build it again"),
        ("MAJOR", -1, "build it again with the installed gkl"),
    ],
)
def test_a_module_of_another_interface_is_refused(shell, macro, by, advice):
    have = {x: int(re.search(f"GKL_API_{x} (.*)", HEADER)[1]) for x in ("MAJOR", "MINOR")}
    built = have | {macro: have[macro] + by}
    [(command, _)] = commands("An extension module of Python")
    compile_it = command[: command.rindex("PYTHONPATH")]
    defines = "".join(f"#undef GKL_API_{x}\n#define GKL_API_{x} {built[x]}\n" for x in built)
    other = f"printf '%s' '#include <gkl.h>\n{defines}' > other.h\n"
    said = shell(
        other
        + compile_it.replace("cc -O2", "cc -include other.h -O2").replace(
            "-shared", "-I$(python -P -c 'import gkl; print(gkl.get_include())') -shared"
        )
        + "! PYTHONPATH=prefix python -P -c 'import capsule' 2>&1"
    )
    versions = ["{MAJOR}.{MINOR}".format(**x) for x in (have, built)]
    assert said.splitlines()[-1].startswith(
        f"ImportError: gkl {gkl.__version__} is installed, which has C interface {versions[0]}; "
        f"this module was built against {versions[1]}: {advice}"
    )


def test_cython(shell):
    pytest.importorskip("Cython")
    [(command, printed)] = commands("Cython")
    shell(command, printed)
    path = "PYTHONPATH=examples/embedding:$PYTHONPATH"
    shell(f"{path} python -P -c '{NO_GIL.format('rows')}'")
    shell(
        f"{path} python -P -c '"
        "import numpy as np, rows, gkl, pytest\n"
        "mean, logvar = np.random.default_rng(0).normal(size=(2, 9, 100)).astype(np.float32)\n"
        "logvar[4] = np.inf\n"
        "out = np.empty(9, np.float32)\n"
        "assert rows.kl(mean, logvar, out) == 1\n"
        'wanted = gkl.kl(gkl.DiagNormal(mean, logvar=logvar), on_error="nan")\n'
        "np.testing.assert_array_equal(out, wanted)\n"
        "assert rows.kl(mean[:0], logvar[:0], out[:0]) == 0\n"
        "with pytest.raises(ValueError): rows.kl(mean, logvar[1:], out)'"
    )


def test_numba():
    pytest.importorskip("numba")
    [(command, printed)] = commands("numba, ctypes and cffi")
    done = subprocess.run(
        [sys.executable, *command.split()[1:]], cwd=ROOT, text=True, capture_output=True
    )
    assert (done.returncode, done.stderr, done.stdout) == (0, "", printed)


def test_include():
    assert {"gkl.h", "gkl_python.h"} <= set(os.listdir(gkl.get_include()))
    assert Path(gkl.get_include(), "gkl.h").read_text() == HEADER
    assert f'GKL_VERSION "{gkl.__version__}"' in HEADER
