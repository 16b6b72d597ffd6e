# SPDX-License-Identifier: BSD-3-Clause
"""gkl nearest, run as a program: its results, and what becomes of them when it is killed."""

import fcntl
import json
import os
import shutil
import signal
import subprocess
import time

import numpy as np
import pytest
from gaussians import EVERY, gaussian
from program import prepared

import gkl
from gkl import search
from gkl.stored import DataError
from gkl.workfolder import WorkFolder

N, K, STEP = 60, 3, 7
SMALL = f"from gkl import search; search._block = lambda p, q: {STEP}"
SLOW = f"""{SMALL}
import time, gkl
fast = gkl.nearest
gkl.nearest = lambda p, *x, **y: (time.sleep(0.1 * (len(p) > 0)), fast(p, *x, **y))[1]"""
COMMAND = ("nearest", "p.npz", "q.npz", "-k", str(K), "--out", "nn.npz")
PART = "nn.npz.part"


def saved(folder, x, name):
    """An npz of the parameters, and an npy of each; the options that name these."""
    np.savez(folder / f"{name}.npz", **x.parameters)
    for parameter, values in x.parameters.items():
        np.save(folder / f"{name}_{parameter}.npy", values)
    return [y for x in x.parameters for y in (f"--{name}-{x}", f"{name}_{x}.npy")]


@pytest.fixture
def pair(tmp_path):
    """p and q, and what is nearest."""
    p, q = gaussian("logvar", (N,)), gaussian("var", (50,), seed=1)
    saved(tmp_path, p, "p")
    saved(tmp_path, q, "q")
    return gkl.nearest(p, q, K)


def same(folder, wanted):
    with np.load(folder / "nn.npz") as found:
        assert sorted(found.files) == ["divergence", "index"]
        for name, x in zip(("divergence", "index"), wanted, strict=True):
            assert found[name].dtype == x.dtype
            np.testing.assert_array_equal(found[name], x)
    assert not (folder / PART).exists()


def start(folder, command=COMMAND, statement=SLOW):
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen([*prepared(statement), *command], cwd=folder, **pipes)


def done(folder):
    file = folder / PART / "done.json"
    return json.loads(file.read_text())["rows"] if file.exists() else 0


def until(folder, process, rows=1):
    """Wait until so many rows are recorded."""
    while done(folder) < rows:
        assert process.poll() is None, process.communicate()
        time.sleep(0.005)


def killed(folder, rows=2 * STEP, number=signal.SIGKILL, **more):
    """So many rows and a signal later; how many are recorded."""
    process = start(folder, **more)
    until(folder, process, rows)
    process.send_signal(number)
    process.communicate()
    assert process.returncode == (-number if number == signal.SIGKILL else 128 + number)
    assert not (folder / "nn.npz").exists()
    return done(folder)


def resumed(folder, at, command=COMMAND):
    """The report of the run that goes on."""
    out, err = start(folder, (*command, "--json"), SMALL).communicate()
    assert err == f"gkl: {PART}: goes on from row {at} of {N}\n"
    report = json.loads(out)
    assert report["resumed_at"] == at
    return report


MIXED = [("var", "cov"), ("tril", "logvar"), ("low_rank", "precision")]


@pytest.mark.parametrize(
    ("kinds", "dtype"),
    [*(((x, x), np.float32) for x in EVERY), *((x, np.float64) for x in MIXED)],
)
def test_as_the_library(run, tmp_path, kinds, dtype):
    p, q = gaussian(kinds[0], (30,), dtype=dtype), gaussian(kinds[1], (40,), seed=1, dtype=dtype)
    ps, qs = saved(tmp_path, p, "p"), saved(tmp_path, q, "q")
    small = prepared(SMALL)
    for source in (["p.npz", "q.npz"], [*ps, *qs], ["p.npz", *qs], [*ps, "q.npz"]):
        command = ["nearest", *source, "-k", K, "--out", "nn.npz", "--json"]
        report = json.loads(run(*command, program=small))
        wanted = gkl.nearest(p, q, K)
        same(tmp_path, wanted)
        assert (report["count"], report["candidates"], report["bad"]) == (30, 40, 0)
        assert report["nearest"]["max"] == float(wanted[0][:, 0].max())
    run("nearest", *ps, "--exclude-self", "-k", K, "--out", "nn.npz", program=small)
    same(tmp_path, gkl.nearest(p, p, K, exclude_self=True))


@pytest.mark.parametrize("k", [20])
@pytest.mark.parametrize("metric", search.SEARCH_METRICS)
def test_metrics_and_self_among_ties(run, tmp_path, metric, k):
    mean = np.repeat(np.random.default_rng(0).normal(size=(6, 3)), 3, axis=0)
    p = gkl.DiagNormal(mean, var=np.ones(3))
    saved(tmp_path, p, "p")
    command = ["nearest", "p.npz", "--metric", metric, "-k", k, "--out", "nn.npz"]
    for own in (False, True):
        run(*command, *["--exclude-self"] * own, program=prepared(SMALL))
        same(tmp_path, gkl.nearest(p, p, k, metric=metric, exclude_self=own))


