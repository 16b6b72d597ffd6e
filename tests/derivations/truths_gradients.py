# SPDX-License-Identifier: BSD-3-Clause
"""The truths of gradients; see truths.py."""

import numpy as np
from exact import MP

import gkl
from derivations.integrals import gradient, kl, kl_full, slope
from derivations.truths import low_rank, normal, pair, truth
from gkl import DiagNormal, vae

# ---- gradients


def grads(x, kind):
    _, p, q = gkl.kl_and_grad(normal(x, "p", kind), normal(x, "q", kind))
    found = ((p.mean, getattr(p, kind)), (q.mean, getattr(q, kind)))
    return [[y[0] if y.shape == (1,) else y for y in side] for side in found]


@truth("grad-mean")
def grad_mean(x):
    (m, v), (n, w) = pair(x)
    (of_p, _), (of_q, _) = grads(x, "var")
    return {"d_mu_p": (slope(lambda t: kl((t, v), (n, w)), m), of_p),
            "d_mu_q": (slope(lambda t: kl((m, v), (t, w)), n), of_q)}  # fmt: skip


def grad_scale(letter, kind, variance):
    def found(x):
        (m, _), (n, _) = pair(x)
        v, w = x[f"{letter}_p"], x[f"{letter}_q"]
        (_, of_p), (_, of_q) = grads(x, kind)

        def value(a, b):
            return kl((m, variance(a)), (n, variance(b)))

        return {f"d_{letter}_p": (slope(lambda t: value(t, w), v), of_p),
                f"d_{letter}_q": (slope(lambda t: value(v, t), w), of_q)}  # fmt: skip

    return found


truth("grad-var")(grad_scale("v", "var", lambda v: v))
truth("grad-std")(grad_scale("s", "std", lambda s: s * s))
truth("grad-logvar")(grad_scale("l", "logvar", MP.exp))


@truth("u-from-others")
def u_from_others(x):
    return {"u": x["v_p"] / x["v_q"] - 1}


@truth("grad-mean-full")
def grad_mean_full(x):
    p, q = pair(x)
    (of_p, _), (of_q, _) = grads(x, "cov")
    return {"d_mu_p": (gradient(lambda m: kl_full((m, p[1]), q, p), p[0]), of_p),
            "d_mu_q": (gradient(lambda m: kl_full(p, (m, q[1])), q[0]), of_q)}  # fmt: skip


def grad_matrix(side, name, kind, covariance, **options):
    """The gradient in a matrix from which `covariance` makes that of the side."""

    def found(x):
        p, q = pair(x)
        at = x[{"cov": "S", "tril": "L", "precision": "Lambda"}[kind] + f"_{side}"]

        def value(m):
            if side == "p":
                return kl_full((p[0], covariance(m)), q, p)
            return kl_full(p, (q[0], covariance(m)))

        own = grads(x, kind)[side == "q"][1]
        return {name: (gradient(value, at, **options), own)}

    return found


truth("grad-cov-p")(grad_matrix("p", "G_p", "cov", lambda s: s, symmetric=True))
truth("grad-cov-q")(grad_matrix("q", "G_q", "cov", lambda s: s, symmetric=True))


@truth("grad-tril")
def grad_tril(x):
    make = {"covariance": lambda m: m @ m.T, "lower": True}
    return grad_matrix("p", "d_L_p", "tril", **make)(x) | grad_matrix(
        "q", "d_L_q", "tril", **make)(x)  # fmt: skip


@truth("grad-precision")
def grad_precision(x):
    make = {"covariance": np.linalg.inv, "symmetric": True}
    return grad_matrix("p", "d_Lambda_p", "precision", **make)(x) | grad_matrix(
        "q", "d_Lambda_q", "precision", **make)(x)  # fmt: skip


@truth("grad-low-rank")
def grad_low_rank(x):
    p, q = pair(x)
    _, *own = gkl.kl_and_grad(low_rank(x, "p"), low_rank(x, "q"))
    found = {}
    for side, g in zip("pq", own, strict=True):
        f, v = x[f"F_{side}"], x[f"v_{side}"]

        def value(factor, var, side=side):
            s = factor @ factor.T + np.diag(var)
            return kl_full((p[0], s), q, p) if side == "p" else kl_full(p, (q[0], s))

        found[f"d_F_{side}"] = gradient(lambda t, v=v, value=value: value(t, v), f), g.factor
        found[f"d_v_{side}"] = gradient(lambda t, f=f, value=value: value(f, t), v), g.var
    return found


@truth("grad-shared")
def grad_shared(x):
    def total(mu_q):
        items = zip(x["w"], x["mu_p"], x["v_p"], strict=True)
        return sum(w * kl((m, v), (mu_q, x["v_q"])) for w, m, v in items)

    mean, var = (x[name].astype(float)[:, np.newaxis] for name in ("mu_p", "v_p"))
    p = DiagNormal(mean, var=var)
    q = DiagNormal(np.array([float(x["mu_q"])]), var=float(x["v_q"]))
    _, _, own = gkl.kl_and_grad(p, q, weight=x["w"].astype(float))
    return {"d_mu_q": (slope(total, x["mu_q"]), own.mean[0])}


@truth("balance")
def balance(x):
    (m, v), (n, w) = pair(x)
    alpha = x["alpha"]
    found = {"d_mu_p": (1 - alpha) * slope(lambda t: kl((t, v), (n, w)), m),
             "d_mu_q": alpha * slope(lambda t: kl((m, v), (t, w)), n)}  # fmt: skip
    if alpha > 1:
        return found
    _, *own = vae.objective_and_grad(normal(x, "p"), normal(x, "q"), balance=float(alpha))
    return {k: (y, g.mean[0]) for (k, y), g in zip(found.items(), own, strict=True)}
