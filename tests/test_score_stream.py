# SPDX-License-Identifier: BSD-3-Clause
"""gkl score goes through files by chunks: what it computes, writes and holds meanwhile."""

import json
import os
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from files import NEEDS, SUFFIXES, TABLES, save
from gaussians import EVERY, gaussian
from program import prepared, score

import gkl
from gkl import formats
from gkl import score as scoring
from gkl.formats.raw import Raw
from gkl.stored import DataError

KINDS = tuple(SUFFIXES)
SMALL = "from gkl import score; score.CHUNK = 100"


def in_files(folder, x, prefix=""):
    """Options that name npy files of the parameters."""
    for name, values in x.parameters.items():
        np.save(folder / f"{prefix}{name}.npy", values)
    return [y for name in x.parameters for y in (f"--{prefix}{name}", f"{prefix}{name}.npy")]


def mapped(folder, x):
    in_files(folder, x)
    return formats.map_npy({name: str(folder / f"{name}.npy") for name in x.parameters})


@pytest.mark.parametrize("rows", [1, 5, 22, 23, 24])
@pytest.mark.parametrize("kind", KINDS)
def test_chunks_that_do_not_divide(tmp_path, monkeypatch, kind, rows):
    p, q = gaussian("logvar", (23,)), gaussian("cov", (23,), seed=1)
    arrays = {**p.parameters, **{f"prior_{name}": x for name, x in q.parameters.items()}}
    found = formats.read(str(tmp_path / save(tmp_path, kind, arrays, rows=4)))
    monkeypatch.setattr(scoring, "CHUNK", rows * 20)  # numbers of q
    np.testing.assert_array_equal(scoring.divergences(*found, None), gkl.kl(p, q))


@pytest.mark.parametrize("parameter", EVERY)
@pytest.mark.parametrize("order", ["C", "F"])
def test_npy_files_by_chunks(tmp_path, monkeypatch, parameter, order):
    p = gaussian(parameter, (23,), dtype=np.float32)
    p = p.like([np.asarray(x, order=order) for x in p.parameters.values()])
    monkeypatch.setattr(scoring, "CHUNK", 100)
    blocks = []
    found = scoring.divergences(mapped(tmp_path, p), None, None, lambda x: blocks.append(x.copy()))
    np.testing.assert_array_equal(found, gkl.kl(p))
    np.testing.assert_array_equal(np.concatenate(blocks), found)
    assert len(blocks) > 1


@pytest.mark.parametrize("kind", [None, *KINDS])
def test_the_first_bad_item_of_many_chunks(run, tmp_path, kind):
    p, q = gaussian("var", (200,)), gaussian("precision", (200,), seed=1)
    p.mean[[155, 170], 2] = np.inf
    q.precision[181] = -np.eye(4)
    arrays = {**p.parameters, **{f"prior_{name}": x for name, x in q.parameters.items()}}
    source = in_files(tmp_path, p) + in_files(tmp_path, q, "prior-")
    source = [save(tmp_path, kind, arrays)] if kind else source
    message = run("score", *source, "-o", "kl.npy", code=1, program=prepared(SMALL))
    assert "3 of 200 Gaussians are invalid; first: p.mean[155, 2] = inf is not finite" in message
    assert not (tmp_path / "kl.npy").exists()
    nan = ("--on-error", "nan")
    run("score", *source, "-o", "kl.npy", *nan, program=prepared(SMALL))
    written = np.load(tmp_path / "kl.npy")
    assert np.flatnonzero(np.isnan(written)).tolist() == [155, 170, 181]


def test_a_file_that_is_cut_meanwhile(tmp_path, monkeypatch):
    found = mapped(tmp_path, gaussian("var", (200,)))
    monkeypatch.setattr(scoring, "CHUNK", 100)
    os.truncate(tmp_path / "var.npy", 200)
    with pytest.raises(DataError, match=r"var\.npy: truncated while it was read"):
        scoring.divergences(found, None, None)


