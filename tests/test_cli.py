# SPDX-License-Identifier: BSD-3-Clause
"""The command line, run as a program: what it prints, writes, refuses and leaves behind."""

import importlib.util
import json
import os
import pickle
import signal
import subprocess
import sys
import termios
import time

import numpy as np
import pytest
from program import CLI, prepared, score

import gkl
from gkl import bench
from gkl import score as scoring
from gkl.io import atomic_file


@pytest.fixture
def batch():
    rng = np.random.default_rng(1)
    return (rng.normal(size=(1000, 8)).astype(np.float32) for _ in range(2))


@pytest.fixture
def saved(tmp_path, batch):
    """The parameters of a batch in a.npz, mean.npy and logvar.npy."""
    mean, logvar = batch
    np.savez(tmp_path / "a.npz", mean=mean, logvar=logvar, label=np.array(["x"] * 1000))
    np.save(tmp_path / "mean.npy", mean)
    np.save(tmp_path / "logvar.npy", logvar)
    return mean, logvar


# ---------------------------------------------------------------- what it computes


@pytest.mark.parametrize("source", [["a.npz"], ["--mean", "mean.npy", "--logvar", "logvar.npy"]])
def test_scores_are_those_of_the_library(run, saved, tmp_path, source):
    report = score(run, *source, "-o", "kl.npy")
    mean, logvar = saved
    wanted = gkl.kl(gkl.DiagNormal(mean, logvar=logvar))
    written = np.load(tmp_path / "kl.npy")
    assert written.dtype == np.float32
    np.testing.assert_array_equal(written, wanted)
    assert (report["count"], report["dim"], report["dtype"]) == (1000, 8, "float32")
    assert report["prior"] == {"kind": "standard normal"}
    assert report["bad"] == 0
    assert report["kl"]["min"] == float(wanted.min())
    assert report["kl"]["max"] == float(wanted.max())
    assert report["kl"]["median"] == float(np.median(wanted))
    assert report["kl"]["total"] == pytest.approx(wanted.sum(dtype=float), rel=1e-12)
    assert report["kl"]["mean"] == pytest.approx(wanted.mean(dtype=float), rel=1e-12)
    order = np.argsort(-wanted)[:5]
    assert [x["index"] for x in report["largest"]] == order.tolist()
    assert [x["kl"] for x in report["largest"]] == wanted[order].tolist()
    assert report["output"] == "kl.npy"
    assert report["seconds"] > 0
    assert report["rows_per_second"] > 0


def test_summary_for_a_person(run, saved):
    text = run("score", "a.npz")
    for words in ("1,000", "float32", "N(0, I)", "median", "total", "largest", "rows/s"):
        assert words in text


@pytest.mark.parametrize("kind", ["var", "std", "logvar"])
@pytest.mark.parametrize("whole", [False, True])
def test_prior_in_the_archive(run, tmp_path, batch, kind, whole):
    mean, other = batch
    rows = 1000 if whole else 1
    pm, ps = mean[::-1][:rows], np.exp(other[::-1][:rows] / 4)
    if not whole:
        pm, ps = pm[0], ps[0]
    prior = {"prior_mean": pm, f"prior_{kind}": ps}
    np.savez_compressed(tmp_path / "a.npz", mean=mean, std=np.exp(other / 2), **prior)
    report = score(run, "a.npz", "-o", "kl.npy")
    wanted = gkl.kl(gkl.DiagNormal(mean, std=np.exp(other / 2)), gkl.DiagNormal(pm, **{kind: ps}))
    np.testing.assert_array_equal(np.load(tmp_path / "kl.npy"), wanted)
    assert report["prior"]["kind"] == ("one for each item" if whole else "shared")
    assert report["prior"]["parameter"] == kind


