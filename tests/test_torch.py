# SPDX-License-Identifier: BSD-3-Clause
"""gkl.torch: the core's own values and gradients, and every way that torch takes derivatives."""

import pickle
import warnings

import numpy as np
import pytest
from gaussians import DIAG, EVERY, FULL, gaussian

import gkl

torch = pytest.importorskip("torch")

import gkl.torch as gt  # noqa: E402
from gkl.torch import evaluation  # noqa: E402
from gkl.torch.formula import kl as formula  # noqa: E402
from gkl.torch.operator import operator  # noqa: E402

PAIRS = [(p, q) for p in EVERY for q in (*EVERY, None)]
SOME = [("logvar", None), ("std", "std"), ("var", "cov"), ("cov", "tril"), ("tril", "low_rank"),
        ("precision", "precision"), ("low_rank", "low_rank")]  # fmt: skip
CLASSES = {gkl.DiagNormal: gt.DiagNormal, gkl.FullNormal: gt.FullNormal,
           gkl.LowRankNormal: gt.LowRankNormal}  # fmt: skip


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    with gkl.num_threads(1):
        yield
    torch.set_num_threads(before)


def tensors(x, grad=False):
    """The same Gaussian in torch."""
    if x is None:
        return None
    values = {k: torch.from_numpy(np.array(v)) for k, v in x.parameters.items()}
    return CLASSES[type(x)](**{k: v.requires_grad_(grad) for k, v in values.items()})


def pair(p, q, batch=(2,), d=2, dtype=np.float64, q_batch=None):
    """Gaussians of NumPy, q for the whole batch."""
    other = None if q is None else gaussian(q, q_batch or (), d, dtype, seed=2, rank=1)
    return gaussian(p, batch, d, dtype, seed=1, rank=1), other


def leaves(*gaussians):
    return [x for g in gaussians if g is not None for x in g.parameters.values()]


def function(p, q):
    """KL as a function of parameters, with matrices that are symmetric or triangular whatever
    is put in, as numerical derivatives do."""

    def tame(x):
        if x.kind in ("cov", "precision"):
            return x.like([x.mean, (x.parameters[x.kind] + x.parameters[x.kind].mT) / 2])
        return x.like([x.mean, x.tril.tril()]) if x.kind == "tril" else x

    def kl(*values):
        n = len(p.parameters)
        return gt.kl(tame(p.like(values[:n])), q and tame(q.like(values[n:])))

    return kl


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("p", "q"), PAIRS)
def test_values_and_gradients_are_those_of_numpy(p, q, dtype):
    a, b = pair(p, q, (5,), 3, dtype)
    x, y = tensors(a, grad=True), tensors(b, grad=True)
    value = gt.kl(x, y)
    weight = torch.linspace(-1, 2, 5, dtype=value.dtype)
    expected, grad_a, grad_b = gkl.kl_and_grad(a, b, weight=weight.numpy())
    assert value.dtype == torch.from_numpy(expected).dtype
    np.testing.assert_array_equal(value.detach().numpy(), expected)
    (value * weight).sum().backward()
    eps = np.finfo(dtype).eps
    for found, g in ((x, grad_a), (y, grad_b)):
        for name in g.parameters if g is not None else ():
            want = g.parameters[name]
            got = found.parameters[name].grad.numpy()
            assert got.dtype == want.dtype
            np.testing.assert_allclose(
                got, want, rtol=16 * eps, atol=16 * eps * np.abs(want).max()
            )


@pytest.mark.parametrize("kind", DIAG)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_comes_as_float32(kind, dtype):
    pytest.importorskip("ml_dtypes")
    mean = torch.linspace(-1, 1, 6).reshape(2, 3).to(dtype).requires_grad_()
    scale = torch.linspace(0.5, 1.5, 6).reshape(2, 3).to(dtype).requires_grad_()
    value = gt.kl(gt.DiagNormal(mean, **{kind: scale}))
    assert value.dtype == torch.float32
    value.sum().backward()
    assert mean.grad.dtype == scale.grad.dtype == dtype
    wide = gkl.DiagNormal(mean.detach().float().numpy(), **{kind: scale.detach().float().numpy()})
    expected, grad, _ = gkl.kl_and_grad(wide)
    np.testing.assert_array_equal(value.detach().numpy(), expected)
    torch.testing.assert_close(mean.grad, torch.from_numpy(grad.mean).to(dtype))


