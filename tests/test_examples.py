# SPDX-License-Identifier: BSD-3-Clause
"""The examples run, learn, and have made the data that is committed beside them."""

import importlib.util
import json
import os
import subprocess
import sys

import numpy as np
import pytest
from helpers import in_checkout

import gkl

EXAMPLES = in_checkout("examples")
VAE = EXAMPLES / "vae_digits.py"
CLASSES = EXAMPLES / "digits_classes.py"
NEIGHBORS = EXAMPLES / "digits_neighbors.py"
POSTERIORS = EXAMPLES / "data" / "digits_posteriors.npz"


def run_vae(folder, *args):
    """The table that the example prints, as rows of numbers, and what it writes."""
    out = folder / "posteriors.npz"
    done = subprocess.run(
        [sys.executable, VAE, "--out", out, *args], cwd=folder, text=True, capture_output=True
    )
    assert (done.returncode, done.stderr) == (0, "")
    lines = [line.split() for line in done.stdout.splitlines()]
    table = [
        [float(x) for x in line[:4]] for line in lines if line[0].isdecimal() and len(line) > 6
    ]
    assert [path.name for path in folder.iterdir()] == [out.name]
    return table, out


def load(path):
    pytest.importorskip("sklearn", reason="scikit-learn holds the digits")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def vae():
    return load(VAE)


def test_the_vae_learns(vae, tmp_path):
    table, out = run_vae(tmp_path, "--epochs", "2", "--latent", "6")
    assert [row[0] for row in table] == [1, 2]
    assert table[1][1] < table[0][1] - 5  # the loss
    assert table[1][2] < table[0][2] - 5  # its reconstruction
    for _, loss, reconstruction, kl in table:
        assert kl > 0
        assert loss == pytest.approx(reconstruction + kl, abs=0.002)
    with np.load(out) as data:
        assert sorted(data.files) == ["labels", "logvar", "mean"]
        assert data["mean"].shape == data["logvar"].shape == (1797, 6)
        assert data["mean"].dtype == data["logvar"].dtype == np.float32
        assert np.bincount(data["labels"]).tolist() == [
            178, 182, 177, 183, 181, 182, 181, 179, 174, 180,
        ]  # fmt: skip


def test_the_vae_repeats_itself(vae, tmp_path):
    results = {}
    for run, seed in (("a", "1"), ("b", "1"), ("c", "2")):
        (tmp_path / run).mkdir()
        results[run] = run_vae(tmp_path / run, "--epochs", "1", "--seed", seed)[1].read_bytes()
    assert results["a"] == results["b"] != results["c"]


@pytest.mark.parametrize("nats", [None, 0.4])
def test_back_propagation_against_finite_differences(vae, nats):
    scheme = vae.KL if nats is None else vae.vae.FreeBits(nats, after_mean=False)
    rng = np.random.default_rng(0)
    net = {name: w.astype(float) for name, w in vae.initial(rng, 64, 5).items()}
    x, noise = rng.random((12, 64)), rng.standard_normal((12, 5))
    grad = vae.loss_and_grad(net, x, noise, scheme)[2]
    assert grad.keys() == net.keys()
    for name, w in net.items():
        direction = rng.standard_normal(w.shape)
        losses = []
        for h in (1e-5, -1e-5):
            moved = net | {name: w + h * direction}
            reconstruction, kl, _ = vae.loss_and_grad(moved, x, noise, scheme)
            losses.append(reconstruction + kl)
        wanted = (losses[0] - losses[1]) / 2e-5
        assert np.sum(grad[name] * direction) == pytest.approx(wanted, rel=1e-6, abs=1e-7), name


def test_figures(vae, tmp_path):
    pytest.importorskip("matplotlib", reason="it draws them")
    done = subprocess.run(
        [sys.executable, VAE, "--plot", "figures", "--epochs", "2", "--latent", "3"],
        cwd=tmp_path, text=True, capture_output=True,
        env={**os.environ, "PYTHONSAFEPATH": ""},  # the example imports what stands beside it
    )  # fmt: skip
    assert done.returncode == 0, done.stderr  # matplotlib speaks when it makes its font cache
    assert [path.name for path in tmp_path.iterdir()] == ["figures"]
    committed = EXAMPLES.parent / "docs" / "figures"
    for folder in (tmp_path / "figures", committed):
        files = sorted(folder.glob("vae_*"))
        names = ["vae_collapse.png", "vae_dimensions.png", "vae_terms.png"]
        assert [path.name for path in files] == names
        for path in files:
            assert path.read_bytes().startswith(b"\x89PNG")
            assert path.stat().st_size < 100_000


