"""C-level doors of the RQL kernel, for kernels that run filters themselves."""

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
    cdef tuple keys
    cdef object time            # TimePlan of a property time:now..., else None
    cdef str now                # what it is in this batch

    cdef bint found(self, Signal signal, dict thing) except -1
    cdef bint through(self, list array, Py_ssize_t depth) except -1
    cdef bint any_of(self, object value, int depth) except -1
    cdef bint accepts(self, object value) except -1
    cdef object set_clock(self, object now)


cdef class Filter:
    cdef readonly object plan
    cdef Node _root
    cdef list _leaves           # all of them, from left to right
    cdef list _clocks           # the leaves that depend on the time of the batch
    cdef bint _needs_thing      # some leaf looks into the thing
    cdef tuple _covered_by      # the pointers that each leaf's covered was set for

    cdef bint holds(self, Signal signal) except -1
    cdef object _set_clock(self, object now)
    cdef object _cover(self, tuple pointers)
