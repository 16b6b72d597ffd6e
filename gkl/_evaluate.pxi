# SPDX-License-Identifier: BSD-3-Clause
# The driver of the facade: from named views to a job of the core.

cdef dict OUTPUTS = {
    "value": GKL_VALUE,
    "per_dim": GKL_PER_DIM,
    "grad": GKL_GRAD,
    "terms": GKL_TERMS,
    "jeffreys": GKL_JEFFREYS,
    "cross_entropy": GKL_CROSS,
    "entropy": GKL_ENTROPY,
    "factor": GKL_FACTOR,
}

# by place of a gradient: the operand that it is in
cdef int[GKL_MAX_OUT] OPERAND_OF = [-1, 0, 1, 2, 3, GKL_FACTOR_P, GKL_FACTOR_Q]


cdef object FLOAT32 = np.dtype(np.float32), FLOAT64 = np.dtype(np.float64)


cdef object _common_dtype(list arrays):
    """What is computed in: NumPy's common type where the core has it, else float64."""
    types = [x.dtype for x in arrays if x is not None and type(x) is not float]
    if not types:
        return FLOAT64
    common = np.result_type(*types).newbyteorder("=")
    if common.itemsize == 2 and any(type(x) is float and not _fits(x, common) for x in arrays):
        return FLOAT32
    return common if gkl_storage(common) >= 0 else FLOAT64


cdef bint _fits(double x, object dtype):
    """Is this number one of a type?"""
    return float(_converted(x, dtype)) == x


cdef object _converted(object x, object dtype):
    """An array of this type; that a number is beyond it will show as a bad item."""
    if type(x) is not float:
        return np.asarray(x, dtype)
    with np.errstate(over="ignore", under="ignore"):
        return np.asarray(x, dtype)


cdef bint _alike(list arrays):
    """Are these, but for None, plain arrays of one type of the core, in the machine's byte order?"""
    cdef int kind = -1
    for x in arrays:
        if x is None:
            continue
        if not cnp.PyArray_CheckExact(x):
            return False
        if kind == -1:
            kind = cnp.PyArray_TYPE(<cnp.ndarray>x)
        if (
            cnp.PyArray_TYPE(<cnp.ndarray>x) != kind
            or not cnp.PyArray_ISNOTSWAPPED(<cnp.ndarray>x)
        ):
            return False
    return kind == cnp.NPY_FLOAT or kind == cnp.NPY_DOUBLE


