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
}


cdef object FLOAT32 = np.dtype(np.float32), FLOAT64 = np.dtype(np.float64)


cdef object _common_dtype(list arrays):
    """What is computed in: NumPy's common type where the core has it, else float64."""
    types = [x.dtype for x in arrays if type(x) is not float]
    if not types:
        return FLOAT64
    common = np.result_type(*types).newbyteorder("=")
    return common if gkl_storage(common) >= 0 else FLOAT64


cdef bint _alike(list arrays):
    """Are these plain arrays of one type of the core, in the machine's byte order?"""
    cdef int kind = -1
    for x in arrays:
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

    cdef gkl_array describe(self, object array, list axes, bint core, int slot):
        """Strides over the whole batch and along d: 0 where the array repeats itself."""
        cdef gkl_array described
        described.data = NULL
        described.stride = self.strides[slot]
        described.step = 0
        if array is None:
            return described
        cdef cnp.ndarray x = array
        cdef int ndim = cnp.PyArray_NDIM(x), i, axis
        cdef int batch = ndim - 1 if core and ndim > 0 else ndim
        cdef int missing = len(self.batch_shape) - batch
        described.data = <char *>cnp.PyArray_DATA(x)
        for i in range(len(axes)):
            axis = <int>axes[i] - missing
            self.strides[slot][i] = 0
            if axis >= 0 and cnp.PyArray_DIM(x, axis) > 1:
                self.strides[slot][i] = cnp.PyArray_STRIDE(x, axis)
        if core and ndim > 0 and (cnp.PyArray_DIM(x, ndim - 1) > 1 or self.job.dim == 1):
            described.step = cnp.PyArray_STRIDE(x, ndim - 1)
        return described

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
            self.job.inputs[i] = self.describe(self.inputs[i], axes, i < GKL_WEIGHT, i)
        for i in range(GKL_MAX_OUT):
            core = self.job.output == GKL_PER_DIM or (self.job.output == GKL_GRAD and i > 0)
            self.job.out[i] = self.describe(outputs[i], axes, core, GKL_MAX_IN + i)
        with nogil:
            status = gkl_run(&self.job)
        if status > 0:
            raise MemoryError("no memory for the partial sums of this call")
        return _propagate(status)


cdef object _repeated_axes(object parameter, tuple batch_shape):
    """The batch axes along which a parameter is repeated, as a list."""
    cdef tuple shape = _shape_of(parameter)
    cdef int missing = len(batch_shape) + 1 - len(shape), i
    return [
        i
        for i in range(len(batch_shape))
        if batch_shape[i] != 1 and (i < missing or shape[i - missing] == 1)
    ]


cdef int _propagate(int status) except -1:
    """Below 0 a signal handler has raised, and its exception is set."""
    return -1 if status < 0 else 0


cdef ptrdiff_t[GKL_MAX_DIMS] NO_STRIDES  # zeros: of a parameter without a batch


cdef bint _plain(object parameter, cnp.ndarray model, gkl_array *described):
    """Describe a parameter that is like the model: its type, its shape or one row of it."""
    if not cnp.PyArray_CheckExact(parameter):
        return False
    cdef cnp.ndarray x = parameter
    cdef int ndim = cnp.PyArray_NDIM(x), last = cnp.PyArray_NDIM(model) - 1, i
    if cnp.PyArray_TYPE(x) != cnp.PyArray_TYPE(model) or not cnp.PyArray_ISNOTSWAPPED(x):
        return False
    if ndim != 1 and ndim != last + 1:
        return False
    for i in range(ndim):
        if cnp.PyArray_DIM(x, i) != cnp.PyArray_DIM(model, last + 1 - ndim + i):
            return False
    described.data = <char *>cnp.PyArray_DATA(x)
    described.stride = <ptrdiff_t *>cnp.PyArray_STRIDES(x) if ndim == last + 1 else NO_STRIDES
    described.step = cnp.PyArray_STRIDE(x, ndim - 1)
    return True


cdef cnp.ndarray _evaluate_plain(gkl_output output, DiagNormal p, DiagNormal q, int nthreads):
    """One number an item, when all parameters are alike: without the generality of `evaluate`,
    which costs more than a small batch itself. None when they are not."""
    cdef gkl_job job
    cdef gkl_array out
    cdef cnp.ndarray model, result
    cdef int last, kind, status
    if not cnp.PyArray_CheckExact(p.mean):
        return None
    model = p.mean
    kind = cnp.PyArray_TYPE(model)
    last = cnp.PyArray_NDIM(model) - 1
    if last < 0 or (kind != cnp.NPY_FLOAT and kind != cnp.NPY_DOUBLE):
        return None
    memset(&job, 0, sizeof(job))
    if not (_plain(p.mean, model, &job.inputs[0]) and _plain(p.scale, model, &job.inputs[1])):
        return None
    if q is not None and not (
        _plain(q.mean, model, &job.inputs[2]) and _plain(q.scale, model, &job.inputs[3])
    ):
        return None
    result = cnp.PyArray_EMPTY(last, cnp.PyArray_DIMS(model), kind, 0)
    job.p = <gkl_kind>p.kind
    job.q = GKL_UNIT if q is None else <gkl_kind>q.kind
    job.output = output
    job.storage = GKL_F64 if kind == cnp.NPY_DOUBLE else GKL_F32
    job.ndim = last
    job.shape = <ptrdiff_t *>cnp.PyArray_DIMS(model)
    job.dim = cnp.PyArray_DIM(model, last)
    if output == GKL_ENTROPY:
        job.inputs[0].data = NULL
    job.out[0].data = <char *>cnp.PyArray_DATA(result)
    job.out[0].stride = <ptrdiff_t *>cnp.PyArray_STRIDES(result)
    job.nthreads = nthreads
    job.poll = gkl_poll
    with nogil:
        status = gkl_run(&job)
    _propagate(status)
    return None if status else result


