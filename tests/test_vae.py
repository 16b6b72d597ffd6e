# SPDX-License-Identifier: BSD-3-Clause
"""Objectives of VAEs: values by plain formulas, gradients by differences, tensors by autograd."""

import doctest
import importlib
import itertools
import pickle

import numpy as np
import pytest
from gaussians import gaussian
from helpers import FLOATS, same_bits

import gkl
from gkl import DiagNormal, InvalidGaussianError, tensors, vae
from gkl.vae import objective

RNG = np.random.default_rng(0)
KL = RNG.gamma(1, size=(7, 5))
BATCHES = [(7,), (2, 3), (1,), ()]
VARIANTS = list(itertools.product((True, False), (True, False)))  # per_dim, after_mean
SCHEMES = [
    vae.Beta(4.0),
    *(vae.FreeBits(0.6, per_dim=a, after_mean=b, beta=1.5) for a, b in VARIANTS),
    vae.Capacity(1.0, gamma=3.0),
    vae.Capacity(20.0, gamma=3.0, after_mean=False),
]
ids = {"ids": repr}


def plain(scheme, kl):
    """Of values of every dimension, as one writes it."""
    items = kl.reshape(-1, kl.shape[-1])
    whole = items.sum(1)
    if isinstance(scheme, vae.Beta):
        return scheme.beta * whole.mean()
    if isinstance(scheme, vae.Capacity):
        c, gamma = scheme.nats, scheme.gamma
        return gamma * (abs(whole.mean() - c) if scheme.after_mean else abs(whole - c).mean())
    nats, each = scheme.nats, [scheme.per_dim, scheme.after_mean]
    if each == [True, True]:
        value = np.maximum(items.mean(0), nats).sum()
    elif each == [True, False]:
        value = np.maximum(items, nats).sum(1).mean()
    elif each == [False, True]:
        value = max(whole.mean(), nats)
    else:
        value = np.maximum(whole, nats).mean()
    return scheme.beta * value


def values_for(scheme, kl):
    return kl if scheme.per_dim else kl.sum(-1)


# --- schemes of KL values


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("batch", BATCHES, **ids)
@pytest.mark.parametrize("scheme", SCHEMES, **ids)
def test_values_are_those_of_the_plain_formulas(scheme, batch, dtype):
    kl = RNG.gamma(1, size=(*batch, 5)).astype(dtype)
    given = values_for(scheme, kl)
    found = scheme(given)
    assert found.dtype == dtype
    assert found.shape == ()
    np.testing.assert_allclose(found, plain(scheme, kl.astype(float)), 8 * np.finfo(dtype).eps)
    assert scheme.weight(given).shape == given.shape
    assert scheme.weight(given).dtype == dtype
    same_bits(scheme.value_and_weight(given), (found, scheme.weight(given)))


@pytest.mark.parametrize("scheme", SCHEMES, **ids)
def test_weights_are_the_slopes_of_values(scheme):
    kl = values_for(scheme, KL)
    found = scheme.weight(kl)
    assert found.any()
    for index in np.ndindex(kl.shape):
        step = np.zeros_like(kl)
        step[index] = 1e-6
        slope = (scheme(kl + step) - scheme(kl - step)) / 2e-6
        assert found[index] == pytest.approx(slope, rel=1e-7, abs=1e-8), index


def test_weights_at_the_kinks():
    kl = np.array([[0.5, 0.25], [0.5, 1.0]])  # the first column is at 0.5 in any way
    assert vae.FreeBits(0.5).weight(kl).tolist() == [[0.5, 0.5]] * 2
    assert vae.FreeBits(0.5, after_mean=False).weight(kl).tolist() == [[0.5, 0.0], [0.5, 0.5]]
    whole = np.array([0.75, 1.0])
    assert vae.FreeBits(0.75, False, after_mean=False).weight(whole).tolist() == [0.5, 0.5]
    assert vae.FreeBits(0.875, False).weight(whole).tolist() == [0.5, 0.5]
    for x, expected in ((0.75, [0.0, 1.0]), (1.0, [-1.0, 0.0])):
        found = vae.Capacity(x, gamma=2.0, after_mean=False).weight(whole)
        assert found.tolist() == expected
    assert vae.Capacity(0.875, gamma=2.0).weight(whole).tolist() == [0.0, 0.0]


