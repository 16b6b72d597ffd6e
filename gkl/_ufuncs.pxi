# SPDX-License-Identifier: BSD-3-Clause
# The gufuncs, made one by one when they are asked for; _ufuncs.h has their loop.

cdef extern from "_ufuncs.h":
    int gkl_poll() noexcept nogil
    int gkl_storage(object descr)
    ctypedef struct gkl_gufunc:
        const char *name
    gkl_gufunc gkl_describe_gufunc(int index)
    object gkl_make_gufunc(const gkl_gufunc *made, const char *doc, object bfloat16)


cdef list _kept_docs = []  # NumPy keeps the pointer to a docstring, not the text


def gufunc_names():
    """The names of all gufuncs, in the order of kernels.def."""
    cdef int i = 0
    names = []
    while gkl_describe_gufunc(i).name != NULL:
        names.append(gkl_describe_gufunc(i).name.decode())
        i += 1
    return names


def make_gufunc(index, doc, bfloat16=None):
    """A new gufunc, the one at this index in the list of names, with this documentation.

    `bfloat16` is that NumPy dtype, if there is one.
    """
    cdef gkl_gufunc described = gkl_describe_gufunc(index)
    if described.name == NULL:
        raise IndexError(index)
    cdef gkl_gufunc *made = <gkl_gufunc *>malloc(sizeof(gkl_gufunc))
    if made == NULL:
        raise MemoryError
    made[0] = described
    cdef bytes kept = doc.encode()
    _kept_docs.append(kept)
    return gkl_make_gufunc(made, kept, None if bfloat16 is None else type(np.dtype(bfloat16)))