def test_prior_by_option_goes_before_that_of_the_archive(run, saved, tmp_path):
    mean, logvar = saved
    np.savez(tmp_path / "b.npz", mean=mean, logvar=logvar, prior_mean=mean, prior_logvar=logvar)
    np.save(tmp_path / "pm.npy", mean[3])
    np.save(tmp_path / "pv.npy", np.exp(logvar[3]))
    assert score(run, "b.npz")["kl"]["max"] == 0
    option = ["--prior-mean", "pm.npy", "--prior-var", "pv.npy"]
    own = ["--mean", "mean.npy", "--logvar", "logvar.npy"]
    wanted = gkl.kl(
        gkl.DiagNormal(mean, logvar=logvar), gkl.DiagNormal(mean[3], var=np.exp(logvar[3]))
    )
    for source in (["b.npz"], own):
        score(run, *source, *option, "-o", "kl.npy")
        np.testing.assert_array_equal(np.load(tmp_path / "kl.npy"), wanted)


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", ">f8", "i8", "u1", "?"])
def test_real_types(run, tmp_path, dtype):
    mean = np.arange(60).reshape(20, 3).astype(dtype)
    var = np.ones((20, 3), dtype)
    np.save(tmp_path / "mean.npy", mean)
    np.save(tmp_path / "var.npy", var)
    score(run, "--mean", "mean.npy", "--var", "var.npy", "-o", "kl.npy")
    wanted = gkl.kl(gkl.DiagNormal(mean, var=var))
    written = np.load(tmp_path / "kl.npy")
    assert written.dtype == wanted.dtype
    np.testing.assert_array_equal(written, wanted)


@pytest.mark.parametrize(
    ("mean_shape", "var_shape"),
    [((4, 5, 3), (4, 5, 3)), ((3,), (3,)), ((7, 3), (3,)), ((3,), (7, 3)), ((7, 3), ()), ((), ())],
)
def test_shapes_broadcast_as_in_the_library(run, tmp_path, mean_shape, var_shape):
    rng = np.random.default_rng(2)
    mean, var = rng.normal(size=mean_shape), rng.random(var_shape) + 0.5
    np.savez(tmp_path / "a.npz", mean=mean, var=var)
    report = score(run, "a.npz", "-o", "kl.npy")
    wanted = np.asarray(gkl.kl(gkl.DiagNormal(mean, var=var)))
    np.testing.assert_array_equal(np.load(tmp_path / "kl.npy"), wanted)
    assert report["shape"] == list(wanted.shape)
    top = report["largest"][0]["index"]
    assert wanted[tuple(np.atleast_1d(top).astype(int))] == wanted.max()


def test_fortran_order(run, saved, tmp_path):
    mean, logvar = saved
    np.save(tmp_path / "mean.npy", np.asfortranarray(mean))
    score(run, "--mean", "mean.npy", "--logvar", "logvar.npy", "-o", "kl.npy")
    wanted = gkl.kl(gkl.DiagNormal(mean, logvar=logvar))
    np.testing.assert_array_equal(np.load(tmp_path / "kl.npy"), wanted)


@pytest.mark.parametrize("shape", [(0, 8), (0, 4, 8)])
def test_empty_batch(run, tmp_path, shape):
    np.savez(tmp_path / "a.npz", mean=np.zeros(shape, np.float32), var=np.ones(shape, np.float32))
    np.save(tmp_path / "x.npy", np.zeros(shape, np.float32))
    for source in (["a.npz"], ["--mean", "x.npy", "--logvar", "x.npy"]):
        report = score(run, *source, "-o", "kl.npy")
        assert report["count"] == 0
        assert report["kl"] == dict.fromkeys(("mean", "median", "min", "max", "total"))
        assert report["largest"] == []
        written = np.load(tmp_path / "kl.npy")
        assert written.shape == shape[:-1]
        assert written.dtype == np.float32
        assert "Gaussians   0" in run("score", *source)


def test_infinite_divergence_is_valid_json(run, tmp_path):
    np.savez(tmp_path / "a.npz", mean=np.full((3, 2), 1e30, np.float32), logvar=np.float32(0))
    report = score(run, "a.npz")
    assert report["kl"]["max"] == "inf"
    assert report["largest"][0]["kl"] == "inf"
    assert "inf" in run("score", "a.npz")


