"""C-level shape of templates, for kernels that embed one."""

from streamproc.kernels.signal cimport Signal
from streamproc.kernels.sources cimport Moment, Place


cdef class Template:
    cdef readonly object plan
    cdef readonly str constant  # the text where nothing is to be resolved, else None
    cdef bint fixed             # nothing is to be resolved: the outcome is known
    cdef object _outcome        # of such a one, as ``all`` gives it
    cdef tuple _pieces          # str and Pipe
    cdef Place _lone            # the placeholder that is all there is, else None
    cdef bint _single           # one value or none, and never deleted

    # The first value, None without one. Raises SignalError.
    cdef object first_of(self, dict headers, Signal signal, Moment moment)
    # All values, None where unresolved, () where deleted. Raises SignalError.
    cdef object all_of(self, dict headers, Signal signal, Moment moment)
    cdef object _compute(self)


cdef class Subjects:
    cdef readonly tuple constant    # the subjects where no message can change them, else None
    cdef Py_ssize_t _limit
    cdef list _templates

    cdef tuple _of(self, dict headers, Moment moment)