def test_schemes_take_what_numpy_does():
    assert vae.free_bits([[1, 0], [2, 1]], 1) == 2.5
    assert vae.Beta()(np.float32(2)) == 2
    assert vae.beta(np.ones((2, 3)), 4.0) == 4
    assert vae.capacity([3, 4], 5.0, gamma=100.0) == 150
    assert vae.free_bits(np.zeros((4, 0)), 1.0) == 0
    strided = np.broadcast_to(KL[:, :1], (7, 5))
    assert vae.free_bits(strided, 0.6) == vae.free_bits(strided.copy(), 0.6)
    for scheme in SCHEMES:
        assert pickle.loads(pickle.dumps(scheme)) == scheme


def test_infinite_and_missing_values_are_seen():
    kl = np.array([[np.inf, 1.0], [0.1, 2.0]])
    assert vae.FreeBits(0.5)(kl) == np.inf
    assert vae.Capacity(1.0, gamma=1.0)(kl.sum(1)) == np.inf
    assert vae.FreeBits(0.5, after_mean=False)(np.full((2, 1), 1e308)) == np.inf
    assert vae.Beta(100.0)(np.full(3, 1e38, np.float32)) == np.inf
    kl[0, 0] = np.nan
    for after_mean in (True, False):
        assert np.isnan(vae.FreeBits(0.5, after_mean=after_mean)(kl))
        assert vae.FreeBits(0.5, after_mean=after_mean).weight(kl)[0, 0] == 0.5
    assert np.isnan(vae.Capacity(0.5, gamma=1.0).weight(kl.sum(1))).all()


ZERO = [vae.Beta(0.0), vae.Capacity(1.0, gamma=0.0), vae.Capacity(1.0, 0.0, after_mean=False),
        *(vae.FreeBits(0.5, a, b, beta=0.0) for a, b in VARIANTS)]  # fmt: skip


@pytest.mark.parametrize("scheme", ZERO, **ids)
def test_a_factor_of_0_gives_0(scheme):
    """Where annealing starts, and divergences are often infinite."""
    value, weight = scheme.value_and_weight([[np.inf, 1.0]])
    assert (value, weight.tolist()) == (0, [[0, 0]])
    assert np.isnan(scheme([[np.nan, 1.0]]))
    p = DiagNormal(np.full((2, 3), 1e30, np.float32), logvar=np.zeros(3, np.float32))
    assert gkl.kl(p).tolist() == [np.inf] * 2
    value, grad, _ = vae.objective_and_grad(p, scheme=scheme)
    assert value == 0
    assert not any(x.any() for x in grad.parameters.values())


def test_a_factor_of_0_of_other_schemes():
    class Square(vae.Scheme):
        factor = 0.0

        def f(self, x):
            return x * x

        def slope(self, x):
            return 2 * x

    value, weight = Square().value_and_weight([np.inf, 1.0])
    assert (value, weight.tolist()) == (0, [0, 0])


def test_sums_of_float32_are_exact_to_a_rounding():
    kl = RNG.gamma(1, size=(300_000, 2)).astype(np.float32)
    for after_mean in (True, False):
        scheme = vae.FreeBits(0.6, after_mean=after_mean)
        assert scheme(kl) == pytest.approx(plain(scheme, kl.astype(float)), rel=6e-8)


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: vae.FreeBits(-1.0), ValueError, "nats is -1.0, and has to be a finite number"),
        (lambda: vae.FreeBits(np.nan), ValueError, "nats is nan"),
        (lambda: vae.FreeBits(1.0, beta=-2), ValueError, "beta is -2"),
        (lambda: vae.Beta(np.inf), ValueError, "beta is inf"),
        (lambda: vae.Capacity(-1.0, gamma=1.0), ValueError, "nats is -1.0"),
        (lambda: vae.Capacity(1.0, gamma=np.nan), ValueError, "gamma is nan"),
        (lambda: vae.balance(1.0, 1.0, 1.5), ValueError, "alpha is 1.5, and has to be from 0"),
        (lambda: vae.free_bits(1.0, 1.0), ValueError, "kl is a single number, and per_dim=True"),
        (lambda: vae.free_bits(np.ones((0, 3)), 1), ValueError, r"shape \(0, 3\): no items"),
        (lambda: vae.beta([], 1), ValueError, r"shape \(0,\): no items"),
        (lambda: vae.beta([1j], 1), TypeError, "kl has dtype complex128"),
        (lambda: vae.beta(["a"], 1), TypeError, "kl has dtype str"),
        (lambda: vae.beta([True], 1), TypeError, "kl has dtype bool"),
        (lambda: vae.Beta()(DiagNormal(0.0, var=1.0)), TypeError, "kl is a DiagNormal; its KL"),
        (lambda: vae.Beta()(tensors.DiagNormal(0.0, var=1.0)), TypeError, "kl is a DiagNormal"),
    ],
)
def test_bad_settings_and_values(call, error, words):
    with pytest.raises(error, match=words):
        call()


