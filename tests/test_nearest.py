# SPDX-License-Identifier: BSD-3-Clause
"""nearest: exactly what sorting all values gives; vectors for an inner-product index; Dask."""

import helpers
import numpy as np
import pytest
from test_pairwise import (
    KINDS,
    METRICS,
    batch,
    make_full,
    make_low_rank,
    near,
    of_pairs,
)

import gkl
from gkl.pairwise import ROW_METRICS

STRUCTURES = {
    "diag": lambda rng, n, d: batch(rng, "var", n, d),
    "full": make_full,
    "low_rank": make_low_rank,
}


def matrix(p, q, metric="kl", order=None):
    """All values as nearest ranks them."""
    if metric in ROW_METRICS:
        return of_pairs(p.reshape(-1, 1), q, metric)
    return gkl.pairwise_kl(p, q, metric, order=order)


def sorted_rows(values, k):
    index = np.broadcast_to(np.arange(values.shape[1]), values.shape)
    order = np.lexsort((index, values), axis=-1)[:, :k]
    return np.take_along_axis(values, order, 1), order


def same(found, expected):
    return all(a.tobytes() == b.tobytes() for a, b in zip(found, expected, strict=True))


@pytest.mark.parametrize("dtype", helpers.FLOATS)
@pytest.mark.parametrize("kind", KINDS)
def test_as_sorting_all_values(isa, kind, dtype):
    rng = np.random.default_rng(0)
    for n, m, d in ((1, 1, 1), (5, 300, 3), (130, 77, 20)):
        p, q = batch(rng, kind, n, d, dtype), batch(rng, kind, m, d, dtype)
        for k in {1, min(7, m), m}:
            assert same(gkl.nearest(p, q, k), sorted_rows(matrix(p, q), k))


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("dtype", helpers.FLOATS)
def test_every_metric(metric, dtype):
    rng = np.random.default_rng(1)
    order = 0.7 if metric == "renyi" else None
    p, q = batch(rng, "std", 30, 4, dtype), batch(rng, "std", 90, 4, dtype)
    found = gkl.nearest(p, q, 6, metric=metric, order=order)
    values = matrix(p, q, metric, order)
    assert same(found, sorted_rows(values, 6))
    radius = float(np.quantile(values, 0.1))
    indptr, index, divergence = gkl.nearest(p, q, radius=radius, metric=metric, order=order)
    assert len(index) == (values <= radius).sum()
    for i in range(30):
        part = slice(indptr[i], indptr[i + 1])
        within = sorted_rows(values[i : i + 1], 90)
        count = part.stop - part.start
        assert (index[part] == within[1][0, :count]).all()
        assert (divergence[part] == within[0][0, :count]).all()


@pytest.mark.parametrize("q_structure", STRUCTURES)
@pytest.mark.parametrize("p_structure", STRUCTURES)
def test_every_structure(p_structure, q_structure, monkeypatch):
    from gkl import neighbors

    monkeypatch.setattr(neighbors, "BLOCK_SIDE", 16)
    monkeypatch.setattr(neighbors, "BLOCK_VALUES", 64)
    rng = np.random.default_rng(2)
    p, q = STRUCTURES[p_structure](rng, 17, 5), STRUCTURES[q_structure](rng, 41, 5)
    values = matrix(p, q)
    assert same(gkl.nearest(p, q, 4), sorted_rows(values, 4))
    radius = float(np.median(values))
    assert len(gkl.nearest(p, q, radius=radius).index) == (values <= radius).sum()
    own = matrix(q, q)
    np.fill_diagonal(own, np.inf)
    assert same(gkl.nearest(q, q, 4, exclude_self=True), sorted_rows(own, 4))


@pytest.mark.parametrize("dtype", helpers.FLOATS)
def test_ties_and_almost_ties(isa, dtype):
    """Many q with the same divergence, or one that differs by less than the tolerance."""
    rng = np.random.default_rng(3)
    one = batch(rng, "var", 1, 8, dtype)
    p = batch(rng, "var", 9, 8, dtype)
    copies = one[np.zeros(500, int)]
    assert same(gkl.nearest(p, copies, 5), sorted_rows(matrix(p, copies), 5))
    assert same(gkl.nearest(one, copies, 5), (np.zeros((1, 5), dtype), np.arange(5)[None]))
    close = near(rng, copies, 3e-7 if dtype == np.float32 else 1e-15)
    for k in (1, 5, 60):
        assert same(gkl.nearest(p, close, k), sorted_rows(matrix(p, close), k))
    assert same(gkl.nearest(p, close, 5, exclude_self=False, threads=2),
                gkl.nearest(p, close, 5, threads=1))  # fmt: skip