def test_free_bits_keep_dimensions(vae, capsys):
    """Without them, a large beta makes all collapse."""
    x = (vae.load_digits().data / 16).astype(np.float32)
    for scheme, least, most in (
        (vae.vae.Beta(20.0), 0.0, 0.01), (vae.vae.FreeBits(0.3, beta=20.0), 0.1, 0.5)
    ):  # fmt: skip
        _, history = vae.train(x, 3, 20, 0, scheme)
        assert len(history) == 20
        assert least <= history[-1].kl.min() <= history[-1].kl.max() <= most
    assert capsys.readouterr().out.count("epoch") == 2


def test_committed_posteriors(tmp_path):
    with np.load(POSTERIORS, allow_pickle=False) as data:
        mean, logvar, labels = data["mean"], data["logvar"], data["labels"]
    assert mean.shape == logvar.shape
    assert len(mean) == len(labels) == 1797
    assert mean.dtype == logvar.dtype == np.float32

    done = subprocess.run(
        [sys.executable, "-m", "gkl", "score", POSTERIORS, "--json"],
        cwd=tmp_path, text=True, capture_output=True, check=True,
    )  # fmt: skip
    report = json.loads(done.stdout)
    wanted = 0.5 * (mean.astype(float) ** 2 + np.expm1(logvar.astype(float)) - logvar).sum(1)
    assert (report["count"], report["dim"], report["bad"]) == (1797, mean.shape[1], 0)
    assert report["kl"]["mean"] == pytest.approx(wanted.mean(), rel=1e-6)
    assert report["kl"]["max"] == pytest.approx(wanted.max(), rel=1e-6)

    # some dimensions speak, some have collapsed
    per_dim = gkl.kl_per_dim(gkl.DiagNormal(mean, logvar=logvar)).mean(0)
    assert np.count_nonzero(per_dim > 0.1) >= 3
    assert np.count_nonzero(per_dim < 0.01) >= 1


def test_the_table_of_digits():
    module = load(CLASSES)
    images, labels = module.load_digits(return_X_y=True)
    digits = module.fit(images, labels)
    kl = module.divergences(digits)
    mean, cov = digits.mean, digits.cov
    wanted = np.zeros((10, 10))
    for i in range(10):
        for j in range(10):
            delta, inverse = mean[i] - mean[j], np.linalg.inv(cov[j])
            logdet = np.linalg.slogdet(cov[j])[1] - np.linalg.slogdet(cov[i])[1]
            wanted[i, j] = (np.trace(inverse @ cov[i]) - 64 + delta @ inverse @ delta + logdet) / 2
    np.testing.assert_allclose(kl, wanted, rtol=1e-9, atol=1e-9)
    assert not np.diagonal(kl).any()

    done = subprocess.run([sys.executable, CLASSES], text=True, capture_output=True)
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    for i, line in enumerate(lines[2:12]):
        assert [int(x) for x in line.split()[:11]] == [i, *kl[i].round().astype(int)]
    symmetric = kl + kl.T + np.diag(np.full(10, np.inf))
    i, j = np.unravel_index(symmetric.argmin(), (10, 10))
    assert f"most easily confused: {i} and {j} " in lines[13]
    assert (module.classify(digits, images) == labels).mean() > 0.98


def test_retrieval_of_digits_by_their_neighbors(tmp_path):
    done = subprocess.run(
        [sys.executable, NEIGHBORS, "-k", "5"], cwd=tmp_path, text=True, capture_output=True
    )
    assert (done.returncode, done.stderr) == (0, "")
    first, *lines = done.stdout.splitlines()
    assert first.startswith("1797 digits")
    assert len(lines) == 5
    for line in lines:
        right, alike = (float(x) for x in line.replace("%", " ").split() if x[0].isdecimal())
        assert right > 90
        assert alike > 85
    assert list(tmp_path.iterdir()) == []


def test_the_vae_of_torch_learns_the_same_by_gkl_and_by_torch():
    torch = pytest.importorskip("torch")
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        example = load(EXAMPLES / "vae_torch.py")
        own, theirs = (np.array(example.train(kl, epochs=4)) for kl in ("gkl", "torch"))
    finally:
        torch.set_num_threads(before)
    np.testing.assert_allclose(own, theirs, rtol=1e-4)
    assert own.sum(1)[-1] < own.sum(1)[0] - 5
