"""C-level shape of placeholders: where values come from."""

from cpython.dict cimport PyDict_Check
from cpython.object cimport PyObject

from streamproc.kernels.signal cimport Signal


cdef class Moment:
    """The time of one batch, and its texts as far as they were asked for."""

    cdef object now             # datetime, or None until asked for
    cdef dict texts             # TimePlan -> str

    cdef object text(self, object plan)


cdef class Place:
    """A placeholder, decided at start-up."""

    cdef readonly bint several  # may have more than one value
    cdef int _kind
    cdef bint _any_case
    cdef str _name              # of a header, as written
    cdef str _lower             # the same in lower case
    cdef tuple _keys            # of thing-json
    cdef object _time           # TimePlan

    # The only or first value, None without one.
    cdef object one(self, dict headers, Signal signal, Moment moment)
    # All values, None without one.
    cdef list all(self, dict headers, Signal signal, Moment moment)


cdef inline dict checked_headers(PyObject *item):
    """*item*, borrowed, as the headers that it must be. (A cast of a pointer checks nothing.)"""
    if not PyDict_Check(<object>item):
        raise TypeError(f"expected headers as a dict, found {<object>item!r}")
    return <dict>item


# Whether two header names of *length* characters differ in the case of ASCII letters at most.
cdef bint same_name(str left, str right, Py_ssize_t length) noexcept
# The id of the thing, or thing or policy, that a signal is about; None without one.
cdef object thing_id(Signal signal)
cdef object entity_id(Signal signal)