@pytest.mark.parametrize("dtype", helpers.FLOATS)
@pytest.mark.parametrize("kinds", [("var", "logvar"), ("logvar", "std"), ("std", "var")])
def test_scales_of_different_kinds_near_equality(kinds, dtype):
    """A parameter that is converted loses more than the tolerance there."""
    rng = np.random.default_rng(12)
    e = 1e-5 if dtype == np.float32 else 1e-10
    log = [1 + e * rng.normal(size=(n, 4)) for n in (30, 500)]
    change = {"var": np.exp, "std": lambda x: np.exp(x / 2), "logvar": lambda x: x}
    p, q = (
        gkl.DiagNormal(np.zeros(x.shape, dtype), **{kind: change[kind](x).astype(dtype)})
        for x, kind in zip(log, kinds, strict=True)
    )
    values = matrix(p, q)
    assert same(gkl.nearest(p, q, 4), sorted_rows(values, 4))
    radius = float(np.median(values))
    assert len(gkl.nearest(p, q, radius=radius).index) == (values <= radius).sum()


def test_subnormal_divergences():
    rng = np.random.default_rng(13)
    mean = (1e-22 * rng.normal(size=(40, 3))).astype(np.float32)
    p = gkl.DiagNormal(mean, var=np.float32(1.0) * np.ones_like(mean))
    assert same(gkl.nearest(p, p, 5), sorted_rows(matrix(p, p), 5))


def test_memory_with_many_duplicates():
    """All of q as near as the k-th: rows are searched again, a few at a time."""
    import tracemalloc

    p = batch(np.random.default_rng(14), "var", 300, 4)
    q = gkl.DiagNormal(np.zeros((20_000, 4)), var=1.0)
    tracemalloc.start()
    found = gkl.nearest(p, q, 3)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (found[1] == np.arange(3)).all()
    assert peak < 2**28


@pytest.mark.parametrize("dtype", helpers.FLOATS)
def test_precisions_of_high_condition(dtype):
    """The covariance that they are inverted to has errors of its own."""
    rng = np.random.default_rng(15)
    turn = np.linalg.qr(rng.normal(size=(30, 5, 5)))[0]
    condition = 1e4 if dtype == np.float32 else 1e9
    size = condition ** np.linspace(0, 1, 5)
    x = turn @ (size[:, np.newaxis] * turn.swapaxes(1, 2))
    p = gkl.FullNormal(rng.normal(size=(30, 5)).astype(dtype), precision=x.astype(dtype))
    q = make_full(rng, 200, 5, dtype)
    assert same(gkl.nearest(p, q, 6), sorted_rows(matrix(p, q), 6))