@pytest.mark.parametrize(("n", "m"), [(0, 4), (4, 0), (1, 1), (0, 0)])
def test_few_or_none(run, tmp_path, n, m):
    p, q = gaussian("std", (n,)), gaussian("cov", (m,))
    saved(tmp_path, p, "p")
    saved(tmp_path, q, "q")
    run(*COMMAND)
    same(tmp_path, gkl.nearest(p, q, K))


def test_summary_and_help(run, tmp_path, pair):
    text = run(*COMMAND)
    for words in ("p.npz", "q.npz", "60 x 50", "mean, logvar  (float64) and mean, var", "pairs/s"):
        assert words in text
    text = run("nearest", "--help")
    assert all(x in text for x in ("usage: gkl nearest", "--q-precision", "FILE.part"))


def test_killed_again_and_again(tmp_path):
    p = gaussian("cov", (N,))
    command = ("nearest", *saved(tmp_path, p, "p"), "--exclude-self", "--out", "nn.npz", "-k", "3")
    numbers = {1: signal.SIGKILL, 15: signal.SIGTERM, 29: signal.SIGKILL, 43: signal.SIGKILL}
    marks = [killed(tmp_path, rows, x, command=command) for rows, x in numbers.items()]
    assert [*marks, N] == sorted({*marks, N})
    resumed(tmp_path, marks[-1], command)
    same(tmp_path, gkl.nearest(p, p, K, exclude_self=True))


def test_killed_while_the_output_is_written(tmp_path, pair):
    write = (
        "import numpy, os; numpy.lib.format.write_array = lambda *a, **k: os.kill(os.getpid(), 9)"
    )
    process = start(tmp_path, statement=f"{SMALL}\n{write}")
    process.communicate()
    assert (process.returncode, (tmp_path / "nn.npz").exists()) == (-signal.SIGKILL, False)
    assert resumed(tmp_path, N)["pairs_per_second"] == 0
    same(tmp_path, pair)


def test_killed_before_the_first_block(run, tmp_path, pair):
    (tmp_path / PART).mkdir()
    for name in ("job.json", "index.npy", ".gkl-0.tmp"):
        (tmp_path / PART / name).write_text("{")
    run(*COMMAND)
    same(tmp_path, pair)


def test_a_second_process_refuses(run, tmp_path, pair):
    process = start(tmp_path)
    until(tmp_path, process)
    process.send_signal(signal.SIGSTOP)  # that it be at work for long enough
    try:
        assert f"{PART}: another process is at work" in run(*COMMAND, code=1)
    finally:
        process.send_signal(signal.SIGCONT)
    assert process.communicate()[1] == ""
    same(tmp_path, pair)


def test_the_lock_of_a_process_that_finishes_is_none(tmp_path, monkeypatch):
    one = WorkFolder(str(tmp_path / "x")).__enter__()
    flock = fcntl.flock

    def late(*args):
        monkeypatch.undo()
        one.remove()
        flock(*args)

    monkeypatch.setattr(fcntl, "flock", late)
    with WorkFolder(one.path), pytest.raises(DataError, match="at work"):
        WorkFolder(one.path).__enter__()
    assert os.listdir(tmp_path) == []


def test_what_has_changed(run, tmp_path, pair):
    at, state = killed(tmp_path), os.stat(tmp_path / "q.npz")
    for command, words in (
        ((*COMMAND, "-k", "4"), "run: k was 3 and is 4;"),
        ((*COMMAND, "--metric", "jeffreys"), "metric was kl and is jeffreys;"),
        (("nearest", "p.npz", "--out", "nn.npz"), "q.npz and is not given"),
        (COMMAND, "q.npz has changed since;"),
    ):
        if command is COMMAND:
            os.utime(tmp_path / "q.npz")
        message = run(*command, code=1, program=prepared(SMALL))
        assert words in message
        assert f"removing {PART} starts anew" in message
        assert done(tmp_path) == at
    os.utime(tmp_path / "q.npz", ns=(state.st_atime_ns, state.st_mtime_ns))
    resumed(tmp_path, at, (*COMMAND, "--threads", "1", "--on-error", "nan"))
    same(tmp_path, pair)


def test_a_mapped_file_that_changes_meanwhile(tmp_path, pair):
    q = ("--q-mean", "q_mean.npy", "--q-var", "q_var.npy")
    process = start(tmp_path, ("nearest", "p.npz", *q, "--out", "nn.npz"))
    until(tmp_path, process)
    os.utime(tmp_path / "q_var.npy")
    assert "q_var.npy: changed while it was read" in process.communicate()[1]
    assert (process.returncode, (tmp_path / "nn.npz").exists()) == (1, False)


