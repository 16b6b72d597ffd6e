# SPDX-License-Identifier: BSD-3-Clause
# What the named views share: the caller's arrays, their names and shapes, nothing else.

# by gkl_kind: the name of the parameter that carries the scale
cdef tuple KIND_NAMES = ("var", "std", "logvar", None, "cov", "tril", "precision", "var")


cdef inline bint _is_full(int kind):
    return kind == GKL_COV or kind == GKL_TRIL or kind == GKL_PRECISION


cdef inline int _scale_axes(int kind):
    """How many axes of the scale are not the batch's."""
    return 2 if _is_full(kind) else 1


cdef object _parameter(object x, str name):
    """An array as it is, a Python number as a float, anything else as an array of numbers."""
    cdef int kind
    if type(x) is float:
        return x
    if isinstance(x, (int, float)) and not isinstance(x, np.generic):
        try:
            return float(x)
        except OverflowError:
            raise ValueError(f"{name} is an integer beyond float64") from None
    if not cnp.PyArray_CheckExact(x):
        if isinstance(x, np.ma.MaskedArray):
            raise TypeError(
                f"{name} is a masked array, and gkl would not see its mask; "
                "pass x.filled(...) or x.compressed()"
            )
        if not isinstance(x, np.ndarray) and hasattr(x, "__array_ufunc__") and hasattr(x, "shape"):
            return x  # a foreign array, such as Dask's: NumPy's protocol is its business
        try:
            x = np.asarray(x)
        except ValueError as error:
            raise ValueError(f"{name} is not an array of numbers: {error}") from None
    kind = cnp.PyArray_TYPE(<cnp.ndarray>x)
    if kind == cnp.NPY_FLOAT or kind == cnp.NPY_DOUBLE or kind == cnp.NPY_FLOAT16:
        return x
    if x.dtype.kind in "iub":
        return x.astype(np.float64)
    if x.dtype.name == "bfloat16":
        return x
    raise TypeError(f"{name} has dtype {x.dtype}; real numbers up to float64 are wanted")


cdef tuple _shape_of(object x):
    return () if type(x) is float else tuple(x.shape)


cdef object _broadcast(tuple a, tuple b):
    """The common shape, None when there is none."""
    if a == b:
        return a
    cdef Py_ssize_t i, n = max(len(a), len(b))
    a = (1,) * (n - len(a)) + a
    b = (1,) * (n - len(b)) + b
    cdef list shape = []
    for i in range(n):
        if a[i] != b[i] and a[i] != 1 and b[i] != 1:
            return None
        shape.append(b[i] if a[i] == 1 else a[i])
    return tuple(shape)


cdef bint _is_foreign(object x):
    return type(x) is not float and not isinstance(x, np.ndarray)


def _ndim(x):
    return 0 if type(x) is float else x.ndim


cdef object _frozen(object x):
    """A view that cannot be written to."""
    x = x.view()
    x.flags.writeable = False
    return x


cdef int _chosen(str owner, tuple names, tuple given, int first) except -1:
    """The kind of the one parameter that was given; `first` is that of the first name."""
    found = [i for i, x in enumerate(given) if x is not None]
    if len(found) != 1:
        raise TypeError(
            f"{owner} wants exactly one of {names[0]}=, {names[1]}= and {names[2]}=, and got "
            + (" and ".join(names[i] for i in found) if found else "none")
        )
    return first + <int>found[0]


