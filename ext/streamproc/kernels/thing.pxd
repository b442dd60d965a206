"""C-level door: what one signal says of its thing."""

from cpython.object cimport PyObject

from streamproc.kernels.signal cimport Signal


cdef dict thing_of_signal(Signal signal)


cdef inline Signal checked(PyObject *item):
    """*item*, borrowed, as the signal that it must be. (A cast of a pointer checks nothing.)"""
    if not isinstance(<object>item, Signal):
        raise TypeError(f"expected a Signal, found {<object>item!r}")
    return <Signal>item