def test_errors_of_the_reader_arrive(tmp_path, monkeypatch):
    """Whatever it raises, with the thread gone."""
    found = mapped(tmp_path, gaussian("var", (200,)))
    monkeypatch.setattr(scoring, "CHUNK", 100)
    read = Raw.read
    for error, raised in {OSError: DataError, MemoryError: DataError,
                          KeyboardInterrupt: KeyboardInterrupt}.items():  # fmt: skip

        def fail(self, start, stop, room, error=error):
            if start > 50:
                raise error
            return read(self, start, stop, room)

        monkeypatch.setattr(Raw, "read", fail)
        with pytest.raises(raised):
            scoring.divergences(found, None, None)
        assert not [x for x in threading.enumerate() if x.name.startswith("gkl-read")]


def test_reading_and_computing_overlap(tmp_path, monkeypatch):
    """The next chunk is read before this one is computed, and to another place."""
    found = mapped(tmp_path, gaussian("var", (40,)))
    monkeypatch.setattr(scoring, "CHUNK", 80)  # ten rows
    begun, kl = [threading.Event() for _ in range(4)], gkl.kl
    read = Raw.read
    places = []

    def watched_read(self, start, stop, room):
        if self.shape == (40, 4) and room is not None:
            begun[start // 10].set()
            places.append(room.__array_interface__["data"][0])
        return read(self, start, stop, room)

    def watched_kl(p, q, **options):
        row = np.flatnonzero((x == p.mean[0]).all(1))[0]
        if row < 30:
            assert begun[row // 10 + 1].wait(30)
        return kl(p, q, **options)

    x = np.load(tmp_path / "mean.npy")
    monkeypatch.setattr(Raw, "read", watched_read)
    monkeypatch.setattr(gkl, "kl", watched_kl)
    scoring.divergences(found, None, None)
    assert all(x.is_set() for x in begun)
    assert len(set(places)) == 4  # two of the mean, two of the variance
    assert places[:4] == places[4:]


# ---------------------------------------------------------------- the output


def parquet(path):
    return pytest.importorskip("pyarrow.parquet").read_table(path).column("kl")


@pytest.mark.parametrize("shape", [(), (1,), (23,), (0,), (9, 3), (4, 3, 2)])
def test_parquet(run, tmp_path, shape):
    pytest.importorskip("pyarrow")
    p = gaussian("logvar", shape, dtype=np.float32)
    np.savez(tmp_path / "x.npz", **p.parameters)
    report = score(run, "x.npz", "-o", "kl.parquet")
    wanted = np.atleast_1d(gkl.kl(p))
    found = parquet(tmp_path / "kl.parquet")
    assert found.to_pylist() == wanted.tolist()
    assert found.null_count == 0
    assert report["shape"] == list(shape)


def test_row_groups_as_results_come(run, tmp_path):
    pq = pytest.importorskip("pyarrow.parquet")
    p = gaussian("logvar", (230,))
    p.mean[7] = np.nan
    small = f"{SMALL}; from gkl.formats import parquet; parquet.ROW_GROUP = 50"
    run("score", *in_files(tmp_path, p), "-o", "kl.parquet", "--on-error", "nan",
        program=prepared(small))  # fmt: skip
    with pq.ParquetFile(tmp_path / "kl.parquet") as file:
        groups = [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)]
    assert groups == [60, 60, 60, 50]  # 12 rows a chunk
    found = parquet(tmp_path / "kl.parquet").to_numpy()
    np.testing.assert_array_equal(found, gkl.kl(p, on_error="nan"))


@pytest.mark.parametrize("name", ["kl.npy", "kl.parquet"])
def test_a_full_disk_and_a_bad_item(run, tmp_path, name):
    pytest.importorskip("pyarrow")
    np.savez(tmp_path / "x.npz", mean=np.random.default_rng(0).normal(size=(100_000, 1)), var=1.0)
    (tmp_path / name).write_text("precious")
    full = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))"
    message = run("score", "x.npz", "-o", name, code=1, program=prepared(full))
    assert f"{name}: " in message
    np.savez(tmp_path / "x.npz", mean=np.zeros((9, 3)), var=0.0)
    assert "9 of 9 Gaussians are invalid" in run("score", "x.npz", "-o", name, code=1)
    assert (tmp_path / name).read_text() == "precious"


