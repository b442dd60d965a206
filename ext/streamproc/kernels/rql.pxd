"""C-level door of the RQL kernel, for kernels that run filters themselves."""

from streamproc.kernels.condition cimport Node
from streamproc.kernels.signal cimport Signal


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