def test_duplicates_and_self():
    rng = np.random.default_rng(4)
    p = batch(rng, "logvar", 60, 3)
    p = p[np.arange(60) // 2]  # everybody twice
    divergence, index = gkl.nearest(p, p, 1, exclude_self=True)
    assert (divergence == 0).all()
    assert (index[:, 0] == np.arange(60) ^ 1).all()
    again = gkl.nearest(p, p, radius=0.0, exclude_self=True)
    assert (again.index == index[:, 0]).all()
    assert (np.diff(again.indptr) == 1).all()


def test_fewer_candidates_than_k():
    rng = np.random.default_rng(5)
    p, q = batch(rng, "var", 3, 2), batch(rng, "var", 4, 2)
    divergence, index = gkl.nearest(p, q, 6)
    assert same((divergence[:, :4], index[:, :4]), sorted_rows(matrix(p, q), 4))
    assert np.isnan(divergence[:, 4:]).all()
    assert (index[:, 4:] == -1).all()
    divergence, index = gkl.nearest(p, q[:0], 2)
    assert np.isnan(divergence).all()
    assert (index == -1).all()
    assert gkl.nearest(p[:0], q, 2)[1].shape == (0, 2)
    assert gkl.nearest(p[:0], q, radius=1.0).indptr.tolist() == [0]
    assert gkl.nearest(p, q[:0], radius=1.0).indptr.tolist() == [0, 0, 0, 0]
    full = make_full(rng, 3, 2)
    assert gkl.nearest(full[:0], full, radius=1.0).indptr.tolist() == [0]
    assert gkl.nearest(full, p[:0], radius=1.0).indptr.tolist() == [0, 0, 0, 0]
    assert gkl.nearest(full, full[:0], 1)[1].tolist() == [[-1]] * 3


@pytest.mark.parametrize("structure", STRUCTURES)
def test_bad_items_are_never_near(structure):
    rng = np.random.default_rng(6)
    p, q = STRUCTURES[structure](rng, 8, 3), STRUCTURES[structure](rng, 30, 3)
    values = matrix(p, q)
    q.mean[5] = np.nan
    values[:, 5] = np.inf
    with pytest.raises(gkl.InvalidGaussianError, match=r"1 of 30 .* q\.mean\[5, 0\] = nan") as e:
        gkl.nearest(p, q, 3)
    assert same(e.value.result, sorted_rows(values, 3))
    p.mean[2] = np.inf
    divergence, index = gkl.nearest(p, q, 3, on_error="nan")
    assert np.isnan(divergence[2]).all()
    assert (index[2] == -1).all()
    left = np.arange(8) != 2
    assert same((divergence[left], index[left]), sorted_rows(values[left], 3))
    found = gkl.nearest(p, q, radius=np.inf, on_error="nan")
    assert len(found.index) == 7 * 29


def test_arguments_are_checked():
    p = gkl.DiagNormal(np.zeros((3, 2)), var=1.0)
    for error, words, call in (
        (ValueError, "exactly one of k= and radius=", lambda: gkl.nearest(p, p)),
        (ValueError, "exactly one of k= and radius=", lambda: gkl.nearest(p, p, 1, radius=1.0)),
        (ValueError, "k= takes a number from 1 up", lambda: gkl.nearest(p, p, 0)),
        (TypeError, "k= takes an integer", lambda: gkl.nearest(p, p, 1.5)),
        (ValueError, "radius= takes a number", lambda: gkl.nearest(p, p, radius=-1.0)),
        (ValueError, "radius= takes a number", lambda: gkl.nearest(p, p, radius=np.nan)),
        (ValueError, "alike: 3 and 2", lambda: gkl.nearest(p, p[:2], 1, exclude_self=True)),
    ):
        with pytest.raises(error, match=words):
            call()


def test_memory_maps_are_read_in_place(tmp_path):
    rng = np.random.default_rng(7)
    p, q = batch(rng, "var", 20, 6, np.float32), batch(rng, "var", 999, 6, np.float32)
    arrays = []
    for name, x in q.parameters.items():
        np.save(tmp_path / f"{name}.npy", x)
        arrays.append(np.load(tmp_path / f"{name}.npy", mmap_mode="r"))
    mapped = gkl.DiagNormal(arrays[0], var=arrays[1])
    assert same(gkl.nearest(p, mapped, 10), gkl.nearest(p, q, 10))


@pytest.mark.parametrize("dtype", helpers.FLOATS)
def test_inner_products_rank_as_kl(dtype):
    rng = np.random.default_rng(8)
    p, q = batch(rng, "logvar", 15, 5, dtype), batch(rng, "std", 200, 5, dtype)
    queries, items = gkl.inner_product_vectors(p, q)
    assert queries.dtype == items.dtype == dtype
    values = matrix(p, q)
    products = -(queries.astype(float) @ items.astype(float).T)
    offset = products - values
    spread = np.ptp(offset, axis=1) / np.abs(values).max(1)
    assert spread.max() < (1e-5 if dtype == np.float32 else 1e-13)
    with pytest.raises(TypeError, match="diagonal"):
        gkl.inner_product_vectors(make_full(rng, 3, 5), q)
    q.std[3, 1] = 0
    with pytest.raises(gkl.InvalidGaussianError, match=r"q\.std\[3, 1\] = 0\.0 is not positive"):
        gkl.inner_product_vectors(p, q)


@pytest.mark.parametrize("library", ["faiss", "hnswlib"])
def test_an_index_finds_the_nearest(library):
    """A maximum-inner-product index, then pairs_kl: most of what nearest finds."""
    module = pytest.importorskip(library)
    rng = np.random.default_rng(9)
    p, q = batch(rng, "var", 50, 12, np.float32), batch(rng, "var", 3000, 12, np.float32)
    queries, items = gkl.inner_product_vectors(p, q)
    if library == "faiss":
        index = module.IndexFlatIP(items.shape[1])
        index.add(items)
        _, candidates = index.search(queries, 50)
    else:
        # its graphs want a distance: one more coordinate gives all items the same length
        square = (items**2).sum(1)
        items = np.column_stack((items, np.sqrt(square.max() - square)))
        queries = np.column_stack((queries, np.zeros(50, np.float32)))
        index = module.Index(space="l2", dim=items.shape[1])
        index.init_index(max_elements=len(items), ef_construction=200, M=32, random_seed=0)
        index.set_ef(400)
        index.add_items(items, num_threads=1)
        candidates = index.knn_query(queries, k=50)[0].astype(np.intp)
    values = gkl.pairs_kl(p, q, np.arange(50)[:, None], candidates)
    best = np.take_along_axis(candidates, np.argsort(values, axis=1)[:, :10], 1)
    expected = gkl.nearest(p, q, 10)[1]
    recall = np.mean([len(set(a) & set(b)) / 10 for a, b in zip(best, expected, strict=True)])
    assert recall >= (0.99 if library == "faiss" else 0.8), recall


def lazy(p, chunk):
    da = pytest.importorskip("dask.array")
    arrays = {k: da.from_array(x, chunks=(chunk, -1)) for k, x in p.parameters.items()}
    return type(p)(arrays.pop("mean"), **arrays)


@pytest.mark.parametrize("metric", ["kl", "jeffreys", "wasserstein2"])
def test_dask_by_blocks(metric):
    rng = np.random.default_rng(10)
    p, q = batch(rng, "var", 70, 4), batch(rng, "var", 230, 4)
    a, b = lazy(p, 32), lazy(q, 50)
    found = gkl.pairwise_kl(a, b, metric)
    assert found.chunks[0] == (32, 32, 6)
    assert found.compute().tobytes() == gkl.pairwise_kl(p, q, metric).tobytes()
    lists = gkl.nearest(a, b, 9, metric=metric)
    assert same([x.compute() for x in lists], gkl.nearest(p, q, 9, metric=metric))
    own = gkl.nearest(b, b, 3, metric=metric, exclude_self=True)
    expected = gkl.nearest(q, q, 3, metric=metric, exclude_self=True)
    assert same([x.compute() for x in own], expected)
    assert same([x.compute() for x in gkl.nearest(a, q, 9, metric=metric)],
                gkl.nearest(p, q, 9, metric=metric))  # fmt: skip
    integers = lazy(q, 50).mean.astype(int)
    whole = gkl.DiagNormal(integers, var=integers**2 + 1)
    assert gkl.pairwise_kl(whole, whole).dtype == gkl.pairwise_kl(whole, whole).compute().dtype
    with pytest.raises(TypeError, match="radius= wants NumPy"):
        gkl.nearest(a, b, radius=1.0)


def test_two_worker_processes():
    """p and q in blocks over a cluster."""
    distributed = pytest.importorskip("distributed")
    rng = np.random.default_rng(11)
    p, q = batch(rng, "var", 200, 8, np.float32), batch(rng, "var", 900, 8, np.float32)
    found = gkl.nearest(lazy(p, 64), lazy(q, 256), 5)
    with (
        distributed.LocalCluster(n_workers=2, threads_per_worker=1, processes=True,
                                 dashboard_address=":0") as cluster,
        distributed.Client(cluster) as client,
    ):  # fmt: skip
        assert len(client.scheduler_info()["workers"]) == 2
        assert same(client.gather(client.compute(found)), gkl.nearest(p, q, 5))