cdef class _Call:
    """One call's operands and outputs, as the core wants them."""

    cdef gkl_job job
    cdef list inputs, outputs  # arrays by place, None where there is none
    cdef tuple batch_shape
    cdef ptrdiff_t shape[GKL_MAX_DIMS]
    cdef ptrdiff_t strides[GKL_MAX_IN + GKL_MAX_OUT][GKL_MAX_DIMS]

    cdef gkl_array describe(self, object array, list axes, int core, int slot):
        """Strides over the whole batch and along the `core` last axes: 0 where the array repeats
        itself."""
        cdef gkl_array described
        described.data = NULL
        described.stride = self.strides[slot]
        described.step = described.across = 0
        if array is None:
            return described
        cdef cnp.ndarray x = array
        cdef int ndim = cnp.PyArray_NDIM(x), i, axis
        if ndim < core:  # a number, for all of d
            core = ndim
        cdef int missing = len(self.batch_shape) - (ndim - core)
        described.data = <char *>cnp.PyArray_DATA(x)
        for i in range(len(axes)):
            axis = <int>axes[i] - missing
            self.strides[slot][i] = 0
            if axis >= 0 and cnp.PyArray_DIM(x, axis) > 1:
                self.strides[slot][i] = cnp.PyArray_STRIDE(x, axis)
        if core == 2:
            described.across = cnp.PyArray_STRIDE(x, ndim - 1)
        if core > 0 and (cnp.PyArray_DIM(x, ndim - core) > 1 or self.job.dim == 1):
            described.step = cnp.PyArray_STRIDE(x, ndim - core)
        return described

    cdef list take(self, Gaussian p, Gaussian q):
        """Set the inputs and what the job says of them; gives the parameters as the caller has
        them, by place."""
        cdef list given = [None] * GKL_MAX_IN
        given[0] = p.mean
        given[1] = p.scale
        self.job.p = <gkl_kind>p.kind
        self.job.q = GKL_UNIT
        if p.kind == GKL_LOW_RANK:
            given[GKL_FACTOR_P] = p.factors
            self.job.rank_p = p.factors.shape[-1]
        if q is not None:
            given[2] = q.mean
            given[3] = q.scale
            self.job.q = <gkl_kind>q.kind
            if q.kind == GKL_LOW_RANK:
                given[GKL_FACTOR_Q] = q.factors
                self.job.rank_q = q.factors.shape[-1]
        self.inputs = list(given)
        if _alike(given):
            dtype = given[1].dtype
        else:
            dtype = _common_dtype(given)
            self.inputs = [None if x is None else _converted(x, dtype) for x in given]
        self.job.storage = <gkl_type>gkl_storage(dtype)
        result = self.result_type()
        if p.factors is not None and p.kind != GKL_LOW_RANK and p.factors.dtype == result:
            self.inputs[GKL_FACTOR_P] = p.factors
        if q is not None and q.factors is not None and q.kind != GKL_LOW_RANK:
            if q.factors.dtype == result:
                self.inputs[GKL_FACTOR_Q] = q.factors
        return given

    cdef object result_type(self):
        return FLOAT64 if self.job.storage == GKL_F64 else FLOAT32

    cdef int core_of_operand(self, int place):
        """How many axes of an operand are not the batch's."""
        if place == GKL_WEIGHT:
            return 0
        if place >= GKL_FACTOR_P:
            return 2
        return 1 if place % 2 == 0 else _scale_axes(self.job.p if place == 1 else self.job.q)

    cdef int core_of_output(self, int place):
        """The same of an output."""
        if self.job.output == GKL_GRAD and place > 0:
            return self.core_of_operand(OPERAND_OF[place])
        return 1 if self.job.output == GKL_PER_DIM else 2 if self.job.output == GKL_FACTOR else 0

    cdef int run(self, list kept, list summed, list outputs, int nthreads) except -1:
        """Do the job for these outputs; gradients are summed over the axes `summed`."""
        cdef int i, status
        cdef list axes = kept + summed
        self.job.ndim = len(axes)
        self.job.nsum = len(summed)
        self.job.shape = self.shape
        self.job.nthreads = nthreads
        self.job.poll = gkl_poll
        for i in range(len(axes)):
            self.shape[i] = self.batch_shape[axes[i]]
        for i in range(GKL_MAX_IN):
            self.job.inputs[i] = self.describe(
                self.inputs[i], axes, self.core_of_operand(i), i
            )
        for i in range(GKL_MAX_OUT):
            self.job.out[i] = self.describe(
                outputs[i], axes, self.core_of_output(i), GKL_MAX_IN + i
            )
        with nogil:
            status = gkl_run(&self.job)
        return _propagate(status)


cdef object _repeated_axes(object parameter, int core, tuple batch_shape):
    """The batch axes along which a parameter is repeated, as a list."""
    cdef tuple shape = _shape_of(parameter)
    cdef int missing = len(batch_shape) + core - len(shape), i
    return [
        i
        for i in range(len(batch_shape))
        if batch_shape[i] != 1 and (i < missing or shape[i - missing] == 1)
    ]


cdef int _propagate(int status) except -1:
    """Raise what the core's status says; below 0 a signal handler has, and its exception is set."""
    if status == GKL_NO_KERNEL:
        raise NotImplementedError("the core has no kernel for this pair of Gaussians")
    if status > 0:
        raise MemoryError("no memory for the work of this call")
    return -1 if status < 0 else 0


cdef tuple _batch_and_dim(Gaussian p, Gaussian q):
    """The batch's shape and d of a pair, or of `p` alone."""
    if q is None:
        return p.batch_shape, p.dim
    if p.dim != q.dim and not (p.scalar or q.scalar):
        raise ValueError(
            f"p and q differ in dimension: batch shape {p.batch_shape} and d = {p.dim}, "
            f"batch shape {q.batch_shape} and d = {q.dim}"
        )
    shape = p.batch_shape
    if p.batch_shape != q.batch_shape:
        shape = _broadcast(p.batch_shape, q.batch_shape)
        if shape is None:
            raise ValueError(
                f"the batches of p and q do not fit: shapes {p.batch_shape} and {q.batch_shape}"
            )
    return shape, q.dim if p.scalar else p.dim


