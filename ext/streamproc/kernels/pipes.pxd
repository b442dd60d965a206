"""C-level shape of expressions: a head and the functions its value goes through.

A value is a str, None (unresolved) or DELETED; in ``all`` a list takes the place of the str.
"""

from streamproc.kernels.signal cimport Signal
from streamproc.kernels.sources cimport Moment, Place


cdef object DELETED


cdef class Slot:
    """An argument: a text, or a placeholder."""

    cdef str text               # None for a placeholder
    cdef Place place

    cdef object one(self, dict headers, Signal signal, Moment moment)
    cdef list all(self, dict headers, Signal signal, Moment moment)


cdef class Step:
    """One function of a pipeline."""

    cdef readonly bint several  # may give several values for one
    cdef readonly bint deletes
    cdef int _op
    cdef Slot _first            # arguments; of fn:filter what is tested, None for the input
    cdef Slot _second           # of fn:filter what it is compared with, or None
    cdef int _operator          # of fn:filter
    cdef Place _operator_place  # where the operator comes from a message
    cdef tuple _patterns        # of fn:filter with a constant pattern, else None
    cdef object _format         # of fn:format

    cdef object one(self, object value, dict headers, Signal signal, Moment moment)
    cdef object all(self, object values, dict headers, Signal signal, Moment moment)
    cdef int _comparison(self, dict headers, Signal signal, Moment moment) except -1
    cdef bint _passes(self, int operator, str value, dict headers, Signal signal,
                      Moment moment) except -1
    cdef list _passing(self, int operator, list values, dict headers, Signal signal,
                       Moment moment)
    cdef bint _holds(self, int operator, str tested, str compared) except -1
    cdef list _holding(self, int operator, list tested, list compared)
    cdef str _replacement(self, dict headers, Signal signal, Moment moment)
    cdef object _text(self, str value, str old, str new)
    cdef object _each(self, list values, str old, str new)


cdef class Pipe:
    """One expression."""

    cdef readonly bint several
    cdef readonly bint deletes
    cdef Slot head              # None: begins unresolved
    cdef tuple steps

    cdef object one(self, dict headers, Signal signal, Moment moment)
    cdef object all(self, dict headers, Signal signal, Moment moment)
