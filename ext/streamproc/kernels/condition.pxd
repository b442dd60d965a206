"""C-level shape of what a filter is made of."""

from streamproc.kernels.beside cimport Source
from streamproc.kernels.signal cimport Signal


cdef class Node:
    cdef object expression      # the part of the plan that this node runs
    cdef tuple parts            # nodes below: and, or, not

    cdef bint test(self, Signal signal, dict thing) except -1
    cdef int could(self, Signal signal, dict thing) except -1


cdef class Leaf(Node):
    cdef Source source
    cdef bint negated           # ne: true where no candidate is accepted
    cdef bint covered           # enrichment may still change the property
    cdef bint needs_clock       # the property or a literal depends on the time of the batch
    cdef tuple keys             # of the property in the thing, else empty
    cdef object time            # TimePlan of a property time:now..., else None
    cdef str now                # what it is in this batch

    cdef bint found(self, Signal signal, dict thing) except -1
    cdef bint through(self, list array, Py_ssize_t depth) except -1
    cdef bint any_of(self, object value, int depth) except -1
    cdef bint accepts(self, object value) except -1
    cdef object set_clock(self, object now)
    cdef object cover(self, list pointers)
    cdef object saw(self, Signal signal, dict thing)


cdef Leaf leaf_of(object expression)