# --- of Gaussians

SHAPES = {  # of the parameters of p, then q
    "alike": [(6, 5)] * 4,
    "one prior": [(6, 5), (6, 5), (5,), (5,)],
    "isotropic": [(6, 5), (6, 1), (5,), (1,)],
    "each with each": [(3, 1, 5), (3, 1, 5), (4, 5), (1, 1, 5)],
    "one item": [(5,), (5,), (5,), (5,)],
}


def pair(shapes, dtype=np.float64, kinds=("logvar", "var")):
    rng = np.random.default_rng(1)
    x = [rng.normal(size=shape).astype(dtype) for shape in shapes]
    return tuple(
        DiagNormal(mean, **{kind: scale if kind == "logvar" else np.exp(scale)})
        for kind, mean, scale in zip(kinds, x[::2], x[1::2], strict=True)
    )


def check(p, q, scheme, dtype=np.float64, **options):
    """The objective and its gradients, against that of KL values and its differences."""
    per_dim = gkl.kl_per_dim if scheme.per_dim else gkl.kl
    value, *grads = vae.objective_and_grad(p, q, scheme, **options)
    same_bits(value, scheme(per_dim(p, q)))
    assert value.dtype == dtype
    scale = {"balance": 0.5} | options  # of p's, then q's
    factors = (1 - scale["balance"], scale["balance"]) if "balance" in options else (1, 1)

    def wide(x):
        return x and x.like([np.asarray(y, float) for y in x.parameters.values()])

    for k, (x, grad, factor) in enumerate(zip((p, q), grads, factors, strict=True)):
        if x is None:
            assert grad is None
            continue
        assert type(grad) is type(x)
        for name, parameter in x.parameters.items():
            found = getattr(grad, name)
            assert np.shape(found) == np.shape(parameter), name
            assert np.asarray(found).dtype == dtype
            direction = np.random.default_rng(2).normal(size=np.shape(parameter))
            if name in ("cov", "precision"):
                direction = direction + direction.swapaxes(-1, -2)
            if name == "tril":
                direction = np.tril(direction)
            values = []
            for h in (1e-6, -1e-6):
                moved = {n: np.asarray(y, float) for n, y in x.parameters.items()}
                moved[name] = moved[name] + h * direction
                both = [wide(p), wide(q)]
                both[k] = type(x)(**moved)
                values.append(float(scheme(per_dim(*both))))
            wanted = factor * (values[0] - values[1]) / 2e-6
            tolerance = 1e-6 if dtype == np.float64 else 1e-4
            assert np.sum(found * direction) == pytest.approx(wanted, tolerance, tolerance), name


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("shapes", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("scheme", SCHEMES, **ids)
def test_gradients_of_diagonal_gaussians(scheme, shapes, dtype):
    p, q = pair(shapes, dtype)
    check(p, q, scheme, dtype)
    check(p, None, scheme, dtype)
    check(p, q, scheme, dtype, balance=0.8)


@pytest.mark.parametrize("scheme", [x for x in SCHEMES if not x.per_dim], **ids)
@pytest.mark.parametrize("kinds", [("cov", "cov"), ("low_rank", "var"), ("std", "precision")])
def test_gradients_of_other_gaussians(scheme, kinds):
    p, q = gaussian(kinds[0], (6,)), gaussian(kinds[1], (), seed=1)
    check(p, q, scheme)
    check(p, q, scheme, balance=0.25)


@pytest.mark.parametrize("scheme", SCHEMES, **ids)
def test_numbers_as_parameters(scheme):
    number = DiagNormal(0.5, var=2.0)
    arrays = pair(SHAPES["alike"])[0]
    for p, q in ((number, None), (number, number), (arrays, number), (number, arrays)):
        check(p, q, scheme)
    check(DiagNormal(np.array(1.0), std=np.array(0.5)), None, scheme)


def test_free_bits_stop_gradients_where_they_are_free():
    p, _ = pair([(50, 4)] * 4)
    p.mean[:, 1] /= 100
    p.logvar[:, 1] /= 100  # this dimension has almost collapsed
    _, grad, _ = vae.objective_and_grad(p, scheme=vae.FreeBits(0.1))
    _, expected, _ = gkl.kl_and_grad(p, weight=1 / 50)
    for name in ("mean", "logvar"):
        found = getattr(grad, name)
        assert not found[:, 1].any()
        np.testing.assert_allclose(np.delete(found, 1, 1),
                                   np.delete(getattr(expected, name), 1, 1), 1e-14)  # fmt: skip


def test_balance_multiplies_gradients_and_not_the_value():
    p, q = pair(SHAPES["one prior"])
    value, grad_p, grad_q = vae.objective_and_grad(p, q)
    for alpha in (0.0, 0.8, 1.0):
        found = vae.objective_and_grad(p, q, balance=alpha)
        same_bits(found[0], value)
        for x, y, factor in ((found[1], grad_p, 1 - alpha), (found[2], grad_q, alpha)):
            for a, b in zip(x.parameters.values(), y.parameters.values(), strict=True):
                np.testing.assert_array_equal(a, factor * b)
    found = vae.objective_and_grad(p, q, balance=0.8, wrt=("q",))
    assert found[1] is None
    np.testing.assert_array_equal(found[2].mean, 0.8 * grad_q.mean)


@pytest.mark.parametrize("scheme", SCHEMES, **ids)
def test_at_most_two_passes(scheme, monkeypatch):
    calls = []
    for name in ("kl", "kl_per_dim", "kl_and_grad"):

        def counted(*args, name=name, **options):
            calls.append(name)
            return getattr(gkl, name)(*args, **options)

        monkeypatch.setattr(objective, name, counted)
    vae.objective_and_grad(*pair(SHAPES["one prior"]), scheme)
    assert calls[-1] == "kl_and_grad"
    assert len(calls) == (1 if isinstance(scheme, vae.Beta) else 2)


@pytest.mark.parametrize("scheme", SCHEMES, **ids)
def test_bad_items_are_named_as_they_were_given(scheme):
    p, q = pair(SHAPES["one prior"], kinds=("var", "var"))
    p.var[4, 3] = -1
    with pytest.raises(InvalidGaussianError, match=r"1 of 6 .* p\.var\[4, 3\] = -1\.0 is not pos"):
        vae.objective_and_grad(p, q, scheme)


@pytest.mark.parametrize("scheme", SCHEMES, **ids)
def test_what_does_not_fit(scheme):
    p, q = pair(SHAPES["alike"])
    for other in (q[:4], DiagNormal(np.zeros(4), var=1.0)):
        with pytest.raises(ValueError, match="p and q"):
            vae.objective_and_grad(p, other, scheme)
    with pytest.raises(ValueError, match="no items"):
        vae.objective_and_grad(p[:0], None, scheme)
    with pytest.raises(TypeError, match="q is a int, not a gkl distribution"):
        vae.objective_and_grad(p, 3, scheme)
    if scheme.per_dim:
        for a, b, name in ((gaussian("cov", (6,), 5), None, "p is a FullNormal"),
                           (p, gaussian("low_rank", (), 5), "q is a LowRankNormal")):  # fmt: skip
            with pytest.raises(TypeError, match=name + ".* per_dim=False"):
                vae.objective_and_grad(a, b, scheme)


def test_other_errors_of_objectives():
    p, q = pair(SHAPES["alike"])
    for balance in (-0.1, 1.1, np.nan):
        with pytest.raises(ValueError, match=r"balance is .* has to be from 0 to 1"):
            vae.objective_and_grad(p, q, balance=balance)
    with pytest.raises(ValueError, match="q is None"):
        vae.objective_and_grad(p, balance=0.5)
    for scheme in (0.5, vae.Beta):
        with pytest.raises(TypeError, match=r"scheme is .*, not a Scheme such as vae\.Beta"):
            vae.objective_and_grad(p, q, scheme)
    mixed = tensors.DiagNormal(q.mean, var=1.0)
    for a, b, name in ((mixed, None, "p"), (p, mixed, "q")):
        with pytest.raises(TypeError, match=name + r" is a Gaussian of tensors.* vae\.free_bits"):
            vae.objective_and_grad(a, b)
    with pytest.raises(ValueError, match="wrt= takes 'p' and 'q'"):
        vae.objective_and_grad(p, q, wrt=("r",))
    array = pytest.importorskip("dask.array")
    with pytest.raises(TypeError, match="no Dask arrays"):
        vae.objective_and_grad(DiagNormal(array.zeros((3, 2)), var=1.0))


# --- of tensors

CALLS = [
    (vae.Beta(4.0), lambda kl: vae.beta(kl, 4.0)),
    *((x, lambda kl, x=x: vae.free_bits(kl, x.nats, per_dim=x.per_dim, after_mean=x.after_mean,
                                        beta=x.beta)) for x in SCHEMES[1:5]),
    *((x, lambda kl, x=x: vae.capacity(kl, x.nats, gamma=x.gamma, after_mean=x.after_mean))
      for x in SCHEMES[5:]),
]  # fmt: skip


@pytest.mark.parametrize(("scheme", "call"), CALLS, ids=map(repr, SCHEMES))
def test_tensors_of_torch(scheme, call):
    torch = pytest.importorskip("torch")
    for dtype, shape in itertools.product((torch.float32, torch.float64), [(7, 5), (2, 3, 5)]):
        kl = torch.tensor(KL.ravel()[: np.prod(shape)].reshape(shape), dtype=dtype)
        kl = values_for(scheme, kl).requires_grad_()
        value = call(kl)
        value.backward()
        assert (value.dtype, value.shape) == (dtype, ())
        array = kl.detach().numpy()
        eps = torch.finfo(dtype).eps
        np.testing.assert_allclose(value.item(), scheme(array), 16 * eps)
        np.testing.assert_allclose(kl.grad.numpy(), scheme.weight(array), 4 * eps)
    half = values_for(scheme, torch.tensor(KL)).to(torch.bfloat16)
    assert call(half).dtype == torch.bfloat16


@pytest.mark.parametrize("scheme", ZERO, **ids)
def test_a_factor_of_0_gives_0_for_tensors(scheme):
    torch = pytest.importorskip("torch")
    for values in ([[np.inf, 1.0]], [[0.0, 0.0]], [[1.0, 1.0]]):
        kl = torch.tensor(values, requires_grad=True)
        value = scheme(kl)
        value.backward()
        assert (value.item(), kl.grad.tolist()) == (0, [[0, 0]])


HALF = [(vae.Beta(), 2), (vae.Capacity(1.5, gamma=2.0, after_mean=False), 1),
        *((vae.FreeBits(1.0, per_dim=False, after_mean=x), 2) for x in (True, False))]  # fmt: skip


@pytest.mark.parametrize(("scheme", "expected"), HALF, **ids)
def test_sums_of_16_bits_do_not_overflow(scheme, expected):
    torch = pytest.importorskip("torch")
    for dtype in (torch.float16, torch.bfloat16):
        value = scheme(torch.full((70_000,), 2.0, dtype=dtype))
        assert (value.item(), value.dtype) == (expected, dtype)


def test_sums_of_16_bits_do_not_overflow_in_numpy():
    bfloat16 = pytest.importorskip("ml_dtypes").bfloat16
    for scheme, expected in HALF:
        for dtype in (np.float16, bfloat16):
            value = scheme(np.full(70_000, 2.0, dtype))
            assert (value, value.dtype) == (expected, dtype)


def test_sums_of_16_bits_do_not_overflow_in_jax():
    jax = pytest.importorskip("jax")
    for scheme, expected in HALF:
        for dtype in ("float16", "bfloat16"):
            value = scheme(jax.numpy.full(70_000, 2.0, dtype))
            assert (float(value), value.dtype) == (expected, dtype)


def test_tensors_that_are_not_real():
    torch = pytest.importorskip("torch")
    assert vae.beta(torch.tensor([1, 2]), 2.0) == 3
    for dtype in (torch.bool, torch.complex64):
        with pytest.raises(TypeError, match=f"kl has dtype {dtype}; real numbers"):
            vae.beta(torch.ones(3, dtype=dtype), 1.0)


def test_annealing_does_not_compile_again():
    torch = pytest.importorskip("torch")
    from torch._dynamo.testing import CompileCounterWithBackend

    kl = torch.tensor(KL)
    for call in (
        vae.beta,
        vae.free_bits,
        lambda kl, x: vae.free_bits(kl, 0.5, beta=x),
        lambda kl, x: vae.capacity(kl, x, gamma=1.0),
    ):
        torch.compiler.reset()
        graphs = CompileCounterWithBackend("aot_eager")
        compiled = torch.compile(call, backend=graphs)
        for x in np.linspace(0.1, 0.9, 6).tolist():
            assert compiled(kl, x).item() == pytest.approx(call(kl, x).item(), rel=1e-14)
        assert graphs.frame_count <= 2  # of a constant, then of a variable


def test_torch_compiles_them():
    torch = pytest.importorskip("torch")
    kl = torch.tensor(KL)
    for scheme, call in CALLS:
        compiled = torch.compile(call, backend="eager", fullgraph=True)
        assert compiled(values_for(scheme, kl)) == call(values_for(scheme, kl))


def test_with_the_divergence_of_tensors():
    torch = pytest.importorskip("torch")
    import gkl.torch

    p, q = pair(SHAPES["one prior"])
    leaves = [torch.tensor(y, requires_grad=True) for x in (p, q) for y in x.parameters.values()]
    tensors = (gkl.torch.DiagNormal(leaves[0], logvar=leaves[1]),
               gkl.torch.DiagNormal(leaves[2], var=leaves[3]))  # fmt: skip
    for scheme in SCHEMES:
        divergence = gkl.torch.kl_per_dim if scheme.per_dim else gkl.torch.kl
        loss = scheme(divergence(*tensors))
        found = torch.autograd.grad(loss, leaves)
        value, *grads = vae.objective_and_grad(p, q, scheme)
        assert loss.item() == pytest.approx(value, rel=1e-14)
        expected = [y for x in grads for y in x.parameters.values()]
        for a, b in zip(found, expected, strict=True):
            np.testing.assert_allclose(a.numpy(), b, 1e-13, 1e-15)


def test_torch_agrees_at_the_kinks():
    torch = pytest.importorskip("torch")
    for scheme, values in (
        (vae.FreeBits(0.5), [[0.5, 0.25], [0.5, 1.0]]),
        (vae.FreeBits(0.5, after_mean=False), [[0.5, 0.25], [0.5, 1.0]]),
        (vae.Capacity(0.75, gamma=2.0, after_mean=False), [0.75, 1.0]),
    ):
        kl = torch.tensor(values, dtype=torch.float64, requires_grad=True)
        scheme(kl).backward()
        assert kl.grad.tolist() == scheme.weight(values).tolist()


def test_balance_of_tensors_is_that_of_arrays():
    torch = pytest.importorskip("torch")
    p, q = pair(SHAPES["one prior"], kinds=("logvar", "logvar"))
    scheme = vae.FreeBits(0.6, after_mean=False)
    value, *grads = vae.objective_and_grad(p, q, scheme, balance=0.8)

    def kl(mean_p, logvar_p, mean_q, logvar_q):
        ratio, delta = logvar_p - logvar_q, mean_p - mean_q
        return (torch.expm1(ratio) - ratio + delta**2 / torch.exp(logvar_q)) / 2

    leaves = [torch.tensor(y, requires_grad=True) for x in (p, q) for y in x.parameters.values()]
    fixed = [x.detach() for x in leaves]
    loss = scheme(vae.balance(kl(*fixed[:2], *leaves[2:]), kl(*leaves[:2], *fixed[2:]), 0.8))
    loss.backward()
    assert loss.item() == pytest.approx(value, rel=1e-12)
    expected = [y for x in grads for y in x.parameters.values()]
    for leaf, y in zip(leaves, expected, strict=True):
        np.testing.assert_allclose(leaf.grad.numpy(), y, 1e-11, 1e-13)


@pytest.mark.parametrize(("scheme", "call"), CALLS, ids=map(repr, SCHEMES))
def test_arrays_of_jax(scheme, call):
    jax = pytest.importorskip("jax")
    kl = values_for(scheme, KL).astype(np.float32)
    value, grad = jax.jit(jax.value_and_grad(call))(kl)
    np.testing.assert_allclose(value, scheme(kl), 1e-6)
    np.testing.assert_allclose(grad, scheme.weight(kl), 1e-6)


# --- schedules


def test_linear_schedule():
    schedule = vae.LinearSchedule(10, start=1.0, stop=25.0, delay=5)
    assert [schedule(step) for step in (0, 5, 15, 10**9)] == [1, 1, 25, 25]
    for step in range(5, 16):
        assert schedule(step) == pytest.approx(1 + 24 * (step - 5) / 10, rel=1e-15)
    assert vae.LinearSchedule(4, 1.0, 0.0)(1) == 0.75
    assert pickle.loads(pickle.dumps(schedule)) == schedule


def test_cyclical_schedule():
    """With the formula of Fu et al., whose steps are counted from 1."""
    total, cycles, ramp = 120, 4, 0.5
    schedule = vae.CyclicalSchedule(total // cycles, cycles=cycles, ramp=ramp)
    for t in range(1, total + 1):
        tau = ((t - 1) % (total // cycles)) / (total / cycles)
        assert schedule(t - 1) == pytest.approx(tau / ramp if tau <= ramp else 1.0, rel=1e-15)
    assert schedule(total) == schedule(10 * total) == 1
    assert vae.CyclicalSchedule(30)(10 * total) == 0
    assert vae.CyclicalSchedule(1)(5) == 0
    sawtooth = vae.CyclicalSchedule(4, ramp=1.0, start=2.0, stop=4.0)
    assert [sawtooth(step) for step in range(5)] == [2, 2.5, 3, 3.5, 2]


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: vae.LinearSchedule(0), "steps is 0, and has to be at least 1"),
        (lambda: vae.LinearSchedule(1, delay=-1), "delay is -1"),
        (lambda: vae.LinearSchedule(1)(-1), "step is -1, and has to be at least 0"),
        (lambda: vae.LinearSchedule(4, start=np.nan), "start is nan, and has to be finite"),
        (lambda: vae.LinearSchedule(4, stop=np.inf), "stop is inf"),
        (lambda: vae.CyclicalSchedule(4, stop=np.nan), "stop is nan"),
        (lambda: vae.CyclicalSchedule(0), "period is 0"),
        (lambda: vae.CyclicalSchedule(3, cycles=0), "cycles is 0"),
        (lambda: vae.CyclicalSchedule(3, ramp=0.0), "ramp is 0.0"),
        (lambda: vae.CyclicalSchedule(3, ramp=1.5), "ramp is 1.5"),
        (lambda: vae.CyclicalSchedule(3)(-1), "step is -1"),
    ],
)
def test_bad_schedules(call, words):
    with pytest.raises(ValueError, match=words):
        call()


@pytest.mark.thread_unsafe  # a doctest takes the process's stdout
@pytest.mark.parametrize(
    "name", ["", ".scheme", ".schemes", ".schedules", ".objective", ".statistics"]
)
def test_examples_of_docstrings(name):
    failed, tried = doctest.testmod(importlib.import_module("gkl.vae" + name))
    assert failed == 0
    assert tried > 1


def test_import_needs_numpy_alone():
    from helpers import python

    python("import sys, gkl.vae\nassert not {'torch', 'jax', 'matplotlib'} & {*sys.modules}")