cdef class Gaussian:
    """What DiagNormal, FullNormal and LowRankNormal have in common; there are no others."""

    cdef readonly object mean
    cdef object scale  # var, std, logvar, cov, tril or precision
    cdef object factors  # of LowRankNormal its own, of a prepared FullNormal the Cholesky factors
    cdef int kind
    cdef readonly tuple batch_shape
    cdef readonly Py_ssize_t dim
    cdef readonly bint scalar  # all parameters are: d is the other Gaussian's
    cdef readonly bint foreign  # a parameter is not NumPy's: results are lazy
    cdef object __weakref__

    def __init__(self):
        raise TypeError("Gaussian is what DiagNormal, FullNormal and LowRankNormal share")

    cdef int fit(self, str name) except -1:
        """Find d and the batch's shape: the other parameters must fit the matrix of this name."""
        cdef dict others = self.parameters
        cdef tuple shape = _shape_of(others.pop(name))
        row = shape[:-1]
        for x in others.values():
            row = None if row is None else _broadcast(row, _shape_of(x))
        if row is None or row[-1] != shape[-2]:
            shapes = [str(_shape_of(x)) for x in others.values()]
            raise ValueError(
                f"{', '.join(others)} and {name} do not fit: shapes {', '.join(shapes)} and {shape}"
            )
        self.dim = shape[-2]
        self.batch_shape = row[:-1]
        self.scalar = False
        self.foreign = any([_is_foreign(x) for x in self.parameters.values()])
        return 0

    @property
    def parameter(self):
        """The name of the parameter that carries the scale, such as ``var`` or ``cov``."""
        return KIND_NAMES[self.kind]

    @property
    def structure(self):
        """What the covariance is like: ``diag``, ``full`` or ``low_rank``."""
        return "full" if _is_full(self.kind) else "low_rank" if self.kind == GKL_LOW_RANK else "diag"

    @property
    def parameters(self):
        """All parameters by name, as given."""
        if self.kind == GKL_LOW_RANK:
            return {"mean": self.mean, "factor": self.factors, "var": self.scale}
        return {"mean": self.mean, KIND_NAMES[self.kind]: self.scale}

    def like(self, values):
        """A Gaussian of the same class, with these values of the same parameters, in order."""
        if self.kind == GKL_LOW_RANK:
            return LowRankNormal(values[0], factor=values[1], var=values[2])
        return type(self)(values[0], **{KIND_NAMES[self.kind]: values[1]})

    @property
    def dtype(self):
        """The common type of the parameters."""
        types = [x.dtype for x in self.parameters.values() if type(x) is not float]
        return np.result_type(*types or [np.float64])

    def __bool__(self):
        return True

    def __len__(self):
        if not self.batch_shape:
            raise TypeError(f"a single {type(self).__name__} has no len()")
        return self.batch_shape[0]

    cdef Gaussian changed(self, object change):
        """The Gaussians of this kind with each parameter x, of which the last n axes are not the
        batch's, replaced by change(x, n)."""
        cdef list values = [change(self.mean, 1)]
        cdef Gaussian made
        if self.kind == GKL_LOW_RANK:
            values.append(change(self.factors, 2))
        values.append(change(self.scale, _scale_axes(self.kind)))
        made = self.like(values)
        if made.factors is None and self.factors is not None:
            made.factors = _frozen(change(self.factors, 2))
        return made

    def _spread(self, x, axes):
        """A view of a parameter with the whole batch."""
        return np.broadcast_to(x, self.batch_shape + x.shape[x.ndim - axes:])

    def __getitem__(self, index):
        if not self.batch_shape:
            raise IndexError(f"a single {type(self).__name__} cannot be indexed")
        parts = index if isinstance(index, tuple) else (index,)
        if not any(i is Ellipsis for i in parts):
            parts += (Ellipsis,)

        def change(x, axes):
            if _ndim(x) <= axes:
                return x
            return self._spread(x, axes)[parts + (slice(None),) * axes]

        return self.changed(change)

    def __iter__(self):
        return (self[i] for i in range(len(self)))

    def reshape(self, *shape):
        """The same Gaussians in a batch of another shape, without a copy where NumPy needs none.

        Parameters
        ----------
        *shape : int or tuple of int
            The new batch shape; one may be -1.

        Returns
        -------
        DiagNormal, FullNormal or LowRankNormal

        Examples
        --------
        >>> import numpy as np
        >>> import gkl
        >>> gkl.DiagNormal(np.zeros((6, 2)), var=1.0).reshape(2, 3).batch_shape
        (2, 3)
        """
        new = tuple(shape[0]) if len(shape) == 1 and hasattr(shape[0], "__len__") else shape
        try:
            new = np.broadcast_to(np.empty(()), self.batch_shape).reshape(new).shape
        except ValueError:
            raise ValueError(
                f"a batch of shape {self.batch_shape} cannot be reshaped to {tuple(new)}"
            ) from None

        def change(x, axes):
            if new and not self.batch_shape and x is self.mean:  # none carries the batch yet
                return np.broadcast_to(x, new + (self.dim,))
            if _ndim(x) <= axes:
                return x
            return self._spread(x, axes).reshape(new + x.shape[x.ndim - axes:])

        return self.changed(change)

    def prepare(self, *, on_error="raise"):
        """The same Gaussians with what every function computes of them anew already computed.

        For covariances and precisions that are the lower Cholesky factors, which a prior that
        meets many batches needs once only.  What is returned is equal to the object itself, and
        may be read by many threads at once.  All other Gaussians are returned as they are, and
        so are lazy ones.

        Parameters
        ----------
        on_error : {"raise", "nan"}
            What to do about matrices that are not positive definite or not finite.  Their
            factors are NaN in either case.

        Returns
        -------
        DiagNormal, FullNormal or LowRankNormal

        Raises
        ------
        InvalidGaussianError
            Some matrices are bad and `on_error` is "raise"; its `result` is the prepared object.

        Notes
        -----
        The matrices are copied, so that they stay those of the factors whatever becomes of the
        caller's array.  The factors are used wherever a function computes in their type; where
        another Gaussian takes the computation from float32 to float64, it factors anew.  Those of
        precisions are of use beside another precision, which needs no inverse.

        Examples
        --------
        >>> import numpy as np
        >>> import gkl
        >>> q = gkl.FullNormal(np.zeros(2), cov=[[2.0, 0.5], [0.5, 1.0]])
        >>> prepared = q.prepare()
        >>> prepared == q
        True
        """
        must_raise = raises(on_error)
        if (self.kind != GKL_COV and self.kind != GKL_PRECISION) or self.foreign:
            return self
        cdef Gaussian made = self
        if self.factors is None:
            made = self.like((self.mean, _frozen(np.array(self.scale))))
            [factors], _, _ = evaluate("factor", made, None, (0,), None, None, 0)
            made.factors = _frozen(factors)
        if must_raise and self.dim > 0:
            bad = np.isnan(np.broadcast_to(made.factors[..., 0, 0], self.batch_shape))
            if bad.any():
                refuse({"": self}, bad, None, made, scale_only=True)
        return made

    def __eq__(self, other):
        if type(self) is not type(other):
            return NotImplemented
        cdef Gaussian q = other
        return (
            self.kind == q.kind
            and self.batch_shape == q.batch_shape
            and self.dim == q.dim
            and bool(np.array_equal(self.mean, q.mean))
            and bool(np.array_equal(self.scale, q.scale))
            and (self.kind != GKL_LOW_RANK or bool(np.array_equal(self.factors, q.factors)))
        )

    __hash__ = None

    def __reduce__(self):
        return _restore, (type(self), self.parameters, getattr(self, "cholesky", None))

    def __repr__(self):
        rank = f"rank={self.factors.shape[-1]}, " if self.kind == GKL_LOW_RANK else ""
        return (
            f"{type(self).__name__}({', '.join(self.parameters)}; "
            f"batch_shape={self.batch_shape}, dim={self.dim}, {rank}dtype={self.dtype})"
        )


def _restore(structure, parameters, cholesky):
    cdef Gaussian made = structure(**parameters)
    if cholesky is not None:
        made.factors = _frozen(cholesky)
    return made
