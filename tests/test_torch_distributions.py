# SPDX-License-Identifier: BSD-3-Clause
"""The drop-in for torch.distributions.kl_divergence: torch's own results, samples, and shapes."""

import itertools

import pytest

import gkl

torch = pytest.importorskip("torch")

from torch import distributions as td  # noqa: E402

from gkl.torch import kl_divergence  # noqa: E402

REAL = torch.float64


@pytest.fixture(autouse=True)
def seeded():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    with gkl.num_threads(1):
        yield
    torch.set_num_threads(threads)


def normal(*batch):
    return td.Normal(torch.randn(batch, dtype=REAL), torch.rand(batch, dtype=REAL) + 0.5)


def independent(*shape, n=1):
    return td.Independent(normal(*shape), n)


def multivariate(*batch, d=3, by="scale_tril"):
    a = torch.randn(*batch, d, d, dtype=REAL) / 2
    cov = a @ a.mT + torch.eye(d, dtype=REAL)
    values = {"scale_tril": torch.linalg.cholesky(cov), "covariance_matrix": cov,
              "precision_matrix": torch.linalg.inv(cov)}  # fmt: skip
    return td.MultivariateNormal(torch.randn(*batch, d, dtype=REAL), **{by: values[by]})


def low_rank(*batch, d=3, r=2):
    return td.LowRankMultivariateNormal(
        torch.randn(*batch, d, dtype=REAL),
        torch.randn(*batch, d, r, dtype=REAL),
        torch.rand(*batch, d, dtype=REAL) + 0.5,
    )


def dense(x):
    """The same as a MultivariateNormal."""
    if isinstance(x, td.Independent):
        return td.MultivariateNormal(x.mean, torch.diag_embed(x.variance))
    return td.MultivariateNormal(x.mean, x.covariance_matrix)


VECTORS = {"independent": lambda *batch: independent(*batch, 3), "multivariate": multivariate,
           "low rank": low_rank}  # fmt: skip


@pytest.mark.parametrize(
    "make",
    [lambda: normal(), lambda: normal(4, 4), lambda: independent(4, 4), lambda: low_rank(5),
     lambda: independent(4, 2, 3, n=2), lambda: independent(4, n=0), lambda: multivariate(5),
     lambda: multivariate(5, by="covariance_matrix"), lambda: multivariate(by="precision_matrix"),
     lambda: td.Independent(multivariate(2, 4), 1), lambda: td.Independent(low_rank(2, 4), 2)],
)  # fmt: skip
def test_what_torch_has_is_what_torch_gives(make):
    p, q = make(), make()
    expected = td.kl_divergence(p, q)
    found = kl_divergence(p, q)
    assert found.shape == expected.shape == p.batch_shape
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(kl_divergence(p, p), torch.zeros_like(expected), rtol=0, atol=1e-12)


@pytest.mark.parametrize(("p", "q"), [*itertools.product(VECTORS, repeat=2)])
def test_every_pair_of_vectors(p, q):
    """Those of Independent and others, torch lacks."""
    p, q = VECTORS[p](4), VECTORS[q](4)
    expected = td.kl_divergence(dense(p), dense(q))
    torch.testing.assert_close(kl_divergence(p, q), expected, rtol=1e-9, atol=1e-9)
    shared = VECTORS["multivariate"]()
    expected = td.kl_divergence(dense(p), shared)
    torch.testing.assert_close(kl_divergence(p, shared), expected, rtol=1e-9, atol=1e-9)