def test_chunks_cover_the_batch(run, tmp_path):
    rng = np.random.default_rng(3)
    mean = rng.normal(size=(70_000, 64)).astype(np.float16)
    assert mean.size > 2 * scoring.CHUNK
    np.save(tmp_path / "mean.npy", mean)
    np.save(tmp_path / "logvar.npy", mean[0])
    score(run, "--mean", "mean.npy", "--logvar", "logvar.npy", "-o", "kl.npy", "--threads", 1)
    wanted = gkl.kl(gkl.DiagNormal(mean, logvar=mean[0]))
    np.testing.assert_array_equal(np.load(tmp_path / "kl.npy"), wanted)


@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="peak memory is in /proc")
@pytest.mark.parametrize("name", ["mean", "cov"])
def test_memory_is_bounded(tmp_path, name):
    shape = (1 << 20, 128) if name == "mean" else (1 << 13, 128, 128)
    # 128 MB of zeros that the disk does not hold; 1 GB as float64
    np.lib.format.open_memmap(tmp_path / f"{name}.npy", mode="w+", dtype=np.int8, shape=shape)
    other = "var" if name == "mean" else "mean"
    np.save(tmp_path / f"{other}.npy", np.ones(128, np.float32))
    program = (
        "from gkl.cli import main; import sys; code = main(); "
        "peak = [x for x in open('/proc/self/status') if 'VmHWM' in x]; "
        "print(peak[0].split()[1], file=sys.stderr); sys.exit(code)"
    )
    source = ["score", f"--{name}", f"{name}.npy", f"--{other}", f"{other}.npy", "--json"]
    done = subprocess.run(
        [sys.executable, "-c", program, *source, "--on-error", "nan"],
        cwd=tmp_path, text=True, capture_output=True,
    )  # fmt: skip
    assert json.loads(done.stdout)["count"] == shape[0]
    assert int(done.stderr) < 600_000  # the mapped file is in it


# ---------------------------------------------------------------- Gaussians that are invalid


def test_bad_rows_beyond_the_first_chunk(run, tmp_path):
    mean = np.zeros((70_000, 64), np.float16)
    var = np.ones((70_000, 64), np.float16)
    var[69_999, 3] = -1
    var[65_537, 7] = 0
    mean[69_000, 1] = np.nan
    np.save(tmp_path / "mean.npy", mean)
    np.save(tmp_path / "var.npy", var)
    source = ["--mean", "mean.npy", "--var", "var.npy"]
    message = run("score", *source, "-o", "kl.npy", code=1)
    assert (
        "3 of 70000 Gaussians are invalid; first: p.var[65537, 7] = 0.0 is not positive" in message
    )
    assert not (tmp_path / "kl.npy").exists()

    report = score(run, *source, "-o", "kl.npy", "--on-error", "nan")
    assert report["bad"] == 3
    assert report["kl"]["max"] == 0
    written = np.load(tmp_path / "kl.npy")
    assert np.flatnonzero(np.isnan(written)).tolist() == [65_537, 69_000, 69_999]


def test_bad_rows_count_in_the_summary(run, saved, tmp_path):
    mean, logvar = saved
    mean[17, 3] = np.inf
    np.savez(tmp_path / "a.npz", mean=mean, logvar=logvar)
    message = run("score", "a.npz", code=1)
    assert "1 of 1000 Gaussians is invalid; first: p.mean[17, 3] = inf is not finite" in message
    assert "1 invalid" in run("score", "a.npz", "--on-error", "nan")
    report = score(run, "a.npz", "--on-error", "nan")
    assert report["count"] == 1000
    assert 17 not in [x["index"] for x in report["largest"]]


def test_all_bad(run, tmp_path):
    np.savez(tmp_path / "a.npz", mean=np.zeros((4, 2)), var=-np.ones((4, 2)))
    report = score(run, "a.npz", "--on-error", "nan")
    assert report["bad"] == 4
    assert report["kl"]["mean"] is None
    assert report["largest"] == []


