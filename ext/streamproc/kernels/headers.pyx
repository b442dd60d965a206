"""Header mapping of sources and targets. The reference is ``tests/reference/headers.py``.

A value with CR, LF or NUL never gets into a transport's headers: a source refuses it when it
was mapped from a message, a target refuses the delivery whatever it comes from (a mapper, the
envelope, ``thing-json:``). Refused is better than left out: it is told, and parked.
"""

cimport cython
from cpython.dict cimport PyDict_Contains, PyDict_Copy, PyDict_SetItem
from cpython.list cimport PyList_GET_ITEM, PyList_GET_SIZE
from cpython.unicode cimport (
    PyUnicode_DATA,
    PyUnicode_GET_LENGTH,
    PyUnicode_KIND,
    PyUnicode_READ,
)

from streamproc.errors import SignalError
from streamproc.kernels.signal cimport Signal
from streamproc.kernels.sources cimport Moment, checked_headers, same_name
from streamproc.kernels.template cimport Template
from streamproc.kernels.thing cimport checked
from streamproc.protocol import headers as _known

# How the value of a known header is looked at.
cdef enum Check:
    NONE
    BOOLEAN
    NON_EMPTY
    FUNCTION

cdef dict _CHECKS = dict(_known.CHECKED)


@cython.final
cdef class InboundMapping:
    """Adds mapped headers to signals, but none that outsiders may not set.

    ``ignored`` names the entries that never have an effect for that reason.
    """

    cdef readonly tuple ignored
    cdef list _entries

    def __cinit__(self, dict plans not None):
        self.ignored = tuple([name for name in plans if name.lower() in _known.REFUSED])
        self._entries = [
            Entry(name, Template(plan), True)
            for name, plan in {name.lower(): plan for name, plan in plans.items()}.items()
            if name not in _known.REFUSED
        ]

    def apply(self, list raw_headers not None, list signals not None, object now=None):
        """Give each signal its mapped headers; where it has one itself, that stands.

        The outcome is None, or a SignalError for a signal whose headers are left as they were.
        """
        cdef list outcomes = []
        cdef Moment moment = Moment(now)
        cdef Py_ssize_t i = 0, count = _count(raw_headers, signals)
        while i < count:
            try:
                while i < count:
                    self._apply(
                        checked_headers(PyList_GET_ITEM(raw_headers, i)),
                        checked(PyList_GET_ITEM(signals, i)),
                        moment,
                    )
                    outcomes.append(None)
                    i += 1
            except SignalError as error:
                outcomes.append(error.with_traceback(None))  # it would keep frames alive
                i += 1
        return outcomes

    cdef object _apply(self, dict raw, Signal signal, Moment moment):
        cdef dict own = signal.headers, result = None
        cdef object each, value
        cdef Entry entry
        for each in self._entries:
            entry = <Entry>each
            if PyDict_Contains(own, entry.name):
                continue
            value = entry.value(raw, signal, moment)
            if value is not None:
                if result is None:
                    result = PyDict_Copy(own)
                PyDict_SetItem(result, entry.name, value)
        if result is not None:
            signal.headers = result


@cython.final
cdef class OutboundMapping:
    """Lays mapped headers over those that a payload mapper made, whatever their case."""

    cdef list _entries

    def __cinit__(self, dict plans not None):
        by_name = {}
        for name, plan in plans.items():
            by_name.pop(name.lower(), None)     # the last of two that differ in case stands
            by_name[name.lower()] = Entry(name, Template(plan), False)
        self._entries = list(by_name.values())

    def apply(self, list message_headers not None, list signals not None, object now=None):
        """The headers of each message; the same dict where the mapping changes nothing.

        A SignalError stands for a message that must not leave.
        """
        cdef list results = []
        cdef Moment moment = Moment(now)
        cdef Py_ssize_t i = 0, count = _count(message_headers, signals)
        while i < count:
            try:
                while i < count:
                    results.append(
                        self._apply(
                            checked_headers(PyList_GET_ITEM(message_headers, i)),
                            checked(PyList_GET_ITEM(signals, i)),
                            moment,
                        )
                    )
                    i += 1
            except SignalError as error:
                results.append(error.with_traceback(None))
                i += 1
        return results

    cdef dict _apply(self, dict message, Signal signal, Moment moment):
        cdef dict headers = signal.headers, result = message
        cdef object each, name, value
        cdef Entry entry
        for name, value in message.items():
            if type(name) is not str or type(value) is not str:
                raise TypeError(f"expected a header's name and value as texts, found {name!r}")
            if not _is_clean(<str>name) or not _is_clean(<str>value):
                raise _unclean(name)
        for each in self._entries:
            entry = <Entry>each
            value = entry.value(headers, signal, moment)
            if value is None:
                continue
            if result is message:
                result = PyDict_Copy(message)
            if message and not PyDict_Contains(message, entry.name):
                _remove(result, message, entry.name)
            PyDict_SetItem(result, entry.name, value)
        return result