@pytest.mark.parametrize("name", ["divergence.npy", "index.npy", "job.json", "done.json"])
@pytest.mark.parametrize("keep", [None, 0, 5, -1])
def test_damaged_folder(run, tmp_path, pair, name, keep):
    killed(tmp_path, STEP)
    file, small = tmp_path / PART / name, prepared(SMALL)
    whole = file.read_bytes()
    file.unlink()
    if keep is not None:
        file.write_bytes(whole[:keep])
    if keep is not None or name != "done.json":
        message = run(*COMMAND, code=1, program=small)
        assert f"damaged; removing {PART} starts anew" in message
        assert f"{PART}/{name}: " in message
        shutil.rmtree(tmp_path / PART)
    run(*COMMAND, program=small)
    same(tmp_path, pair)


@pytest.mark.parametrize("limit", [1500, 3000])
def test_full_disk(run, tmp_path, pair, limit):
    """Arrays of 1568 bytes: no room for one, or only for both apart."""
    (tmp_path / "nn.npz").write_text("precious")
    full = f"{SMALL}\nimport resource; resource.setrlimit(resource.RLIMIT_FSIZE, ({limit},) * 2)"
    message = run(*COMMAND, code=1, program=prepared(full))
    assert (tmp_path / "nn.npz").read_text() == "precious"
    assert (tmp_path / PART).exists() == (limit == 3000)
    if limit == 1500:
        assert "divergence.npy: " in message
    else:
        assert "nn.npz: cannot be written: " in message
        resumed(tmp_path, N)
        same(tmp_path, pair)


def test_bad_items(run, tmp_path):
    p, q = gaussian("var", (N,)), gaussian("cov", (50,), seed=1)
    p.var[[17, 40], 3] = -1
    saved(tmp_path, p, "p")
    saved(tmp_path, q, "q")
    message = run(*COMMAND, code=1, program=prepared(SMALL))
    assert "2 of 60 Gaussians are invalid; first: p.var[17, 3] = -1.0 is not positive" in message
    assert not (tmp_path / PART).exists()
    q.cov[9] = -1
    saved(tmp_path, q, "q")
    nan = (*COMMAND, "--on-error", "nan")
    at = killed(tmp_path, 3 * STEP, command=nan)
    assert "p.var[17, 3] = -1.0" in run(*COMMAND, code=1, program=prepared(SMALL))
    report = resumed(tmp_path, at, nan)
    assert (report["bad"], report["bad_candidates"]) == (2, 1)
    same(tmp_path, gkl.nearest(p, q, K, on_error="nan"))


@pytest.mark.parametrize(
    ("more", "code", "words"),
    [
        ((), 2, "either P or --p-mean"),
        (("--p-mean", "p_mean.npy", "q.npz"), 2, "wanted: --p-mean with"),
        (("p.npz", "--q-var", "q_var.npy"), 2, "wanted: --q-mean with"),
        (("p.npz", "q.npz", "--exclude-self"), 2, "--exclude-self goes without Q"),
        (("p.npz", "q.npz", "--metric", "renyi"), 2, "invalid choice"),
        (("p.npz", "q.npz", "--out", "q.npz"), 2, "--out is an input, too: q.npz"),
        (("p.npz", "none.npz"), 1, "none.npz: No such file"),
        (("p.npz", "--out", "no/nn.npz"), 1, "no/nn.npz.part: No such file"),
        (("p.npz", "--out", "/proc/nn.npz"), 1, "/proc/nn.npz.part: "),
        (("p.npz", "--out", "/dev/null"), 1, "not a regular file"),
        (("p.npz", "--out", "link"), 1, "link.part/lock: No such file"),
        (("p.npz", "wide.npz"), 1, "wide.npz: has d = 5, and p.npz d = 4"),
        (("deep.npz",), 1, "deep.npz: has the batch shape (2, 3), and one axis is wanted"),
        (("full.npz", "--metric", "hellinger"), 1, "is for diagonal Gaussians only"),
    ],
)
def test_refusals(run, tmp_path, pair, more, code, words):
    np.savez(tmp_path / "wide.npz", mean=np.zeros((3, 5)), var=1.0)
    np.savez(tmp_path / "deep.npz", mean=np.zeros((2, 3, 4)), var=1.0)
    np.savez(tmp_path / "full.npz", mean=np.zeros((3, 4)), cov=np.eye(4))
    (tmp_path / "link.part").symlink_to("nowhere")
    before = sorted(os.listdir(tmp_path))
    assert words in run("nearest", "--out", "nn.npz", *more, code=code)
    assert sorted(os.listdir(tmp_path)) == before
