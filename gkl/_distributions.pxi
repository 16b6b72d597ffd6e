# SPDX-License-Identifier: BSD-3-Clause
# The named views: which parameters each has, and what shapes these may be of.


@cython.final
cdef class DiagNormal(Gaussian):
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
    parameters : dict
        All parameters by name.
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

    def __init__(self, mean, *, var=None, std=None, logvar=None):
        cdef tuple mean_shape, scale_shape, shape
        if (var is not None) + (std is not None) + (logvar is not None) != 1:
            _chosen("DiagNormal", KIND_NAMES[:3], (var, std, logvar), GKL_VAR)
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


@cython.final
cdef class FullNormal(Gaussian):
    """A batch of Gaussians with full covariance: a view of the caller's arrays.

    Parameters
    ----------
    mean : array_like, shape (..., d) or (..., 1), or a number
        Means.
    cov, tril, precision : array_like, shape (..., d, d)
        Covariances, their lower Cholesky factors or their inverses: exactly one of them, by name.
        Only the lower triangle is read, the diagonal with it: what stands above is not looked at.
    check_symmetric : bool
        Refuse a covariance or precision that is not symmetric to rounding, that is, one with
        abs(a[i, j] - a[j, i]) > 8 eps sqrt(a[i, i] a[j, j]), eps that of its own type.

    Attributes
    ----------
    mean : array
        As given.
    cov, tril, precision : array or None
        The one that was given, as given; the others are None.
    parameter : str
        The name of the one that was given.
    parameters : dict
        All parameters by name.
    cholesky : array or None
        What :meth:`prepare` has computed: the lower Cholesky factors of `cov`, or those of
        `precision` itself.
    batch_shape : tuple of int
        The shape of the batch, that of `mean` without the last axis and of the matrices without
        the last two, broadcast.
    dim : int
        d.
    dtype : numpy.dtype
        The common type of the parameters.

    Raises
    ------
    TypeError
        Not exactly one of `cov`, `tril` and `precision`; a masked array; complex numbers or
        objects; `check_symmetric` for a `tril` or a lazy array.
    ValueError
        Shapes that do not fit, matrices that are not square, or not symmetric when that is asked.

    Notes
    -----
    Arrays, types, indexing, ``reshape`` and ``==`` are as with :class:`DiagNormal`.  A mean that
    is a Python number or has a last axis of 1 stands for all dimensions; a matrix does not.
    Parameters of different types, of p and q together, are copied to a common one; those of one
    type are read as they are.  Whether matrices are positive definite is found as the functions compute.

    Sums of many products, as of a weighted sample, are symmetric to a few of these eps, whatever
    the order of summation; an inverse computed without regard for symmetry may not be.

    Examples
    --------
    >>> import numpy as np
    >>> import gkl
    >>> p = gkl.FullNormal(np.zeros((3, 2)), cov=[[2.0, 0.5], [0.5, 1.0]])
    >>> p
    FullNormal(mean, cov; batch_shape=(3,), dim=2, dtype=float64)
    >>> p[0].mean
    array([0., 0.])
    """

    def __init__(self, mean, *, cov=None, tril=None, precision=None, check_symmetric=False):
        cdef tuple given = (cov, tril, precision), shape
        self.kind = _chosen("FullNormal", KIND_NAMES[GKL_COV:GKL_LOW_RANK], given, GKL_COV)
        cdef str name = KIND_NAMES[self.kind]
        self.mean = _parameter(mean, "mean")
        self.scale = _parameter(given[self.kind - GKL_COV], name)
        self.factors = None
        shape = _shape_of(self.scale)
        if len(shape) < 2 or shape[-1] != shape[-2]:
            raise ValueError(
                f"{name} is not square in its last two axes: its shape is {shape}, that of mean "
                f"{_shape_of(self.mean)}"
            )
        self.fit(name)
        if check_symmetric:
            if self.kind == GKL_TRIL or self.foreign:
                what = "a tril, which is not symmetric" if self.kind == GKL_TRIL else "lazy arrays"
                raise TypeError(f"check_symmetric=True does not go with {what}")
            refuse_asymmetric(name, self.scale)

    @property
    def cov(self):
        """The covariances, when they were given."""
        return self.scale if self.kind == GKL_COV else None

    @property
    def tril(self):
        """The lower Cholesky factors of the covariances, when they were given."""
        return self.scale if self.kind == GKL_TRIL else None

    @property
    def precision(self):
        """The inverses of the covariances, when they were given."""
        return self.scale if self.kind == GKL_PRECISION else None

    @property
    def cholesky(self):
        """The lower Cholesky factors of `cov` or `precision` in a prepared object, read-only."""
        return self.factors


@cython.final
cdef class LowRankNormal(Gaussian):
    """A batch of Gaussians with covariance F F^T + diag(v): a view of the caller's arrays.

    Parameters
    ----------
    mean : array_like, shape (..., d) or (..., 1), or a number
        Means.
    factor : array_like, shape (..., d, r)
        F: its columns are r >= 0 directions.
    var : array_like, shape (..., d) or (..., 1), or a number
        v: variances beside those of F, which are positive.

    Attributes
    ----------
    mean, factor, var : array
        As given.
    parameter : str
        ``"var"``.
    parameters : dict
        All parameters by name.
    batch_shape : tuple of int
        The shape of the batch, to which all parameters broadcast.
    dim, rank : int
        d and r.
    dtype : numpy.dtype
        The common type of the parameters.

    Raises
    ------
    TypeError
        A masked array; complex numbers or objects.
    ValueError
        Shapes that do not fit.

    Notes
    -----
    Arrays, types, indexing, ``reshape`` and ``==`` are as with :class:`DiagNormal`.  Beside
    another low-rank, a diagonal or the standard normal no d x d matrix is made.

    Examples
    --------
    >>> import numpy as np
    >>> import gkl
    >>> gkl.LowRankNormal(np.zeros((3, 2)), factor=np.ones((2, 1)), var=1.0)
    LowRankNormal(mean, factor, var; batch_shape=(3,), dim=2, rank=1, dtype=float64)
    """

    def __init__(self, mean, *, factor, var):
        self.kind = GKL_LOW_RANK
        self.mean = _parameter(mean, "mean")
        self.factors = _parameter(factor, "factor")
        self.scale = _parameter(var, "var")
        cdef tuple shape = _shape_of(self.factors)
        if len(shape) < 2:
            raise ValueError(f"factor is not of shape (..., d, r): its shape is {shape}")
        self.fit("factor")

    @property
    def factor(self):
        """F."""
        return self.factors

    @property
    def var(self):
        """v."""
        return self.scale

    @property
    def rank(self):
        """r."""
        return self.factors.shape[-1]