@cython.final
@cython.internal
cdef class Entry:
    """One header of a mapping."""

    cdef str name
    cdef Template template
    cdef Check check
    cdef object function        # of Check.FUNCTION and for wording errors
    cdef bint trusted           # the operator wrote the whole value

    def __cinit__(self, str name, Template template, bint inbound):
        self.name = name
        self.template = template
        self.trusted = inbound and template.constant is not None
        self.function = _CHECKS.get(name) if inbound else None
        if self.function is None:
            self.check = NONE
        elif name in _known.BOOLEANS:
            self.check = BOOLEAN
        elif name == "correlation-id":
            self.check = NON_EMPTY
        else:
            self.check = FUNCTION

    cdef object value(self, dict headers, Signal signal, Moment moment):
        """The header's value, None for no header; raises SignalError if it is invalid."""
        cdef object value = self.template.first_of(headers, signal, moment)
        if value is None:
            return None
        if not self.trusted and not _is_clean(<str>value):
            raise _unclean(self.name)
        # The quick answers are those of the function, which also words the error.
        if self.check == FUNCTION or (
            self.check == BOOLEAN and value != "true" and value != "false"
        ) or self.check == NON_EMPTY and not _starts_visible(<str>value):
            return self.function(self.name, value)
        return value


cdef bint _is_clean(str text) noexcept:
    """Whether there is no CR, LF or NUL in it."""
    cdef Py_ssize_t i
    cdef int kind = PyUnicode_KIND(text)
    cdef void *data = PyUnicode_DATA(text)
    cdef Py_UCS4 c
    if kind == 1:
        for i in range(PyUnicode_GET_LENGTH(text)):
            c = (<const unsigned char*>data)[i]
            if c <= 13 and (c == 13 or c == 10 or c == 0):
                return False
        return True
    for i in range(PyUnicode_GET_LENGTH(text)):
        c = PyUnicode_READ(kind, data, i)
        if c <= 13 and (c == 13 or c == 10 or c == 0):
            return False
    return True


cdef object _unclean(object name):
    return SignalError(
        "header.invalid",
        f"the header {name!r} has a line break or NUL in its name or value",
        description="fn:url-encode() makes a header of any text",
    )


cdef inline bint _starts_visible(str text) noexcept:
    return (
        PyUnicode_GET_LENGTH(text) > 0
        and u"!" <= PyUnicode_READ(PyUnicode_KIND(text), PyUnicode_DATA(text), 0) <= u"~"
    )


cdef object _remove(dict result, dict message, str name):
    """Take a header out of *result* that differs from *name* in case alone."""
    cdef object key
    cdef Py_ssize_t length = PyUnicode_GET_LENGTH(name)
    for key in message:
        if PyUnicode_GET_LENGTH(<str>key) == length and same_name(<str>key, name, length):
            result.pop(key, None)


cdef Py_ssize_t _count(list headers, list signals) except -1:
    if PyList_GET_SIZE(signals) != PyList_GET_SIZE(headers):
        raise ValueError(f"{len(headers)} messages and {len(signals)} signals")
    return PyList_GET_SIZE(headers)