def test_nothing_is_copied():
    for x in (torch.zeros(4, 6)[:, ::2], torch.zeros(3, 2).mT, torch.zeros(3, requires_grad=True),
              torch.zeros(1, 3).expand(5, 3), torch.zeros(3, dtype=torch.float16)):  # fmt: skip
        assert np.shares_memory(evaluation._array(x), x.detach().numpy())


def test_numbers_and_shapes_of_one_element():
    mean = torch.tensor([[1.0, 2.0], [3.0, 4.0]], dtype=torch.float64, requires_grad=True)
    value = gt.kl(gt.DiagNormal(mean, var=1), gt.DiagNormal(0.0, std=2.0))
    expected = gkl.kl(gkl.DiagNormal(mean.detach().numpy(), var=1), gkl.DiagNormal(0.0, std=2.0))
    np.testing.assert_allclose(value.detach(), expected, rtol=1e-15)
    value.sum().backward()
    np.testing.assert_allclose(mean.grad, mean.detach() / 4, rtol=1e-15)
    assert gt.kl(gt.DiagNormal(1.0, std=1.0)).dtype == torch.float64
    shared = torch.ones(1, requires_grad=True)
    gt.kl(gt.DiagNormal(torch.ones(2, 3), var=shared)).sum().backward()
    assert shared.grad.shape == (1,)
    assert gt.kl(gt.DiagNormal(torch.ones(0, 3), var=1.0)).shape == (0,)
    assert gt.kl(gt.DiagNormal(torch.ones(2, 0), var=torch.ones(2, 0))).tolist() == [0, 0]


def test_kl_per_dim():
    p, q = pair("logvar", "std", (4,), 3)
    x, y = tensors(p, grad=True), tensors(q, grad=True)
    value = gt.kl_per_dim(x, y)
    np.testing.assert_array_equal(value.detach().numpy(), gkl.kl_per_dim(p, q))
    value.sum().backward()
    _, grad_p, grad_q = gkl.kl_and_grad(p, q)
    np.testing.assert_allclose(x.logvar.grad, grad_p.logvar, rtol=1e-14)
    np.testing.assert_allclose(y.std.grad, grad_q.std, rtol=1e-14)
    with pytest.raises(TypeError, match="q is a FullNormal: a divergence of correlated"):
        gt.kl_per_dim(x, tensors(gaussian("cov", (), 3)))


@pytest.mark.parametrize(("p", "q"), SOME)
def test_numerical_derivatives_of_first_and_second_order(p, q):
    x, y = (tensors(g, grad=True) for g in pair(p, q))
    assert torch.autograd.gradcheck(function(x, y), leaves(x, y))
    assert torch.autograd.gradgradcheck(function(x, y), leaves(x, y))


@pytest.mark.slow
@pytest.mark.parametrize(("p", "q"), PAIRS)
def test_numerical_derivatives_of_all_pairs(p, q):
    test_numerical_derivatives_of_first_and_second_order(p, q)


@pytest.mark.parametrize(("p", "q"), PAIRS)
def test_the_closed_form_is_the_same_divergence(p, q):
    a, b = pair(p, q, (3,), 3, q_batch=(3,))
    values = [torch.from_numpy(x) for g in (a, b) if g is not None for x in leaves(g)]
    kinds = [None if g is None else CLASSES[type(g)](**g.parameters).kind for g in (a, b)]
    np.testing.assert_allclose(formula(values, kinds[0], kinds[1] or ""), gkl.kl(a, b), rtol=1e-12)