def test_bad_prior(run, saved, tmp_path):
    mean, logvar = saved
    pv = np.ones(8)
    pv[5] = -2
    np.savez(tmp_path / "a.npz", mean=mean, logvar=logvar, prior_mean=pv, prior_var=pv)
    message = run("score", "a.npz", code=1)
    assert "1000 of 1000 Gaussians are invalid; first: q.var[5] = -2.0 is not positive" in message


def test_bad_item_of_a_deeper_batch(run, tmp_path):
    std = np.ones((4, 5, 3))
    std[2, 3, 1] = 0
    np.savez(tmp_path / "a.npz", mean=np.zeros((4, 5, 3)), std=std)
    assert "p.std[2, 3, 1] = 0.0 is not positive" in run("score", "a.npz", code=1)


# ---------------------------------------------------------------- files that are wrong


def archive(tmp_path, **members):
    np.savez(tmp_path / "x.npz", **members)
    return "x.npz"


ONES = np.ones((5, 3))


@pytest.mark.parametrize(
    ("members", "words"),
    [
        ({"logvar": ONES}, "x.npz: no mean"),
        ({"mean": ONES}, "it has none"),
        ({"mean": ONES, "var": ONES, "std": ONES}, "it has var and std"),
        ({"mean": ONES, "var": ONES, "prior_mean": ONES}, "it has none"),
        ({"mean": ONES, "var": ONES, "prior_std": ONES}, "no prior_mean"),
        ({"mean": ONES, "var": np.ones((5, 4))}, "shapes (5, 3) and (5, 4)"),
        ({"mean": ONES, "var": np.ones((4, 3))}, "shapes (5, 3) and (4, 3)"),
        (
            {"mean": ONES, "var": ONES, "prior_mean": np.ones(4), "prior_var": np.ones(4)},
            "shapes (5, 3) and (4,)",
        ),
        (
            {"mean": ONES, "var": ONES, "prior_mean": np.ones((6, 3)), "prior_var": np.ones(3)},
            "shapes (5, 3) and (6, 3)",
        ),
        ({"mean": ONES * 1j, "var": ONES}, "mean has dtype complex128"),
        ({"mean": ONES, "var": ONES.astype(str)}, "var has dtype <U"),
        ({"mean": ONES, "var": ONES.astype(np.longdouble)}, "var has dtype"),
        ({"mean": ONES, "var": ONES.astype("M8[s]")}, "var has dtype datetime64"),
        ({"mean": ONES, "var": np.ones((5, 3), "f4,f4")}, "var has dtype"),
        (
            {"mean": ONES, "var": ONES, "prior_mean": ONES, "prior_var": ONES * 1j},
            "prior_var has dtype complex128",
        ),
        ({"mean": np.array([[{}, 1, 2]] * 5), "var": ONES}, "pickle, which is never read"),
    ],
)
def test_wrong_archives(run, tmp_path, members, words):
    message = run("score", archive(tmp_path, **members), "-o", "kl.npy", code=1)
    assert words in message
    assert not (tmp_path / "kl.npy").exists()


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (ONES * 1j, "mean has dtype complex128"),
        (ONES.astype(str), "mean has dtype <U"),
        (ONES.astype(object), "pickle, which is never read"),
        (np.ones((5, 4)), "mean and var do not fit: shapes (5, 4) and (5, 3)"),
    ],
)
def test_wrong_arrays(run, tmp_path, array, words):
    np.save(tmp_path / "mean.npy", array)
    np.save(tmp_path / "var.npy", ONES)
    message = run("score", "--mean", "mean.npy", "--var", "var.npy", code=1)
    assert "mean.npy" in message
    assert words in message


@pytest.mark.parametrize("keep", [0, 5, 40, 200, 30_000, 64_000, -1])
def test_truncated_archive(run, saved, tmp_path, keep):
    whole = (tmp_path / "a.npz").read_bytes()
    (tmp_path / "a.npz").write_bytes(whole[:keep])
    assert "a.npz: " in run("score", "a.npz", "-o", "kl.npy", code=1)
    assert not (tmp_path / "kl.npy").exists()


