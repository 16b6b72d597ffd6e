# SPDX-License-Identifier: BSD-3-Clause
"""The command line with full and low-rank covariances."""

import json

import numpy as np
import pytest
from gaussians import OTHERS, PAIRS, gaussian, over, rebuilt, spoiled
from program import score

import gkl
from gkl import bench
from gkl import score as scoring
from gkl.formats import read


def saved(folder, p, prefix=""):
    """Each parameter in an npy of its own; the options that name them."""
    options = []
    for name, x in p.parameters.items():
        np.save(folder / f"{prefix}{name}.npy", x)
        options += [f"--{prefix.replace('_', '-')}{name}", f"{prefix}{name}.npy"]
    return options


def prior(q):
    return {f"prior_{name}": x for name, x in q.parameters.items()}


# ---------------------------------------------------------------- what it computes


@pytest.mark.parametrize("kind", OTHERS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_scores_are_those_of_the_library(run, tmp_path, kind, dtype):
    p = gaussian(kind, (40,), dtype=dtype)
    np.savez(tmp_path / "a.npz", **p.parameters)
    wanted = gkl.kl(p)
    for source in (["a.npz"], saved(tmp_path, p)):
        report = score(run, *source, "-o", "kl.npy")
        np.testing.assert_array_equal(np.load(tmp_path / "kl.npy"), wanted)
        assert (report["count"], report["dim"], report["bad"]) == (40, 4, 0)
        assert report["structure"] == p.structure
        assert report["parameter"] == ("factor, var" if kind == "low_rank" else kind)
        assert report["kl"]["max"] == float(wanted.max())


@over([pair for pair in PAIRS if pair[1]])
def test_any_prior_beside_any_file(tmp_path, kinds):
    p, q = gaussian(kinds[0], (30,)), gaussian(kinds[1], seed=1)
    np.savez(tmp_path / "a.npz", **p.parameters, **prior(q))
    output = tmp_path / "kl.npy"
    report = scoring.score(*read(str(tmp_path / "a.npz")), str(output), "raise", None)
    np.testing.assert_array_equal(np.load(output), gkl.kl(p, q))
    assert report["prior"]["kind"] == "shared"
    assert report["prior"]["structure"] == q.structure


def test_prior_of_each_item_and_by_option(run, tmp_path):
    p, q = gaussian("precision", (30,)), gaussian("cov", (30,), seed=1)
    np.savez(tmp_path / "a.npz", **p.parameters, **prior(q))
    assert score(run, "a.npz", "-o", "kl.npy")["prior"]["kind"] == "one for each item"
    np.testing.assert_array_equal(np.load(tmp_path / "kl.npy"), gkl.kl(p, q))
    other = gaussian("low_rank", seed=2)
    score(run, "a.npz", *saved(tmp_path, other, "prior_"), "-o", "kl.npy")
    np.testing.assert_array_equal(np.load(tmp_path / "kl.npy"), gkl.kl(p, other))


@pytest.mark.parametrize(
    ("mean_shape", "batch"),
    [((), ()), ((4,), (7,)), ((7, 4), ()), ((1, 4), (7,)), ((3, 5, 4), (5,)), ((3, 1, 4), (3, 5))],
)
@pytest.mark.parametrize("kind", ["cov", "tril", "low_rank"])
def test_shapes_broadcast_as_in_the_library(run, tmp_path, kind, mean_shape, batch):
    mean = np.random.default_rng(4).normal(size=mean_shape)
    p = rebuilt(gaussian(kind, batch), lambda x, name: mean if name == "mean" else x)
    q = gaussian("precision", seed=1)
    np.savez(tmp_path / "a.npz", **p.parameters, **prior(q))
    report = score(run, "a.npz", "-o", "kl.npy")
    wanted = np.asarray(gkl.kl(p, q))
    np.testing.assert_array_equal(np.load(tmp_path / "kl.npy"), wanted)
    assert report["shape"] == list(wanted.shape)


@pytest.mark.parametrize("dtype", ["f2", "f4", ">f8", "i8", "u1"])
def test_real_types(run, tmp_path, dtype):
    mean, cov = np.arange(24).reshape(6, 4).astype(dtype), np.tile(2 * np.eye(4), (6, 1, 1))
    cov = cov.astype(dtype)
    np.savez(tmp_path / "a.npz", mean=mean, cov=cov)
    score(run, "a.npz", "-o", "kl.npy")
    wanted = gkl.kl(gkl.FullNormal(mean, cov=cov))
    written = np.load(tmp_path / "kl.npy")
    assert written.dtype == wanted.dtype
    np.testing.assert_array_equal(written, wanted)


@pytest.mark.parametrize("shape", [(0,), (0, 3)])
def test_empty_batch(run, tmp_path, shape):
    np.savez(tmp_path / "a.npz", mean=np.zeros((*shape, 4)), cov=np.zeros((*shape, 4, 4)))
    report = score(run, "a.npz", "-o", "kl.npy")
    assert (report["count"], report["largest"]) == (0, [])
    assert np.load(tmp_path / "kl.npy").shape == shape


def test_chunks(tmp_path, monkeypatch):
    """As many items as d^2 numbers allow; a prior that all share is factored once for all."""
    sizes, priors, kl = [], set(), gkl.kl

    def watched(p, q, **options):
        sizes.append(p.batch_shape)
        priors.add(id(q))
        assert q.cholesky is not None
        return kl(p, q, **options)

    monkeypatch.setattr(scoring, "CHUNK", 1000)
    monkeypatch.setattr(gkl, "kl", watched)
    p, q = gaussian("tril", (110,)), gaussian("cov", seed=1)
    np.savez(tmp_path / "a.npz", **p.parameters, **prior(q))
    output = tmp_path / "kl.npy"
    scoring.score(*read(str(tmp_path / "a.npz")), str(output), "raise", None)
    assert sizes == [(50,), (50,), (10,)]  # 20 numbers an item
    assert len(priors) == 1
    np.testing.assert_array_equal(np.load(output), kl(p, q))


def test_summary_for_a_person(run, tmp_path):
    p, q = gaussian("low_rank", (9,)), gaussian("tril")
    np.savez(tmp_path / "a.npz", **p.parameters, **prior(q))
    text = run("score", "a.npz")
    for words in ("mean, factor, var  (float64)", "shared, tril, (4,)", "dimensions  4"):
        assert words in text


# ---------------------------------------------------------------- what it refuses


def test_bad_matrices_beyond_the_first_chunk(run, tmp_path):
    d = 128
    cov = np.tile(np.eye(d, dtype=np.float32), (300, 1, 1))
    assert cov.size > 2 * scoring.CHUNK
    cov[257, 3, 3] = -1
    cov[290, 1, 0] = np.nan
    cov[299, 5, 6] = np.nan  # above the diagonal: not read
    options = saved(tmp_path, gkl.FullNormal(np.zeros(d, np.float32), cov=cov))
    message = run("score", *options, "-o", "kl.npy", code=1)
    assert "2 of 300 Gaussians are invalid; first: " in message
    assert "p.cov[257] is not positive definite (leading minor 4)" in message
    assert not (tmp_path / "kl.npy").exists()
    report = score(run, *options, "-o", "kl.npy", "--on-error", "nan")
    assert (report["bad"], report["kl"]["max"]) == (2, 0)
    written = np.load(tmp_path / "kl.npy")
    assert np.flatnonzero(np.isnan(written)).tolist() == [257, 290]


@pytest.mark.parametrize("kind", OTHERS)
def test_bad_prior(run, tmp_path, kind):
    q = gaussian(kind)
    q.mean[2] = np.nan
    np.savez(tmp_path / "a.npz", **gaussian("std", (4,)).parameters, **prior(q))
    message = run("score", "a.npz", code=1)
    assert "4 of 4 Gaussians are invalid; first: q.mean[2] = nan is not finite" in message
    assert score(run, "a.npz", "--on-error", "nan")["bad"] == 4


@pytest.mark.parametrize("kind", OTHERS)
def test_bad_items_are_named(run, tmp_path, kind):
    p, words = spoiled(kind)
    np.savez(tmp_path / "a.npz", **p.parameters)
    message = run("score", "a.npz", code=1)
    assert f"2 of 12 Gaussians are invalid; first: {words}" in message


def test_matrix_that_rounding_decides(run, tmp_path):
    """Whatever LAPACK thinks of it, the message names an array and an item."""
    cov = np.ones((3, 4, 4)) + 1e-17 * np.eye(4)
    np.savez(tmp_path / "a.npz", mean=np.zeros(4), cov=cov)
    assert "p.cov[0] is not positive definite" in run("score", "a.npz", code=1)


MEAN, COV = np.ones((5, 3)), np.tile(np.eye(3), (5, 1, 1))


@pytest.mark.parametrize(
    ("members", "words"),
    [
        ({"mean": MEAN, "cov": COV, "tril": COV}, "it has cov and tril"),
        ({"mean": MEAN, "cov": COV, "var": MEAN}, "it has var and cov"),
        ({"mean": MEAN, "factor": COV}, "factor with var is wanted, and it has factor"),
        ({"cov": COV}, "no mean"),
        ({"mean": MEAN, "cov": COV, "prior_mean": MEAN}, "prior_factor with prior_var is wanted"),
        ({"mean": MEAN, "cov": COV, "prior_cov": COV}, "no prior_mean"),
        ({"mean": MEAN, "cov": MEAN}, "cov"),
        ({"mean": MEAN, "cov": np.ones((5, 3, 4))}, "(5, 3, 4)"),
        ({"mean": MEAN, "cov": np.ones((4, 3, 3))}, "mean and cov do not fit: shapes (5, 3)"),
        ({"mean": MEAN, "tril": np.ones((5, 4, 4))}, "mean and tril do not fit"),
        ({"mean": MEAN, "precision": np.float64(1)}, "precision"),
        ({"mean": MEAN, "factor": np.ones((5, 4, 2)), "var": MEAN}, "do not fit"),
        ({"mean": MEAN, "cov": COV * 1j}, "cov has dtype complex128"),
        (
            {"mean": MEAN, "cov": COV, "prior_mean": MEAN, "prior_tril": COV.astype(str)},
            "prior_tril has dtype <U",
        ),
        (
            {"mean": MEAN, "cov": COV, "prior_mean": MEAN, "prior_tril": COV[:4]},
            "the prior: mean and tril do not fit",
        ),
        (
            {"mean": MEAN, "cov": COV, "prior_mean": np.ones(4), "prior_cov": np.eye(4)},
            "the prior has another dimension: shapes (5, 3) and (4,)",
        ),
        (
            {"mean": MEAN, "cov": COV, "prior_mean": np.ones((6, 3)), "prior_cov": np.eye(3)},
            "the prior does not fit the batch: shapes (5, 3) and (6, 3)",
        ),
    ],
)
def test_wrong_archives(run, tmp_path, members, words):
    np.savez(tmp_path / "x.npz", **members)
    message = run("score", "x.npz", "-o", "kl.npy", code=1)
    assert "x.npz: " in message
    assert words in message
    assert not (tmp_path / "kl.npy").exists()


@pytest.mark.parametrize(
    "args",
    [
        ["--mean", "m.npy", "--cov", "c.npy", "--tril", "c.npy"],
        ["--mean", "m.npy", "--factor", "c.npy"],
        ["--factor", "c.npy", "--var", "m.npy"],
        ["--mean", "m.npy", "--factor", "c.npy", "--std", "m.npy"],
        ["--mean", "m.npy", "--cov", "c.npy", "--prior-cov", "c.npy"],
        ["--mean", "m.npy", "--cov", "c.npy", "--prior-mean", "m.npy", "--prior-factor", "c.npy"],
        ["--mean", "m.npy", "--cov", "c.npy", "-o", "c.npy"],
    ],
    ids=" ".join,
)
def test_wrong_command_lines(run, tmp_path, args):
    np.save(tmp_path / "c.npy", COV)
    np.save(tmp_path / "m.npy", MEAN)
    assert "--help)" in run("score", *args, code=2)


# ---------------------------------------------------------------- gkl bench


@pytest.mark.parametrize("work", ["pair-cov", "grad-cov"])
@pytest.mark.parametrize("dtype", ["f32", "f64"])
def test_bench(work, dtype):
    report = bench.run(work, rows=30, dim=6, dtype=dtype, repeat=1)
    names = [row["name"] for row in report["results"]]
    assert names[:2] == ["gkl", "NumPy"]
    assert {*names, *report["missing"]} == {"gkl", "NumPy", "torch", "read by NumPy"}
    assert report["bytes"]["read"] == 2 * 30 * (6 + 36) * int(dtype[1:]) // 8
    flops = report["results"][0]["flops_per_second"] * report["results"][0]["seconds"]
    assert flops == pytest.approx(30 * 6**3 * (1 if work == "pair-cov" else 11 / 3))
    text = bench.table(report)
    assert "GFLOP/s" in text
    assert "GB/s" in text


def test_bench_as_a_program(run):
    """The default batch is smaller than that of the diagonal works: it has matrices."""
    report = json.loads(run("bench", "--work", "pair-cov", "--repeat", "1", "--json"))
    assert (report["rows"], report["dim"], report["dtype"]) == (4096, 32, "f64")
