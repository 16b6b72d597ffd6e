# SPDX-License-Identifier: BSD-3-Clause
# Every p against every q, and chosen pairs of them.

cdef dict METRICS = {
    "kl": GKL_KL,
    "reverse_kl": GKL_REVERSE_KL,
    "jeffreys": GKL_SYMMETRIC_KL,
    "wasserstein2": GKL_WASSERSTEIN2,
    "renyi": GKL_RENYI,
    "bhattacharyya": GKL_BHATTACHARYYA,
    "hellinger": GKL_HELLINGER,
}


cdef class _Pairing:
    """A job of n Gaussians against m, each with one batch axis."""

    cdef gkl_pairwise_job job
    cdef _Call call  # whose arrays and strides it has
    cdef readonly object state_p, state_q

    def __init__(self, str metric, double order, Gaussian p, Gaussian q, int nthreads):
        cdef int i
        cdef cnp.ndarray state_p, state_q
        self.call = _Call()
        self.call.take(p, q)
        _, self.call.job.dim = _batch_and_dim(p, q.reshape(-1, 1))
        for i in range(4):
            self.call.batch_shape = (p if i < 2 else q).batch_shape
            self.job.inputs[i] = self.call.describe(self.call.inputs[i], [0], 1, i)
        state_p = np.zeros(len(p), np.uint8)
        state_q = np.zeros(len(q), np.uint8)
        self.state_p, self.state_q = state_p, state_q
        self.job.state_p = <char *>cnp.PyArray_DATA(state_p)
        self.job.state_q = <char *>cnp.PyArray_DATA(state_q)
        self.job.metric = METRICS[metric]
        self.job.order = order
        self.job.p = self.call.job.p
        self.job.q = self.call.job.q
        self.job.storage = self.call.job.storage
        self.job.n = len(p)
        self.job.m = len(q)
        self.job.dim = self.call.job.dim
        self.job.nthreads = nthreads
        self.job.poll = gkl_poll

    cdef tuple states(self):
        return self.state_p.view(bool), self.state_q.view(bool)


def pairwise(str metric, double order, Gaussian p, Gaussian q, out, int nthreads):
    """The (n, m) divergences of diagonal Gaussians, and which of p and of q are bad."""
    cdef _Pairing x = _Pairing(metric, order, p, q, nthreads)
    cdef ptrdiff_t stride[2]
    cdef int status
    cdef cnp.ndarray target = _target(
        "out", out, (len(p), len(q)), x.call.result_type(), x.call.inputs
    )
    stride[0] = cnp.PyArray_STRIDE(target, 0)
    stride[1] = cnp.PyArray_STRIDE(target, 1)
    with nogil:
        status = gkl_pairwise(&x.job, cnp.PyArray_DATA(target), stride)
    _propagate(status)
    if out is None:
        out = target
    elif out is not target:
        np.copyto(out, target, casting="same_kind")
    return out, *x.states()


def nearest(str metric, double order, Gaussian p, Gaussian q, ptrdiff_t k, own, int nthreads):
    """The least k divergences of each p and their indices, (n, k) both, and which of p and of q
    are bad. `own` is what to add to a row's number for the index that it must not have, or None."""
    cdef _Pairing x = _Pairing(metric, order, p, q, nthreads)
    cdef cnp.ndarray value = np.empty((len(p), k), x.call.result_type())
    cdef cnp.ndarray index = np.empty((len(p), k), np.intp)
    cdef ptrdiff_t self_at = GKL_NO_SELF if own is None else own
    cdef int status
    with nogil:
        status = gkl_nearest(
            &x.job, k, self_at, cnp.PyArray_DATA(value), <ptrdiff_t *>cnp.PyArray_DATA(index)
        )
    _propagate(status)
    return value, index, *x.states()


def within(str metric, double order, Gaussian p, Gaussian q, bounds, own, int nthreads):
    """All q within the bound of each p, in CSR form (indptr, index, value as float64), and which
    of p and of q are bad."""
    cdef _Pairing x = _Pairing(metric, order, p, q, nthreads)
    cdef cnp.ndarray bound = np.ascontiguousarray(bounds, np.float64)
    cdef cnp.ndarray start = np.zeros(len(p) + 1, np.intp)
    cdef cnp.ndarray index, value
    cdef ptrdiff_t self_at = GKL_NO_SELF if own is None else own
    cdef ptrdiff_t *found = NULL
    cdef double *values = NULL
    cdef int status
    with nogil:
        status = gkl_within(
            &x.job, <double *>cnp.PyArray_DATA(bound), self_at,
            <ptrdiff_t *>cnp.PyArray_DATA(start), &found, &values
        )
    try:
        _propagate(status)
        index = np.empty(start[len(p)], np.intp)
        value = np.empty(start[len(p)], np.float64)
        memcpy(cnp.PyArray_DATA(index), found, <size_t>index.nbytes)
        memcpy(cnp.PyArray_DATA(value), values, <size_t>value.nbytes)
    finally:
        free(found)
        free(values)
    return start, index, value, *x.states()


def pairs(str output, Gaussian p, Gaussian q, i, j, out, int nthreads):
    """The value of p[i[n]] and q[j[n]] for each n: as `evaluate`, of any structures."""
    cdef _Call call = _Call()
    cdef ptrdiff_t shape[1]
    cdef ptrdiff_t stride[1]
    cdef int k, status
    cdef cnp.ndarray first = np.ascontiguousarray(i, np.intp)
    cdef cnp.ndarray second = np.ascontiguousarray(j, np.intp)
    call.take(p, q)
    cdef cnp.ndarray target = _target("out", out, (len(first),), call.result_type(), call.inputs)
    _, call.job.dim = _batch_and_dim(p, q.reshape(-1, 1))
    for k in range(GKL_MAX_IN):
        call.batch_shape = (p if k < 2 or k == GKL_FACTOR_P else q).batch_shape
        call.job.inputs[k] = call.describe(call.inputs[k], [0], call.core_of_operand(k), k)
    shape[0] = len(first)
    stride[0] = cnp.PyArray_STRIDE(target, 0)
    call.job.output = OUTPUTS[output]
    call.job.ndim = 1
    call.job.shape = shape
    call.job.out[0].data = <char *>cnp.PyArray_DATA(target)
    call.job.out[0].stride = stride
    call.job.index[0] = <ptrdiff_t *>cnp.PyArray_DATA(first)
    call.job.index[1] = <ptrdiff_t *>cnp.PyArray_DATA(second)
    call.job.nthreads = nthreads
    call.job.poll = gkl_poll
    with nogil:
        status = gkl_run(&call.job)
    _propagate(status)
    if out is not None and out is not target:
        np.copyto(out, target, casting="same_kind")
        target = out
    return target, gkl_bad_items()[0]