@pytest.mark.parametrize("keep", [0, 5, 40, 200, 30_000, -1])
def test_truncated_array(run, saved, tmp_path, keep):
    whole = (tmp_path / "logvar.npy").read_bytes()
    (tmp_path / "logvar.npy").write_bytes(whole[:keep])
    message = run("score", "--mean", "mean.npy", "--logvar", "logvar.npy", code=1)
    assert "logvar.npy: " in message


@pytest.mark.parametrize("compressed", [False, True])
def test_damaged_archive(run, tmp_path, batch, compressed):
    mean, logvar = batch
    (np.savez_compressed if compressed else np.savez)(tmp_path / "a.npz", mean=mean, var=logvar)
    data = bytearray((tmp_path / "a.npz").read_bytes())
    data[len(data) // 2] ^= 0xFF
    (tmp_path / "a.npz").write_bytes(data)
    assert "a.npz: truncated or damaged" in run("score", "a.npz", code=1)


def test_header_that_announces_more_than_memory_holds(run, tmp_path):
    np.save(tmp_path / "x.npy", ONES)
    data = (tmp_path / "x.npy").read_bytes()
    lie = data.replace(b"(5, 3), }", b"(5, %d), }" % 10**16)[: len(data) + 16]
    (tmp_path / "x.npy").write_bytes(lie)
    run("score", "--mean", "x.npy", "--var", "x.npy", code=1)


def test_files_of_other_kinds(run, saved, tmp_path):
    (tmp_path / "p.npz").write_bytes(pickle.dumps({"mean": ONES, "var": ONES}))
    (tmp_path / "text.npz").write_text("mean,var\n0,1\n")
    (tmp_path / "folder").mkdir()
    assert "missing.npz: No such file" in run("score", "missing.npz", code=1)
    assert "folder: Is a directory" in run("score", "folder", code=1)
    assert "not an .npz archive" in run("score", "text.npz", code=1)
    assert "pickle" in run("score", "p.npz", code=1)
    assert "see --mean" in run("score", "mean.npy", code=1)
    assert "an .npz archive" in run("score", "--mean", "a.npz", "--var", "mean.npy", code=1)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_unreadable_file(run, saved, tmp_path):
    (tmp_path / "a.npz").chmod(0)
    assert "a.npz: Permission denied" in run("score", "a.npz", code=1)


# ---------------------------------------------------------------- places that cannot be written


def test_no_such_folder(run, saved):
    assert "no/kl.npy: No such file" in run("score", "a.npz", "-o", "no/kl.npy", code=1)
    assert "a.npz/kl.npy: Not a dir" in run("score", "a.npz", "-o", "a.npz/kl.npy", code=1)


def test_folder_that_cannot_be_written(run, saved):
    place = "/proc/kl.npy"  # not even for root
    if not os.path.isdir("/proc"):
        pytest.skip("no /proc")
    assert f"{place}: " in run("score", "a.npz", "-o", place, code=1)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_folder_without_permission(run, saved, tmp_path):
    (tmp_path / "locked").mkdir(mode=0o555)
    assert "Permission denied" in run("score", "a.npz", "-o", "locked/kl.npy", code=1)


def test_what_is_not_a_file_is_not_replaced(run, saved, tmp_path):
    (tmp_path / "folder").mkdir()
    assert "not a regular file" in run("score", "a.npz", "-o", "folder", code=1)
    os.mkfifo(tmp_path / "pipe")
    assert "not a regular file" in run("score", "a.npz", "-o", "pipe", code=1)


def test_failure_leaves_an_existing_file_as_it_was(run, saved, tmp_path):
    mean, logvar = saved
    logvar[3, 3] = np.nan
    np.savez(tmp_path / "bad.npz", mean=mean, logvar=logvar)
    (tmp_path / "kl.npy").write_text("precious")
    run("score", "bad.npz", "-o", "kl.npy", code=1)
    assert (tmp_path / "kl.npy").read_text() == "precious"
    run("score", "a.npz", "-o", "kl.npy")
    assert len(np.load(tmp_path / "kl.npy")) == 1000


def test_full_disk(run, tmp_path):
    np.savez(tmp_path / "a.npz", mean=np.zeros((100_000, 1)), var=np.ones(1))
    (tmp_path / "kl.npy").write_text("precious")

    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))"
    message = run("score", "a.npz", "-o", "kl.npy", code=1, program=prepared(limit))
    assert "kl.npy: " in message
    assert (tmp_path / "kl.npy").read_text() == "precious"