def test_parquet_without_its_package(run, tmp_path):
    np.savez(tmp_path / "x.npz", mean=np.zeros((9, 3)), var=1.0)
    without = prepared("import sys; sys.modules['pyarrow'] = None")
    message = run("score", "x.npz", "-o", "kl.parquet", code=1, program=without)
    assert "kl.parquet: wants pyarrow, which is not installed: pip install 'gkl[arrow]'" in message


# ---------------------------------------------------------------- memory, and an interrupt

PEAK = """from gkl.cli import main; import sys; code = main()
peak = next(x for x in open('/proc/self/status') if 'VmHWM' in x)
print(peak.split()[1], file=sys.stderr); sys.exit(code)"""


def peak(folder, *args):
    """Kilobytes of memory that gkl score held at most."""
    done = subprocess.run([sys.executable, "-c", PEAK, "score", *args, "--json"], cwd=folder,
                          text=True, capture_output=True)  # fmt: skip
    assert done.returncode == 0, done.stderr
    return int(done.stderr)


@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="peak memory is in /proc")
@pytest.mark.parametrize("kind", ["npy", "npy, F", *(x for x in KINDS if x != "npz")])
def test_memory_is_bounded(tmp_path, kind):
    """Half a gigabyte and an eighth of that take the same, but for a few chunks and the values."""
    found = []
    for rows in (1 << 16, 1 << 19):
        x = np.zeros((rows, 128), np.float32)
        if kind.startswith("npy"):
            np.save(tmp_path / "x.npy", np.asfortranarray(x) if "F" in kind else x)
            source = ["--mean", "x.npy", "--logvar", "x.npy"]
        else:
            source = [save(tmp_path, kind, {"mean": x, "var": x + 1}, rows=1 << 14)]
        del x
        found.append(peak(tmp_path, *source))
    assert found[1] < 300_000
    assert found[1] - found[0] < 150_000


@pytest.mark.parametrize("kind", ["npy", "arrow", "parquet"])
def test_interrupt_while_reading(tmp_path, kind):
    """Ctrl-C: the thread is joined, nothing is left, in a process that says so in one line."""
    x = np.zeros((3000, 4), np.float32)
    if kind == "npy":
        np.save(tmp_path / "x.npy", x)
        source = ["--mean", "x.npy", "--logvar", "x.npy"]
    else:
        source = [save(tmp_path, kind, {"mean": x, "logvar": x})]
    slow = """import atexit, signal, threading, time
from gkl import score, stored
score.CHUNK = 100
signal.signal(signal.SIGINT, signal.default_int_handler)
rows = stored.Gaussians.rows
def slowly(*x):
    time.sleep(0.05)
    return rows(*x)
stored.Gaussians.rows = slowly
atexit.register(lambda: print([x.name for x in threading.enumerate() if "gkl" in x.name]))"""
    process = subprocess.Popen(
        [*prepared(slow), "score", *source, "-o", "kl.npy"],
        cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        while not list(tmp_path.glob(".gkl-*")):
            assert process.poll() is None, process.communicate()
            time.sleep(0.01)
        time.sleep(0.3)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert (process.returncode, out, err) == (130, "[]\n", "gkl: interrupted\n")
    assert not list(tmp_path.glob(".gkl-*"))
    assert not (tmp_path / "kl.npy").exists()


# ---------------------------------------------------------------- a Dask cluster


@pytest.fixture(scope="module")
def cluster():
    """The address of a scheduler of two worker processes."""
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, processes=True,
                                  dashboard_address=":0") as cluster:  # fmt: skip
        yield cluster.scheduler_address


def on_cluster(address):
    return ["--dask", address]