def test_second_derivatives_near_equality_and_far_away():
    """Exact in float32, too: d2KL/dlogvar2 is r/2, d2KL/dvar_p2 is 1/(2 v_p^2)."""
    logvar = torch.tensor([1e-6, 5.0, -20.0], requires_grad=True)
    value = gt.kl(gt.DiagNormal(torch.zeros(3), logvar=logvar))
    (grad,) = torch.autograd.grad(value, logvar, create_graph=True)
    (second,) = torch.autograd.grad(grad.sum(), logvar)
    torch.testing.assert_close(second, torch.exp(logvar.detach()) / 2, rtol=1e-6, atol=0)
    var = torch.tensor([1e-4, 1.0, 1e4], requires_grad=True)
    value = gt.kl(gt.DiagNormal(torch.zeros(3), var=var))
    (grad,) = torch.autograd.grad(value, var, create_graph=True)
    (second,) = torch.autograd.grad(grad.sum(), var)
    torch.testing.assert_close(second, 0.5 / var.detach() ** 2, rtol=1e-6, atol=0)


def test_the_gradient_with_a_graph_is_the_accurate_one():
    mean = torch.zeros(2, 3, requires_grad=True)
    logvar = torch.full((2, 3), 1e-7, requires_grad=True)
    value = gt.kl(gt.DiagNormal(mean, logvar=logvar)).sum()
    plain = torch.autograd.grad(value, logvar, retain_graph=True)[0]
    with_graph = torch.autograd.grad(value, logvar, create_graph=True)[0]
    assert torch.equal(plain, with_graph)
    torch.testing.assert_close(plain, torch.full((2, 3), 5e-8), rtol=1e-6, atol=0)


def test_third_derivatives():
    logvar = torch.tensor([0.3], dtype=torch.float64, requires_grad=True)
    value = gt.kl(gt.DiagNormal(torch.zeros(1, dtype=torch.float64), logvar=logvar))
    for _ in range(3):
        (value,) = torch.autograd.grad(value, logvar, create_graph=True)
    torch.testing.assert_close(value.detach(), torch.exp(logvar.detach()) / 2)


def vector_function(q):
    """KL of one Gaussian from a fixed q."""
    return lambda mean, logvar: gt.kl(gt.DiagNormal(mean, logvar=logvar), q)


@pytest.fixture
def batch():
    p, q = pair("logvar", "cov", (4,), 3)
    return tensors(p), tensors(q)


def test_func_grad_and_vmap(batch):
    p, q = batch
    f = vector_function(q)
    expected, grad, _ = gkl.kl_and_grad(
        gkl.DiagNormal(p.mean.numpy(), logvar=p.logvar.numpy()),
        gkl.FullNormal(q.mean.numpy(), cov=q.cov.numpy()),
    )
    found = torch.vmap(f)(p.mean, p.logvar)
    np.testing.assert_allclose(found, expected, rtol=1e-14)
    for of in (torch.vmap(torch.func.grad(f, (0, 1))),
               torch.func.grad(lambda *x: torch.vmap(f)(*x).sum(), (0, 1)),
               torch.func.grad(lambda *x: f(*x).sum(), (0, 1))):  # fmt: skip
        mean, logvar = of(p.mean, p.logvar)
        np.testing.assert_allclose(mean, grad.mean, rtol=1e-13)
        np.testing.assert_allclose(logvar, grad.logvar, rtol=1e-12)


def test_vmap_over_one_operand_other_axes_and_twice(batch):
    p, q = batch
    f = vector_function(q)
    every = torch.vmap(torch.vmap(f, (0, None)), (None, 0))(p.mean, p.logvar)
    expected = gt.kl(gt.DiagNormal(p.mean, logvar=p.logvar[:, None]), q)
    torch.testing.assert_close(every, expected, rtol=0, atol=0)
    covs = torch.stack([q.cov, 2 * q.cov], 2)
    found = torch.vmap(lambda c: gt.kl(p, gt.FullNormal(q.mean, cov=c)), in_dims=2)(covs)
    assert found.shape == (2, 4)
    torch.testing.assert_close(found[1], gt.kl(p, gt.FullNormal(q.mean, cov=2 * q.cov)))
    per_dim = torch.vmap(lambda m, s: gt.kl_per_dim(gt.DiagNormal(m, logvar=s)))(p.mean, p.logvar)
    torch.testing.assert_close(per_dim, gt.kl_per_dim(p))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's own