def test_output_keeps_links_and_permissions(run, saved, tmp_path):
    (tmp_path / "real.npy").write_text("")
    (tmp_path / "real.npy").chmod(0o600)
    (tmp_path / "kl.npy").symlink_to("real.npy")
    run("score", "a.npz", "-o", "kl.npy")
    assert (tmp_path / "kl.npy").is_symlink()
    assert len(np.load(tmp_path / "real.npy")) == 1000
    assert (tmp_path / "real.npy").stat().st_mode & 0o777 == 0o600


def test_atomic_file_in_python(tmp_path):
    place = tmp_path / "x"
    with pytest.raises(KeyboardInterrupt), atomic_file(place) as file:
        file.write(b"half")
        raise KeyboardInterrupt
    assert os.listdir(tmp_path) == []
    with atomic_file(place) as file:
        file.write(b"whole")
        assert not place.exists()
    assert os.listdir(tmp_path) == ["x"]
    assert place.read_bytes() == b"whole"


# ---------------------------------------------------------------- the command line itself


@pytest.mark.parametrize(
    "args",
    [
        [],
        ["no-such-command"],
        ["score"],
        ["score", "a.npz", "--no-such-option"],
        ["score", "a.npz", "--mean", "mean.npy", "--logvar", "logvar.npy"],
        ["score", "--mean", "mean.npy"],
        ["score", "--logvar", "logvar.npy"],
        ["score", "--mean", "mean.npy", "--var", "logvar.npy", "--logvar", "logvar.npy"],
        ["score", "--mean", "mean.npy", "--var", "logvar.npy", "--prior-mean", "mean.npy"],
        ["score", "a.npz", "--prior-var", "logvar.npy"],
        ["score", "a.npz", "--threads", "0"],
        ["score", "a.npz", "--threads", "two"],
        ["score", "a.npz", "--on-error", "ignore"],
        ["score", "a.npz", "-o", "a.npz"],
        ["score", "--mean", "mean.npy", "--logvar", "logvar.npy", "-o", "./mean.npy"],
        ["bench", "--work", "nothing"],
        ["bench", "--rows", "-1"],
        ["info", "extra"],
    ],
    ids=" ".join,
)
def test_wrong_command_lines(run, saved, tmp_path, args):
    before = (tmp_path / "a.npz").read_bytes()
    assert "--help)" in run(*args, code=2)
    assert (tmp_path / "a.npz").read_bytes() == before


def test_version_and_help(run):
    assert run("--version") == f"gkl {gkl.__version__}\n"
    for command in ([], ["score"], ["info"], ["bench"]):
        assert "usage: gkl" in run(*command, "--help")


def test_info(run):
    assert json.loads(run("info", "--json"))["gkl"]["version"] == gkl.__version__
    assert "ISA:" in run("info")


def test_no_progress_where_there_is_no_terminal(run, saved):
    run("score", "a.npz")  # the fixture sees that stderr stays empty


@pytest.mark.skipif(not importlib.util.find_spec("tqdm"), reason="tqdm draws the progress bar")
def test_progress_on_a_terminal(saved, tmp_path):
    ours, theirs = os.openpty()
    termios.tcsetwinsize(theirs, (24, 80))
    done = subprocess.run(
        [*CLI, "score", "a.npz", "--json"], cwd=tmp_path, stdout=subprocess.PIPE, stderr=theirs
    )
    os.set_blocking(ours, False)
    shown = os.read(ours, 10_000).decode()
    os.close(theirs)
    os.close(ours)
    assert "rows" in shown
    assert json.loads(done.stdout)["count"] == 1000


