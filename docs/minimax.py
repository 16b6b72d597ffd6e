# SPDX-License-Identifier: BSD-3-Clause
"""Derive the polynomial tables of ``src_c/coefficients.h``; prints the whole file.

    python docs/minimax.py > src_c/coefficients.h

Functions are approximated with their first term taken out exactly, so that the relative error goes
to zero with the argument:

    phi(f) = f - log1p(f) = f^2 (1/2 + f A(f)),   sqrt(1/2) - 1 <= f <= 1/2
    psi(f) = expm1(f) - f = f^2 (1/2 + f B(f)),   -1 <= f <= 1
    psi(y) = g (1/2 + s C(g)),   g = 2 cosh y - 2 <= 1/16,  s = 2 sinh y

A, B and C are interpolated at the Chebyshev nodes (within a factor of about two of the best
polynomial) with 60 digits; the error printed is that of phi and psi with the rounded coefficients,
evaluated exactly, relative to the function, on a fine grid.
"""

import sys

import mpmath as mp
import numpy as np

mp.mp.dps = 60
HALF = mp.mpf(1) / 2


def phi_rest(f):
    """A(f); its Taylor series near 0, where the closed form cancels."""
    if abs(f) < mp.mpf("1e-12"):
        return -mp.mpf(1) / 3 + f / 4 - f * f / 5
    return ((f - mp.log1p(f)) / f**2 - HALF) / f


def psi_rest(f):
    """B(f)."""
    if abs(f) < mp.mpf("1e-12"):
        return mp.mpf(1) / 6 + f / 24 + f * f / 120
    return ((mp.expm1(f) - f) / f**2 - HALF) / f


def skew_rest(g):
    """C(g)."""
    if abs(g) < mp.mpf("1e-12"):
        return mp.mpf(1) / 12 - g / 60
    y = mp.acosh(1 + g / 2)
    return (mp.sinh(y) - y) / (2 * mp.sinh(y) * g)


def interpolate(function, low, high, terms):
    """Monomial coefficients of the Chebyshev interpolant with `terms` coefficients."""
    nodes = [mp.cos(mp.pi * (2 * i + 1) / (2 * terms)) for i in range(terms)]
    points = [(low + high) / 2 + (high - low) / 2 * x for x in nodes]
    matrix = mp.matrix(terms, terms)
    for i, x in enumerate(points):
        for j in range(terms):
            matrix[i, j] = x**j
    return list(mp.lu_solve(matrix, mp.matrix([function(x) for x in points])))


def error(function, factor, coefficients, low, high, points=2001):
    """Largest relative error of 1/2 + factor(f) poly(f)."""
    worst = mp.mpf(0)
    for i in range(points):
        f = low + (high - low) * i / (points - 1)
        poly = mp.polyval(coefficients[::-1], f)
        for by in factor(f):
            worst = max(worst, abs((HALF + by * poly) / (HALF + by * function(f)) - 1))
    return worst


def itself(f):
    """What A and B are multiplied with."""
    return (f,)


def both_sinh(g):
    """s, which C is multiplied with, of either sign."""
    s = 2 * mp.sinh(mp.acosh(1 + g / 2))
    return (s, -s)


TABLES = [
    ("phi", phi_rest, itself, mp.sqrt(HALF) - 1 - mp.mpf("1e-6"), HALF + mp.mpf("1e-6")),
    ("psi", psi_rest, itself, mp.mpf(-1), mp.mpf(1)),
    ("skew", skew_rest, both_sinh, mp.mpf(0), mp.mpf("0.0626")),
]
TERMS = {("phi", "f32"): 10, ("phi", "f64"): 21, ("psi", "f32"): 8, ("psi", "f64"): 14,
         ("skew", "f32"): 3, ("skew", "f64"): 6}  # fmt: skip
OF = {"skew": "psi by its skew part"}
TYPES = {"f32": np.float32, "f64": np.float64}


def table(name, dtype):
    """The rounded coefficients of one table and the error they leave."""
    _, function, factor, low, high = next(t for t in TABLES if t[0] == name)
    exact = interpolate(function, low, high, TERMS[name, dtype])
    rounded = [TYPES[dtype](mp.nstr(c, 25)) for c in exact]
    return rounded, error(function, factor, [mp.mpf(float(c)) for c in rounded], low, high)


def main():
    out = sys.stdout.write
    out("/* SPDX-License-Identifier: BSD-3-Clause\n *\n")
    out(" * Written by docs/minimax.py, which derives them and says what they approximate.\n */\n")
    out("#ifndef GKL_COEFFICIENTS_H\n#define GKL_COEFFICIENTS_H\n")
    for name, *_ in TABLES:
        for dtype in TYPES:
            rounded, worst = table(name, dtype)
            ctype = {"f32": "float", "f64": "double"}[dtype]
            suffix = {"f32": "f", "f64": ""}[dtype]
            exponent = float(mp.log(worst, 2))
            out(f"\n/* relative error of {OF.get(name, name)} 2^{exponent:.1f} */\n")
            out(f"static const {ctype} {name}_coefficients_{dtype}[{len(rounded)}] = {{\n")
            for c in rounded:
                out(f"    {float(c).hex()}{suffix},\n")
            out("};\n")
    out("\n#endif\n")


if __name__ == "__main__":
    main()