def test_func_second_and_forward_derivatives(batch):
    p, q = batch
    f = vector_function(q)
    inverse = torch.linalg.inv(q.cov)
    one = p.mean[0], p.logvar[0]
    torch.testing.assert_close(torch.func.hessian(f)(*one), inverse)
    torch.testing.assert_close(torch.func.jacrev(torch.func.jacrev(f))(*one), inverse)
    torch.testing.assert_close(
        torch.vmap(torch.func.hessian(f))(p.mean, p.logvar), inverse.expand(4, 3, 3)
    )
    along = torch.ones(3, dtype=torch.float64), torch.zeros(3, dtype=torch.float64)
    value, slope = torch.func.jvp(f, one, along)
    torch.testing.assert_close(value, f(*one))
    torch.testing.assert_close(slope, torch.func.grad(f)(*one).sum())


@pytest.mark.parametrize(("p", "q"), [("logvar", None), ("var", "cov"), ("low_rank", "tril")])
def test_opcheck(p, q):
    x, y = (tensors(g, grad=True) for g in pair(p, q, (3,), 2))
    values = leaves(x, y)
    for wanted in ([True] * len(values), [i == 1 for i in range(len(values))]):
        args = (values, x.kind, "" if y is None else y.kind, wanted, True)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch's own
            results = torch.library.opcheck(operator, args)
        assert set(results.values()) == {"SUCCESS"}
        assert len(results) >= 4


@pytest.mark.filterwarnings("ignore")  # torch's own
@pytest.mark.parametrize("dynamic", [False, True])
def test_compile_without_a_graph_break(dynamic):
    def loss(mean, logvar, cov):
        p = gt.DiagNormal(2 * mean, logvar=logvar)
        q = gt.FullNormal(0.0, cov=cov)
        return gt.kl(p, q).sum() + gt.kl_per_dim(p).mean() + gt.kl(p).mean()

    torch._dynamo.reset()
    compiled = torch.compile(loss, fullgraph=True, dynamic=dynamic, backend="aot_eager")
    for n in (4, 7):
        p, q = pair("logvar", "cov", (n,), 3)
        values = [torch.from_numpy(x).requires_grad_() for x in (p.mean, p.logvar, q.cov)]
        expected, found = loss(*values), compiled(*values)
        torch.testing.assert_close(found, expected)
        for a, b in zip(torch.autograd.grad(found, values), torch.autograd.grad(expected, values),
                        strict=True):  # fmt: skip
            torch.testing.assert_close(a, b)


def test_what_is_not_wanted_is_not_computed(monkeypatch):
    asked = []
    evaluate = evaluation._core.evaluate

    class Core:
        @staticmethod
        def evaluate(output, p, q, places, *rest):
            asked.append((output, tuple(places)))
            return evaluate(output, p, q, places, *rest)

    monkeypatch.setattr(evaluation, "_core", Core)
    mean, std = torch.zeros(2, 3), torch.ones(2, 3, requires_grad=True)
    p, q = gt.DiagNormal(mean, std=std), gt.DiagNormal(mean, std=torch.ones(3))
    gt.kl(p, q).sum().backward()
    with torch.no_grad():
        gt.kl(p, q)
    assert asked == [("grad", (0, 2)), ("value", (0,))]


def test_changes_in_place_are_noticed():
    mean = torch.ones(2, 3, requires_grad=True)
    scaled = mean * 1
    value = gt.kl(gt.DiagNormal(scaled, var=1.0)).sum()
    scaled.mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        value.backward()


def test_bad_items():
    var = torch.ones(4, 3)
    var[2, 1] = -1
    p = gt.DiagNormal(torch.zeros(4, 3), var=var)
    with pytest.raises(
        gkl.InvalidGaussianError, match=r"p\.var\[2, 1\] = -1.0 is not positive"
    ) as e:
        gt.kl(p)
    assert e.value.index.tolist() == [[2]]
    value = gt.kl(p, on_error="nan")
    assert value.isnan().tolist() == [False, False, True, False]
    var.requires_grad_()
    p = gt.DiagNormal(torch.zeros(4, 3), var=var)
    with pytest.raises(gkl.InvalidGaussianError, match=r"p\.var\[2, 1\]"):
        gt.kl(p)
    gt.kl(p, on_error="nan").sum().backward()
    assert var.grad.isnan().any(-1).tolist() == [False, False, True, False]