def test_independent_axes_beside_vectors():
    p, q = independent(5, 2, 3, n=2), td.Independent(multivariate(5, 2), 1)
    rows = td.kl_divergence(dense(td.Independent(p.base_dist, 1)), q.base_dist)
    torch.testing.assert_close(kl_divergence(p, q), rows.sum(-1), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(
    "make", [lambda: normal(3), *(lambda m=m: m(3) for m in VECTORS.values())]
)
def test_means_over_samples(make):
    """KL is the mean of log p - log q under p."""
    p, q = make(), make()
    x = p.sample((100_000,))
    ratio = p.log_prob(x) - q.log_prob(x)
    error = 6 * ratio.std(0) / len(x) ** 0.5
    assert (kl_divergence(p, q) - ratio.mean(0)).abs().lt(error).all()


@pytest.mark.parametrize("make", [normal, *VECTORS.values()])
def test_batches_are_done_item_by_item_and_broadcast(make):
    p, q, one = make(7), make(7), make()
    whole, shared = kl_divergence(p, q), kl_divergence(p, one)
    assert whole.shape == shared.shape == (7,)
    for i in range(7):
        item = rebuilt(p, lambda x, i=i: x[i])
        other = rebuilt(q, lambda x, i=i: x[i])
        torch.testing.assert_close(kl_divergence(item, other), whole[i])
        torch.testing.assert_close(kl_divergence(item, one), shared[i])


def test_axes_of_one_element():
    assert kl_divergence(normal(4, 1), normal(3)).shape == (4, 3)
    assert kl_divergence(independent(4, 1, 3), independent(2, 3)).shape == (4, 2)
    p, q = independent(4, 3), independent(4, 1)
    torch.testing.assert_close(kl_divergence(p, q), td.kl_divergence(p, q))


def test_gradients_are_torch_s():
    for make in (normal, *VECTORS.values()):
        p, q = make(4), make(4)
        own = [x for y in (p, q) for x in parameters(y)]
        for x in own:
            x.requires_grad_()
        p, q = rebuilt(p), rebuilt(q)
        expected = torch.autograd.grad(td.kl_divergence(p, q).sum(), own)
        found = torch.autograd.grad(kl_divergence(p, q).sum(), own)
        for a, b in zip(found, expected, strict=True):
            torch.testing.assert_close(a, b.tril() if is_tril(b) else b, rtol=1e-8, atol=1e-9)


def is_tril(x):
    return x.ndim == 3 and x.shape[-1] == x.shape[-2]


def parameters(x):
    x = x.base_dist if isinstance(x, td.Independent) else x
    names = {td.Normal: ("loc", "scale"), td.MultivariateNormal: ("loc", "scale_tril"),
             td.LowRankMultivariateNormal: ("loc", "cov_factor", "cov_diag")}[type(x)]  # fmt: skip
    return [getattr(x, name) for name in names]


def rebuilt(x, change=lambda x: x):
    """From its parameters as they are now, each of them changed."""
    if isinstance(x, td.Independent):
        return td.Independent(rebuilt(x.base_dist, change), x.reinterpreted_batch_ndims)
    values = [change(y) for y in parameters(x)]
    if isinstance(x, td.MultivariateNormal):
        return td.MultivariateNormal(values[0], scale_tril=values[1])
    return type(x)(*values)


def test_gradients_through_a_covariance():
    a = torch.randn(3, 3, dtype=REAL, requires_grad=True)
    p = td.MultivariateNormal(torch.zeros(3, dtype=REAL), a @ a.mT + torch.eye(3, dtype=REAL))
    q = multivariate()
    (expected,) = torch.autograd.grad(td.kl_divergence(p, q), a, retain_graph=True)
    (found,) = torch.autograd.grad(kl_divergence(p, q), a)
    torch.testing.assert_close(found, expected)


def test_exact_where_torch_is_not():
    """Near p = q in float32, where the usual formula has few digits right."""
    std = torch.rand(1000) + 0.5
    p = td.Normal(torch.zeros(1000), std * (1 + 1e-5))
    q = td.Normal(torch.zeros(1000), std)
    exact = td.kl_divergence(td.Normal(p.loc.double(), p.scale.double()),
                             td.Normal(q.loc.double(), q.scale.double()))  # fmt: skip
    torch.testing.assert_close(kl_divergence(p, q).double(), exact, rtol=1e-6, atol=0)
    assert kl_divergence(p, p).eq(0).all()
    assert (td.kl_divergence(p, q).double() / exact - 1).abs().max() > 0.005  # or this is no test


def test_other_distributions_are_torch_s_business():
    pairs = [(td.Gamma(2.0, 1.0), td.Gamma(1.0, 1.0)), (td.Normal(0.0, 1.0), td.Laplace(0.0, 1.0)),
             (td.Independent(td.Gamma(torch.ones(3), 1.0), 1),
              td.Independent(td.Gamma(torch.ones(3), 2.0), 1))]  # fmt: skip
    for p, q in pairs:
        assert torch.equal(kl_divergence(p, q), td.kl_divergence(p, q))
    for q in (td.Beta(2.0, 3.0), td.Uniform(-3.0, 4.0), td.Pareto(1.0, 2.0), td.Exponential(3.0)):
        assert kl_divergence(td.Normal(-1.0, 2.0), q).isinf()
    with pytest.raises(NotImplementedError):
        kl_divergence(td.Normal(0.0, 1.0), td.Bernoulli(0.5))


def test_divergences_beyond_the_type_are_inf():
    p, q = td.Normal(torch.tensor(0.0), torch.tensor(1e20)), td.Normal(0.0, 1e-10)
    assert kl_divergence(p, q).isinf()
    assert kl_divergence(td.Normal(torch.tensor(1e30), 1.0), td.Normal(0.0, 1.0)).isinf()


def test_subclasses_keep_what_is_registered_for_them():
    class Own(td.Normal):
        pass

    @td.register_kl(Own, Own)
    def _own(p, q):
        return torch.tensor(42.0)

    assert kl_divergence(Own(0.0, 1.0), Own(0.0, 1.0)) == 42


def test_events_that_do_not_fit():
    with pytest.raises(ValueError, match=r"event shapes of p and q differ: \(3,\) and \(2,\)"):
        kl_divergence(multivariate(), multivariate(d=2))
    with pytest.raises(ValueError, match="differ"):
        kl_divergence(independent(2, 4), multivariate(2))
    with pytest.raises(NotImplementedError):
        kl_divergence(normal(3), multivariate())
    with pytest.raises(NotImplementedError):
        kl_divergence(independent(3, 3), independent(3, 3, n=2))


def test_invalid_parameters_are_nan_as_in_torch():
    p = td.Normal(torch.zeros(2), torch.tensor([1.0, -1.0]), validate_args=False)
    q = td.Normal(torch.zeros(2), torch.ones(2))
    assert kl_divergence(p, q).isnan().tolist() == [False, True]


@pytest.mark.filterwarnings("ignore")  # torch's own
def test_compile():
    def loss(mean, std):
        p = td.Independent(td.Normal(mean, std, validate_args=False), 1, validate_args=False)
        return kl_divergence(p, td.Independent(td.Normal(torch.zeros(3), torch.ones(3)), 1)).sum()

    torch._dynamo.reset()
    compiled = torch.compile(loss, fullgraph=True, backend="aot_eager")
    values = torch.randn(4, 3, requires_grad=True), (torch.rand(4, 3) + 0.5).requires_grad_()
    torch.testing.assert_close(compiled(*values), loss(*values))
    for a, b in zip(torch.autograd.grad(compiled(*values), values),
                    torch.autograd.grad(loss(*values), values), strict=True):  # fmt: skip
        torch.testing.assert_close(a, b)
