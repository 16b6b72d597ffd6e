# SPDX-License-Identifier: BSD-3-Clause
# The named views: they hold the caller's arrays and know names and shapes, nothing else.

cdef tuple KIND_NAMES = ("var", "std", "logvar")


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


@cython.final
cdef class DiagNormal:
    """A batch of Gaussians with diagonal covariance: a view of the caller's arrays.

    Parameters
    ----------
    mean : array_like, shape (..., d)
        Means.
    var, std, logvar : array_like, shape (..., d)
        Variances, standard deviations or natural logarithms of variances: exactly one of them,
        by name.

    Attributes
    ----------
    mean : array
        As given.
    var, std, logvar : array or None
        The one that was given, as given; the others are None.
    parameter : str
        The name of the one that was given.
    batch_shape : tuple of int
        The shape of the batch; ``(1000, 8)`` parameters are 1000 Gaussians of 8 dimensions.
    dim : int
        d.
    dtype : numpy.dtype
        The common type of the parameters.

    Raises
    ------
    TypeError
        Not exactly one of `var`, `std` and `logvar`; a masked array; complex numbers or objects.
    ValueError
        Shapes that do not fit.

    Notes
    -----
    float16, bfloat16 (of ``ml_dtypes``), float32 and float64 arrays are held without a copy;
    lists and integers become float64.  The parameters broadcast against each other.  A Python
    number stands for all dimensions and items and does not take part in the choice of the dtype;
    Gaussians all of whose parameters are numbers are univariate.  Values are not checked here:
    the functions do that as they compute.  A Dask array makes every result lazy.

    Indexing, ``len`` and ``reshape`` are over the batch; ``==`` compares class, names and values.

    Examples
    --------
    >>> import numpy as np
    >>> import gkl
    >>> p = gkl.DiagNormal(np.zeros((3, 2)), std=1.0)
    >>> p
    DiagNormal(mean, std; batch_shape=(3,), dim=2, dtype=float64)
    >>> p[0].batch_shape
    ()
    """

    cdef readonly object mean
    cdef object scale
    cdef int kind
    cdef readonly tuple batch_shape
    cdef readonly Py_ssize_t dim
    cdef readonly bint scalar  # all parameters are: d is the other Gaussian's
    cdef readonly bint foreign  # a parameter is not NumPy's: results are lazy
    cdef object __weakref__

    def __init__(self, mean, *, var=None, std=None, logvar=None):
        cdef tuple mean_shape, scale_shape, shape
        if (var is not None) + (std is not None) + (logvar is not None) != 1:
            given = [n for n, x in zip(KIND_NAMES, (var, std, logvar)) if x is not None]
            raise TypeError(
                "DiagNormal wants exactly one of var=, std= and logvar=, and got "
                + (" and ".join(given) if given else "none")
            )
        self.kind = GKL_VAR if var is not None else GKL_STD if std is not None else GKL_LOGVAR
        cdef str name = KIND_NAMES[self.kind]
        self.mean = _parameter(mean, "mean")
        self.scale = _parameter(
            var if var is not None else std if std is not None else logvar, name
        )
        mean_shape = _shape_of(self.mean)
        scale_shape = _shape_of(self.scale)
        common = _broadcast(mean_shape, scale_shape)
        if common is None:
            raise ValueError(
                f"mean and {name} do not fit: shapes {mean_shape} and {scale_shape}"
            )
        shape = common
        self.scalar = len(shape) == 0
        self.dim = 1 if self.scalar else shape[len(shape) - 1]
        self.batch_shape = () if self.scalar else shape[: len(shape) - 1]
        self.foreign = _is_foreign(self.mean) or _is_foreign(self.scale)

    @property
    def parameter(self):
        """The name of the parameter that carries the scale: ``var``, ``std`` or ``logvar``."""
        return KIND_NAMES[self.kind]

    @property
    def var(self):
        """The variances, when they were given."""
        return self.scale if self.kind == GKL_VAR else None

    @property
    def std(self):
        """The standard deviations, when they were given."""
        return self.scale if self.kind == GKL_STD else None

    @property
    def logvar(self):
        """The log-variances, when they were given."""
        return self.scale if self.kind == GKL_LOGVAR else None

    @property
    def dtype(self):
        """The common type of the parameters."""
        return np.result_type(
            *[x.dtype for x in (self.mean, self.scale) if type(x) is not float] or [np.float64]
        )

    def _with(self, mean, scale):
        return DiagNormal(mean, **{KIND_NAMES[self.kind]: scale})

    def _spread(self, x):
        """A view of a parameter with the whole batch."""
        return np.broadcast_to(x, self.batch_shape + x.shape[-1:])

    def __bool__(self):
        return True

    def __len__(self):
        if not self.batch_shape:
            raise TypeError("a single DiagNormal has no len()")
        return self.batch_shape[0]

    def __getitem__(self, index):
        if not self.batch_shape:
            raise IndexError("a single DiagNormal cannot be indexed")
        parts = index if isinstance(index, tuple) else (index,)
        if not any(i is Ellipsis for i in parts):
            parts += (Ellipsis,)
        parts += (slice(None),)  # d stays whole
        mean = self.mean if _ndim(self.mean) <= 1 else self._spread(self.mean)[parts]
        scale = self.scale if _ndim(self.scale) <= 1 else self._spread(self.scale)[parts]
        return self._with(mean, scale)

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
        DiagNormal

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

        def change(x):
            return x if _ndim(x) <= 1 else self._spread(x).reshape(new + x.shape[-1:])

        mean = change(self.mean)
        if new and not self.batch_shape:  # no parameter carries the batch yet
            mean = np.broadcast_to(mean, new + (self.dim,))
        return self._with(mean, change(self.scale))

    def __eq__(self, other):
        if not isinstance(other, DiagNormal):
            return NotImplemented
        cdef DiagNormal q = other
        return (
            self.kind == q.kind
            and self.batch_shape == q.batch_shape
            and self.dim == q.dim
            and bool(np.array_equal(self.mean, q.mean))
            and bool(np.array_equal(self.scale, q.scale))
        )

    __hash__ = None

    def __reduce__(self):
        return _restore, (self.parameter, self.mean, self.scale)

    def __repr__(self):
        return (
            f"DiagNormal(mean, {self.parameter}; batch_shape={self.batch_shape}, "
            f"dim={self.dim}, dtype={self.dtype})"
        )


cdef bint _is_foreign(object x):
    return type(x) is not float and not isinstance(x, np.ndarray)


def _ndim(x):
    return 0 if type(x) is float else x.ndim


def _restore(parameter, mean, scale):
    return DiagNormal(mean, **{parameter: scale})