@pytest.mark.parametrize("transform", [lambda f: f, torch.vmap])
def test_a_bad_item_that_is_left_out_has_gradient_0(transform):
    var = torch.tensor([[1.0, 2.0], [-1.0, 2.0]], requires_grad=True)
    value = transform(
        lambda mean, v: gt.kl(gt.DiagNormal(mean, var=v), on_error="nan")
    )(torch.ones(2, 2), var)  # fmt: skip
    value.nan_to_num(0).sum().backward()
    torch.testing.assert_close(var.grad, torch.tensor([[0.0, 0.25], [0.0, 0.0]]))


@pytest.mark.parametrize(
    ("p", "error", "words"),
    [
        (lambda: gkl.DiagNormal(0.0, var=1.0), TypeError, "p is a DiagNormal, not a Gaussian of"),
        (lambda: gt.DiagNormal(torch.ones(3).int(), var=1.0), TypeError,
         "p.mean has dtype torch.int32"),
        (lambda: gt.DiagNormal([0.0], var=1.0), TypeError, "p.mean is a list; a tensor or a"),
        (lambda: gt.DiagNormal(torch.ones(3), var=torch.ones(2)), ValueError,
         r"do not fit: shapes p.mean \(3,\), p.var \(2,\)"),
        (lambda: gt.FullNormal(torch.ones(3), cov=torch.ones(3)), ValueError, r"p.cov \(3,\)"),
        (lambda: gt.FullNormal(torch.ones(3), cov=torch.ones(3, 2)), ValueError, "not square"),
        (lambda: gt.DiagNormal(torch.ones(2, 3), var=torch.ones(4, 3)), ValueError, "do not fit"),
    ],
)  # fmt: skip
def test_wrong_arguments(p, error, words):
    with pytest.raises(error, match=words):
        gt.kl(p())


def test_constructors_refuse():
    with pytest.raises(TypeError, match="exactly one of var=, std= and logvar=, and got none"):
        gt.DiagNormal(torch.ones(3))
    with pytest.raises(
        TypeError, match="exactly one of cov=, tril= and precision=, and got cov and"
    ):
        gt.FullNormal(torch.ones(3), cov=torch.eye(3), tril=torch.eye(3))
    with pytest.raises(ValueError, match="on_error="):
        gt.kl(gt.DiagNormal(0.0, var=1.0), on_error="ignore")


def test_other_devices_are_an_error():
    from torch._subclasses.fake_tensor import FakeTensorMode

    with FakeTensorMode():
        mean = torch.empty(2, 3, device="cuda")
        with pytest.raises(ValueError, match=r"p.mean is on cuda:0, and gkl computes on the CPU"):
            gt.kl(gt.DiagNormal(mean, var=1.0))


def test_shapes_without_data():
    mean = torch.empty(5, 3, device="meta")
    assert gt.kl(gt.DiagNormal(mean, var=torch.empty(3, device="meta"))).shape == (5,)


@pytest.mark.parametrize("kind", FULL)
def test_upper_triangles_are_not_read(kind):
    p = tensors(gaussian(kind, (2,), 3))
    matrix = p.parameters[kind]
    other = p.like([p.mean, matrix.tril() + torch.full((3, 3), 7.0, dtype=torch.float64).triu(1)])
    torch.testing.assert_close(gt.kl(p), gt.kl(other), rtol=0, atol=0)


def ordinary(mean):
    """.5 |mean|^2"""
    return gt.kl(gt.DiagNormal(mean, var=torch.ones(3, dtype=torch.float64)))


@pytest.fixture
def ones():
    return torch.ones(3, dtype=torch.float64)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's own
def test_second_derivatives_through_a_weight_of_0(ones):
    def square(mean):  # (1.5 - 1.5)^2
        return (ordinary(mean) - 1.5) ** 2

    for hessian in (
        torch.autograd.functional.hessian(square, ones),
        torch.func.hessian(square)(ones),
        torch.func.jacrev(torch.func.jacrev(square))(ones),
    ):
        torch.testing.assert_close(hessian, torch.full((3, 3), 2.0, dtype=torch.float64))
    assert torch.autograd.functional.jvp(ordinary, ones, ones)[1] == 3