def evaluate(str output, DiagNormal p, DiagNormal q, wanted, out, weight, int nthreads):
    """Compute some outputs of a pair (or of `p` against the standard normal: `q` None).

    `wanted` are places among the outputs of src_c/gkl.h; `out` gives an array or None for each
    of them, or is None. Returns the arrays in this order, the number of bad items and the batch
    shape. Knows nothing of errors in the data: bad items are NaN.
    """
    cdef gkl_output which = OUTPUTS[output]
    if out is None and which not in (GKL_PER_DIM, GKL_GRAD, GKL_TERMS):
        plain = _evaluate_plain(which, p, q, nthreads)
        if plain is not None:
            return (plain,), gkl_bad_items()[0], p.batch_shape
    cdef _Call call = _Call()
    cdef Py_ssize_t dim = p.dim
    cdef int place
    cdef list parameters = [p.mean, p.scale]
    shape = p.batch_shape
    if q is not None:
        parameters += [q.mean, q.scale]
        if p.dim != q.dim and not (p.scalar or q.scalar):
            raise ValueError(
                f"p and q differ in dimension: batch shape {p.batch_shape} and d = {p.dim}, "
                f"batch shape {q.batch_shape} and d = {q.dim}"
            )
        dim = q.dim if p.scalar else p.dim
        if p.batch_shape != q.batch_shape:
            shape = _broadcast(p.batch_shape, q.batch_shape)
            if shape is None:
                raise ValueError(
                    f"the batches of p and q do not fit: shapes {p.batch_shape} and {q.batch_shape}"
                )
    if weight is not None and _broadcast(shape, weight.shape) != shape:
        raise ValueError(
            f"weight does not fit the batch: shapes {weight.shape} and {shape}"
        )
    if len(shape) > 63:
        raise ValueError("more than 63 batch dimensions")

    cdef list arrays = parameters
    if _alike(arrays):
        dtype = arrays[0].dtype
    else:
        dtype = _common_dtype(parameters)
        arrays = [np.asarray(x, dtype) for x in parameters]
    call.job.storage = <gkl_type>gkl_storage(dtype)
    result = FLOAT64 if call.job.storage == GKL_F64 else FLOAT32
    call.inputs = arrays + [None] * (GKL_MAX_IN - len(arrays))
    if weight is not None:
        call.inputs[GKL_WEIGHT] = np.asarray(weight, result)
    call.batch_shape = shape
    call.job.output = which
    call.job.p = <gkl_kind>p.kind
    call.job.q = GKL_UNIT if q is None else <gkl_kind>q.kind
    call.job.dim = dim
    if call.job.output == GKL_ENTROPY:
        call.inputs[0] = None

    cdef list results = [None] * GKL_MAX_OUT
    cdef list sums = []  # the different sets of axes that gradients are summed over
    cdef list axes_of = [None] * GKL_MAX_OUT
    given = (None,) * len(wanted) if out is None else out
    for place, target in zip(wanted, given):
        want_shape = shape
        if call.job.output == GKL_PER_DIM:
            want_shape = shape + (dim,)
        elif call.job.output == GKL_GRAD and place > 0:
            want_shape = _shape_of(parameters[place - 1])
            axes_of[place] = _repeated_axes(parameters[place - 1], shape)
            if axes_of[place] and axes_of[place] not in sums:
                sums.append(axes_of[place])
        results[place] = _target(target, want_shape, result, call.inputs)
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


cdef object _target(object out, tuple shape, object dtype, list inputs):
    """Where an output goes: a new array, the caller's, or a new one beside a caller's that has
    another type or overlaps an input."""
    if out is None:
        return np.empty(shape, dtype)
    if not isinstance(out, np.ndarray):
        raise TypeError(f"out= wants NumPy arrays, not {type(out).__name__}")
    if out.shape != shape:
        raise ValueError(f"out has shape {out.shape}, the result {shape}")
    if not out.flags.writeable:
        raise ValueError("out is read-only")
    if not np.can_cast(dtype, out.dtype, "same_kind"):
        raise TypeError(f"out has dtype {out.dtype}, which cannot hold {np.dtype(dtype)}")
    if out.dtype != dtype or any(_overlap(out, x) for x in inputs):
        return np.empty(shape, dtype)
    return out