def evaluate(str output, Gaussian p, Gaussian q, wanted, out, weight, int nthreads):
    """Compute some outputs of a pair (or of `p` against the standard normal: `q` None).

    `wanted` are places among the outputs of src_c/gkl.h; `out` gives an array or None for each
    of them, or is None. Returns the arrays in this order, the number of bad items and the batch
    shape. Knows nothing of errors in the data: bad items are NaN.
    """
    cdef gkl_output which = OUTPUTS[output]
    if out is None and which not in (GKL_PER_DIM, GKL_GRAD, GKL_TERMS, GKL_FACTOR):
        plain = _evaluate_plain(which, p, q, nthreads)
        if plain is not None:
            return (plain,), gkl_bad_items()[0], p.batch_shape
    cdef _Call call = _Call()
    cdef Py_ssize_t dim
    cdef int place, operand
    shape, dim = _batch_and_dim(p, q)
    if which == GKL_FACTOR:
        shape = _shape_of(p.scale)[:-2]
    if weight is not None and _broadcast(shape, weight.shape) != shape:
        raise ValueError(
            f"weight does not fit the batch: shapes {weight.shape} and {shape}"
        )
    if len(shape) > 63:
        raise ValueError("more than 63 batch dimensions")

    cdef list parameters = call.take(p, q)
    result = call.result_type()
    if weight is not None:
        call.inputs[GKL_WEIGHT] = np.asarray(weight, result)
    call.batch_shape = shape
    call.job.output = which
    call.job.dim = dim
    if which == GKL_ENTROPY or which == GKL_FACTOR:
        call.inputs[0] = None

    cdef list results = [None] * GKL_MAX_OUT
    cdef list sums = []  # the different sets of axes that gradients are summed over
    cdef list axes_of = [None] * GKL_MAX_OUT
    given = (None,) * len(wanted) if out is None else out
    for place, target in zip(wanted, given):
        want_shape = shape
        if which == GKL_PER_DIM:
            want_shape = shape + (dim,)
        elif which == GKL_FACTOR:
            want_shape = shape + (dim, dim)
        elif which == GKL_GRAD and place > 0:
            operand = OPERAND_OF[place]
            want_shape = _shape_of(parameters[operand])
            axes_of[place] = _repeated_axes(
                parameters[operand], call.core_of_operand(operand), shape
            )
            if axes_of[place] and axes_of[place] not in sums:
                sums.append(axes_of[place])
        title = _title(which, place, p, q)
        results[place] = _target(title, target, want_shape, result, call.inputs)
        if axes_of[place] is not None and (dim == 0 or 0 in shape):
            results[place][...] = 0  # an empty sum, which no task of the core would write

    for i, target in enumerate(given):
        if target is not None and any(_overlap(target, other) for other in given[:i]):
            raise ValueError("two outputs share memory")

    cdef list every = list(range(len(shape))), todo
    if not sums:
        call.run(every, [], results, nthreads)
    for i, summed in enumerate(sums):
        # what is not summed at all goes with the first
        todo = [
            x if (i == 0 and not axes_of[k]) or axes_of[k] == summed else None
            for k, x in enumerate(results)
        ]
        call.run([a for a in every if a not in summed], summed, todo, nthreads)
    bad = gkl_bad_items()[0]
    for place, target in zip(wanted, given):
        if target is not None and results[place] is not target:
            np.copyto(target, results[place], casting="same_kind")
            results[place] = target
    return [results[place] for place in wanted], bad, shape


cdef bint _overlap(object a, object b):
    """Do two arrays, or None, have an element in common (or one cannot tell)?"""
    if a is None or b is None:
        return False
    try:
        return np.shares_memory(a, b, max_work=10_000)
    except np.exceptions.TooHardError:
        return True


cdef str _title(gkl_output which, int place, Gaussian p, Gaussian q):
    """What messages call an output."""
    if which != GKL_GRAD:
        return "out"
    if place == 0:
        return "out, the value,"
    cdef int operand = OPERAND_OF[place]
    cdef bint is_p = operand < 2 or operand == GKL_FACTOR_P
    name = "factor" if operand > GKL_WEIGHT else "mean" if operand % 2 == 0 else None
    return f"out, {'p' if is_p else 'q'}.{name or KIND_NAMES[(p if is_p else q).kind]},"


cdef object _target(str title, object out, tuple shape, object dtype, list inputs):
    """Where an output goes: a new array, the caller's, or a new one beside a caller's that has
    another type or overlaps an input."""
    if out is None:
        return np.empty(shape, dtype)
    if not isinstance(out, np.ndarray):
        raise TypeError(f"{title} is of type {type(out).__name__}, not a NumPy array")
    if out.shape != shape:
        raise ValueError(f"{title} has shape {out.shape}, the result {shape}")
    if not out.flags.writeable:
        raise ValueError(f"{title} is read-only")
    if not np.can_cast(dtype, out.dtype, "same_kind"):
        raise TypeError(f"{title} has dtype {out.dtype}, which cannot hold {np.dtype(dtype)}")
    if out.dtype != dtype or any(_overlap(out, x) for x in inputs):
        return np.empty(shape, dtype)
    return out