@pytest.mark.filterwarnings("ignore")  # torch's own
def test_forward_derivatives(ones):
    with torch.autograd.forward_ad.dual_level():
        for mean in (ones, ones.clone().requires_grad_()):
            value = ordinary(torch.autograd.forward_ad.make_dual(mean, ones))
            assert torch.autograd.forward_ad.unpack_dual(value).tangent == 3
    assert torch.func.linearize(ordinary, ones)[1](ones) == 3
    value, slope = torch.func.jvp(
        lambda m: gt.kl(
            gt.DiagNormal(m, var=1.0), gt.LowRankNormal(0.0, factor=torch.zeros(3, 1), var=1)
        ),
        (torch.ones(2, 3),),
        (torch.ones(2, 3),),
    )
    assert (value.tolist(), slope.tolist()) == ([1.5, 1.5], [3, 3])
    mean = ones.clone().requires_grad_()
    assert torch.autograd.gradcheck(
        ordinary,
        (mean,),
        check_forward_ad=True,
        check_batched_grad=True,
        check_batched_forward_grad=True,
    )


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's own
@pytest.mark.parametrize(("p", "q"), SOME)
def test_hessians_forward_over_reverse(p, q):
    """Which take the Hessian to be symmetric, in matrices, too."""
    x, y = (tensors(g) for g in pair(p, q, ()))
    f, values = function(x, y), leaves(x, y)
    places = tuple(range(len(values)))
    forward = torch.func.hessian(f, places)(*values)
    backward = torch.func.jacrev(torch.func.jacrev(f, places), places)(*values)
    for row, other in zip(forward, backward, strict=True):
        for a, b in zip(row, other, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-8, atol=1e-9)


def test_second_derivatives_read_the_lower_triangle_and_stay_in_range():
    precision = torch.tensor([[1.0, 7.0], [0.999999, 1.0]])
    q = gt.FullNormal(0.0, precision=precision)
    hessian = torch.func.jacrev(torch.func.jacrev(lambda m: gt.kl(gt.DiagNormal(m, var=1), q)))
    expected = torch.tensor([[1, 0.999999], [0.999999, 1]])
    torch.testing.assert_close(hessian(torch.ones(2)), expected)
    for kind, x in (("logvar", 100.0), ("logvar", -100.0), ("std", 1e-25), ("var", 1e-30)):
        scale = torch.tensor([x], requires_grad=True)
        q = gt.DiagNormal(0.0, **{kind: scale.detach().clone()})
        value = gt.kl(gt.DiagNormal(0.0, **{kind: scale}), q)
        (grad,) = torch.autograd.grad(value, scale, create_graph=True)
        (second,) = torch.autograd.grad(grad.sum(), scale)
        want = {"logvar": 0.5, "std": 2 / x**2, "var": 0.5 / x**2}[kind]
        torch.testing.assert_close(
            second.double(), torch.tensor([want]).double(), rtol=1e-5, atol=0
        )


def test_one_bad_item_leaves_the_others_their_second_derivatives():
    cov = torch.eye(2, dtype=torch.float64).repeat(3, 1, 1)
    cov[1, 0, 0] = -1
    mean = torch.ones(3, 2, dtype=torch.float64, requires_grad=True)
    value = gt.kl(gt.FullNormal(mean, cov=cov), on_error="nan")
    (grad,) = torch.autograd.grad(value.nan_to_num().sum(), mean, create_graph=True)
    (second,) = torch.autograd.grad(grad.sum(), mean)
    torch.testing.assert_close(second[::2], torch.ones(2, 2, dtype=torch.float64))


def test_autocast_does_not_reach_the_closed_form():
    factor = torch.randn(3, 2, generator=torch.Generator().manual_seed(0))

    def f(mean):
        return gt.kl(gt.DiagNormal(mean, var=1.0), gt.LowRankNormal(0.0, factor=factor, var=1.0))

    hessian = torch.func.jacrev(torch.func.jacrev(f))
    with torch.autocast("cpu", torch.bfloat16):
        found = hessian(torch.ones(3))
    torch.testing.assert_close(found, torch.linalg.inv(factor @ factor.mT + torch.eye(3)))