@pytest.mark.parametrize(
    ("number", "code", "words"),
    [(signal.SIGINT, 130, "gkl: interrupted\n"), (signal.SIGTERM, 143, "")],
)
def test_interrupt(tmp_path, number, code, words):
    np.lib.format.open_memmap(  # many gigabytes of zeros, of which the disk holds none
        tmp_path / "x.npy", mode="w+", dtype=np.float32, shape=(1 << 25, 128)
    )
    (tmp_path / "kl.npy").write_text("precious")
    # a test run in the background of a shell has interrupts ignored
    heed = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
    process = subprocess.Popen(
        [*prepared(heed), "score", "--mean", "x.npy", "--logvar", "x.npy", "-o", "kl.npy"],
        cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        while not list(tmp_path.glob(".gkl-*")):
            assert process.poll() is None, process.communicate()
            time.sleep(0.01)
        process.send_signal(number)
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
    (tmp_path / "x.npy").unlink()
    assert (process.returncode, out, err) == (code, "", words)
    assert sorted(os.listdir(tmp_path)) == ["kl.npy"]
    assert (tmp_path / "kl.npy").read_text() == "precious"


def test_reader_of_stdout_that_goes_away(saved, tmp_path):
    ours, theirs = os.pipe()
    os.close(ours)
    done = subprocess.run(
        [*CLI, "score", "a.npz", "-o", "kl.npy"],
        cwd=tmp_path, stdout=theirs, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    os.close(theirs)
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "kl.npy").exists()


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full")
def test_stdout_that_is_full(saved, tmp_path):
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [*CLI, "score", "a.npz"], cwd=tmp_path, stdout=full, stderr=subprocess.PIPE, text=True
        )
    assert (done.returncode, done.stderr) == (1, "gkl: error: No space left on device\n")


def test_names_beyond_the_encoding(tmp_path, saved, run):
    name = os.fsdecode(b"\xff\xc3\xa9.npz")
    try:
        os.rename(tmp_path / "a.npz", tmp_path / name)
    except OSError:
        pytest.skip("the file system has no such names")
    environment = {**os.environ, "LC_ALL": "C", "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    assert "1,000" in run("score", name, env=environment)
    source = json.loads(run("score", name, "--json", env=environment))["source"]
    assert source.encode(errors="surrogateescape") == os.fsencode(name)


@pytest.mark.parametrize("work", [x for x in bench.WORKS if not x.endswith("cov")])
@pytest.mark.parametrize("dtype", ["f32", "f64"])
def test_bench(work, dtype):
    report = bench.run(work, rows=300, dim=17, dtype=dtype, repeat=1)
    names = [row["name"] for row in report["results"]]
    assert names[:2] == ["gkl", "NumPy"]
    assert {*names, *report["missing"]} == {*bench.peers(work), "read by NumPy"}
    assert report["results"][0]["ratio"] == 1
    arrays = 2 if work == "unit-logvar" else 4
    assert report["bytes"]["read"] == arrays * 300 * 17 * int(dtype[1:]) // 8
    assert "GB/s" in bench.table(report)


def test_bench_as_a_program(run):
    size = ["--rows", "100", "--dim", "3", "--repeat", "1"]
    assert json.loads(run("bench", *size, "--json"))["rows"] == 100


def test_bench_sees_a_peer_that_is_wrong(monkeypatch):
    def wrong(work, arrays):
        return lambda: (np.zeros(len(arrays[0]), arrays[0].dtype),)

    monkeypatch.setitem(bench.DIAG, "zero", wrong)
    with pytest.raises(ValueError, match="zero and gkl differ"):
        bench.run("pair-var", rows=10, dim=3, dtype="f32", repeat=1)
