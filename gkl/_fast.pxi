# SPDX-License-Identifier: BSD-3-Clause
# A shorter way to values of parameters that are all alike: the generality of `evaluate` costs more
# than a small batch itself.

cdef ptrdiff_t[GKL_MAX_DIMS] NO_STRIDES  # zeros: of a parameter without a batch


cdef bint _plain(object parameter, int core, cnp.ndarray model, gkl_array *described):
    """Describe a parameter that is like the model: its type, and its batch or none. The `core` last
    axes are a parameter's own, the first of them is d."""
    if not cnp.PyArray_CheckExact(parameter):
        return False
    cdef cnp.ndarray x = parameter
    cdef int ndim = cnp.PyArray_NDIM(x), last = cnp.PyArray_NDIM(model) - 1, i
    cdef int batch = ndim - core
    if cnp.PyArray_TYPE(x) != cnp.PyArray_TYPE(model) or not cnp.PyArray_ISNOTSWAPPED(x):
        return False
    if batch != 0 and batch != last:
        return False
    for i in range(batch):
        if cnp.PyArray_DIM(x, i) != cnp.PyArray_DIM(model, i):
            return False
    if cnp.PyArray_DIM(x, batch) != cnp.PyArray_DIM(model, last):
        return False
    described.data = <char *>cnp.PyArray_DATA(x)
    described.stride = <ptrdiff_t *>cnp.PyArray_STRIDES(x) if batch == last else NO_STRIDES
    described.step = cnp.PyArray_STRIDE(x, batch)
    if core == 2:
        described.across = cnp.PyArray_STRIDE(x, ndim - 1)
    return True


cdef bint _plain_gaussian(
    Gaussian x, cnp.ndarray model, gkl_array *mean, gkl_array *scale, gkl_array *factor,
    ptrdiff_t *rank,
):
    """Describe all that belongs to a Gaussian."""
    if not (_plain(x.mean, 1, model, mean) and _plain(x.scale, _scale_axes(x.kind), model, scale)):
        return False
    if x.factors is None:
        return True
    if not _plain(x.factors, 2, model, factor):
        return False
    if x.kind == GKL_LOW_RANK:
        rank[0] = x.factors.shape[-1]
    return True


cdef cnp.ndarray _evaluate_plain(gkl_output output, Gaussian p, Gaussian q, int nthreads):
    """One number an item, when all parameters are alike; None when they are not."""
    cdef gkl_job job
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
    if not _plain_gaussian(
        p, model, &job.inputs[0], &job.inputs[1], &job.inputs[GKL_FACTOR_P], &job.rank_p
    ):
        return None
    if q is not None and not _plain_gaussian(
        q, model, &job.inputs[2], &job.inputs[3], &job.inputs[GKL_FACTOR_Q], &job.rank_q
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
    if status < 0:
        _propagate(status)
    return None if status else result