def test_checkpoints(ones):
    from torch.utils.checkpoint import checkpoint

    mean = ones.clone().requires_grad_()
    checkpoint(lambda m: ordinary(2 * m), mean, use_reentrant=False).backward()
    assert mean.grad.tolist() == [4, 4, 4]


def test_traced_values_are_no_constants(ones):
    from torch.fx.experimental.proxy_tensor import make_fx

    batch = torch.ones(2, 3, dtype=torch.float64)
    assert make_fx(ordinary)(batch)(5 * batch).tolist() == [37.5, 37.5]


@pytest.mark.filterwarnings("ignore")  # torch's own
def test_export_with_all_sizes_free():
    class Module(torch.nn.Module):
        def forward(self, mean):
            return gt.kl(gt.DiagNormal(mean, var=2.0))

    free = ({0: torch.export.Dim("n"), 1: torch.export.Dim("d")},)
    exported = torch.export.export(Module(), (torch.ones(4, 5),), dynamic_shapes=free).module()
    torch.testing.assert_close(exported(torch.ones(3, 7)), Module()(torch.ones(3, 7)))


@pytest.mark.filterwarnings("ignore")  # torch's own
def test_func_in_compiled_functions(ones):
    torch._dynamo.reset()

    def compiled(f):
        return torch.compile(f, fullgraph=True, backend="aot_eager")

    torch.testing.assert_close(compiled(torch.func.grad(ordinary))(ones), ones)
    batch = torch.ones(2, 3, dtype=torch.float64)
    torch.testing.assert_close(compiled(torch.vmap(torch.func.grad(ordinary)))(batch), batch)
    eye = torch.eye(3, dtype=torch.float64)
    torch.testing.assert_close(compiled(torch.func.hessian(ordinary))(ones), eye)
    covs = torch.stack([eye, 2 * eye])

    def shared(mean):
        return gt.kl(gt.FullNormal(mean, cov=eye), gt.FullNormal(0.0, cov=covs)).sum()

    torch.testing.assert_close(compiled(torch.func.grad(shared))(ones), 1.5 * ones)


def test_numbers_are_of_the_result_s_type():
    half = torch.zeros(2, dtype=torch.float16)
    expected = gkl.kl(gkl.DiagNormal(half.numpy(), var=1e-10))
    np.testing.assert_array_equal(gt.kl(gt.DiagNormal(half, var=1e-10)), expected)
    p = gt.DiagNormal(torch.zeros(1), var=0.1)
    q = gt.DiagNormal(torch.zeros(1, dtype=torch.float64), var=1.0)
    np.testing.assert_allclose(gt.kl(p, q), [0.5 * (0.1 - 1 - np.log(0.1))], rtol=1e-15)
    assert gt.kl(gt.DiagNormal(torch.zeros(1), var=np.float32(1))) == 0


def test_errors_speak_of_what_was_given():
    with pytest.raises(gkl.InvalidGaussianError, match=r"4 of 4 .*p\.var\[1\] = -1"):
        gt.kl_per_dim(gt.DiagNormal(torch.zeros(4, 3), var=torch.tensor([1.0, -1, 1])))
    with pytest.raises(gkl.InvalidGaussianError, match=r"p\.var = -1"):
        gt.kl(gt.DiagNormal(torch.zeros(4, 3), var=-1.0))
    with pytest.raises(ValueError, match=r"do not fit: shapes p.mean \(3,\), p.cov \(3, 2\)"):
        gt.kl(gt.FullNormal(torch.ones(3, device="meta"), cov=torch.ones(3, 2, device="meta")))
    with pytest.raises(TypeError, match="mean is not a dense tensor"):
        gt.kl(gt.DiagNormal(torch.zeros(4, 3).to_sparse(), var=1.0))


def test_the_classes_are_plain_objects():
    p = gt.DiagNormal(torch.ones(3), var=1.0)
    p.mean = torch.zeros(3)
    assert gt.kl(p) == 0
    again = pickle.loads(pickle.dumps(p))
    assert gt.kl(again) == 0
    assert (again.std, again.kind, again.names) == (None, "var", ("mean", "var"))
    assert repr(again) == "DiagNormal(mean=(3,), var=())"