@pytest.mark.parametrize("kind", ["npy", *KINDS])
def test_dask_gives_the_same(run, tmp_path, cluster, kind):
    p, q = gaussian("logvar", (230,), dtype=np.float32), gaussian("cov", dtype=np.float32)
    small = prepared(SMALL)
    source = in_files(tmp_path, p) + in_files(tmp_path, q, "prior-")
    if kind != "npy":
        whole = q if kind not in TABLES else gaussian("cov", (230,), dtype=np.float32)
        q, prior = whole, {f"prior_{name}": x for name, x in whole.parameters.items()}
        source = [save(tmp_path, kind, {**p.parameters, **prior}, rows=40)]
    reports = []
    for more in ([], on_cluster(cluster)):
        text = run("score", *source, "-o", "kl.npy", "--json", *more, program=small)
        report = json.loads(text)
        for name in ("seconds", "rows_per_second"):
            del report[name]
        reports.append(report)
        np.testing.assert_array_equal(np.load(tmp_path / "kl.npy"), gkl.kl(p, q))
    assert reports[0] == reports[1]


def test_bad_items_and_damaged_files_on_a_cluster(run, tmp_path, cluster):
    p = gaussian("var", (230,))
    p.var[[155, 170], 2] = -1
    source = in_files(tmp_path, p)
    more = (*on_cluster(cluster), "-o", "kl.parquet")
    pytest.importorskip("pyarrow")
    message = run("score", *source, *more, code=1, program=prepared(SMALL))
    assert "2 of 230 Gaussians are invalid; first: p.var[155, 2] = -1.0 is not positive" in message
    report = json.loads(run("score", *source, *more, "--on-error", "nan", "--json"))
    assert report["bad"] == 2
    np.testing.assert_array_equal(parquet(tmp_path / "kl.parquet"), gkl.kl(p, on_error="nan"))
    (tmp_path / "kl.parquet").unlink()
    pytest.importorskip(NEEDS["hdf5"])
    name = save(tmp_path, "hdf5", {"mean": p.mean, "var": p.var**2}, rows=40)
    data = (tmp_path / name).read_bytes()
    where = data.rindex(np.asarray(p.mean[220:222]).tobytes())
    assert where > 0
    (tmp_path / name).write_bytes(data[:where])
    assert f"{name}: " in run("score", name, *more, code=1, program=prepared(SMALL))
    assert not (tmp_path / "kl.parquet").exists()


def test_a_cluster_of_its_own_or_none(run, tmp_path):
    pytest.importorskip("distributed")
    source = in_files(tmp_path, gaussian("var", (230,)))
    assert score(run, *source, "--dask")["count"] == 230
    quick = prepared("import dask; dask.config.set({'distributed.comm.timeouts.connect': 0.2})")
    message = run("score", *source, "--dask", "tcp://127.0.0.1:1", code=1, program=quick)
    assert "--dask tcp://127.0.0.1:1: " in message
    assert "--threads goes without --dask" in run(
        "score", *source, "--threads", "1", "--dask", code=2
    )
    without = prepared("import sys; sys.modules['distributed'] = None")
    message = run("score", *source, "--dask", code=1, program=without)
    assert "pip install 'gkl[dask]'" in message


@pytest.mark.parametrize("address", ["/tmp", "nonsense://here", "tcp:/tmp"])
def test_an_address_that_is_none(run, tmp_path, address):
    """The process ends, too: a client that never was connected would wait for it."""
    pytest.importorskip("distributed")
    source = in_files(tmp_path, gaussian("var", (230,)))
    message = run("score", *source, "--dask", address, code=1)
    assert f"gkl: error: --dask {address}: " in message


def test_a_file_that_workers_do_not_see(run, tmp_path, cluster):
    source = in_files(tmp_path, gaussian("var", (230,)))
    gone = prepared("""
import os
import distributed

def map_later(self, *args, own=distributed.Client.map, **kwargs):
    os.unlink("var.npy")
    return own(self, *args, **kwargs)

distributed.Client.map = map_later
""")
    message = run("score", *source, *on_cluster(cluster), "-o", "kl.npy", code=1, program=gone)
    assert "var.npy: No such file or directory" in message
    assert not (tmp_path / "kl.npy").exists()


def test_a_part_of_rows(tmp_path, monkeypatch):
    monkeypatch.setattr(scoring, "CHUNK", 20)
    p = gaussian("var", (23,))
    found = scoring.divergences(mapped(tmp_path, p), None, None, within=slice(4, 19))
    np.testing.assert_array_equal(found, gkl.kl(p)[4:19])
