"""The bytes of an HTTP request whose head is known, in one allocation. The reference is
``tests/reference/request.py``.

What a message brings is looked at once and copied then. Whatever is not plain is left to those
who take care (``connectors/http_push/request.py``): nothing is refused or mended here.
"""

cimport cython
from cpython.bytes cimport (
    PyBytes_AS_STRING,
    PyBytes_CheckExact,
    PyBytes_FromStringAndSize,
    PyBytes_GET_SIZE,
)
from cpython.dict cimport PyDict_Next
from cpython.object cimport PyObject
from cpython.unicode cimport PyUnicode_CheckExact, PyUnicode_DATA, PyUnicode_GET_LENGTH
from libc.string cimport memcpy

from streamproc.kernels.delivery cimport Delivery

cdef extern from "strings.h":
    int strncasecmp(const char *one, const char *other, size_t size) noexcept

cdef extern from "Python.h":
    bint PyUnicode_IS_COMPACT_ASCII(object text)
    PyObject *PyDict_GetItemWithError(object dictionary, object key) except? NULL

cdef enum:
    MOST_LINES = 48             # headers of a message; with more it is left to others
    LENGTH_BYTES = 18           # "\r\nContent-Length: "
    END_BYTES = 4               # "\r\n\r\n"
    MOST_DIGITS = 20
    TYPE_BYTES = 12             # "content-type"
    FIRST_PRINTABLE = 0x20
    PRINTABLES = 0x5F

cdef const char *_LENGTH = b"\r\nContent-Length: "
cdef const char *_END = b"\r\n\r\n"
cdef const char *_TYPE = b"content-type"

cdef struct Line:
    const char *start
    Py_ssize_t start_size
    const char *value
    Py_ssize_t value_size


@cython.final
cdef class RequestWriter:
    """``starts``: by a header's name as it is written, how its line begins. Names that are not in
    it need care; others may add to it. ``most_bytes``: of a head without Content-Length.
    ``untyped``: the header line, from its line break on, of a message that has no content type.
    ``join_bytes``: a smaller payload is copied behind its head.
    """

    cdef dict _starts
    cdef bytes _untyped
    cdef Py_ssize_t _most_bytes
    cdef Py_ssize_t _join_bytes

    def __cinit__(
        self,
        dict starts not None,
        bytes untyped not None,
        Py_ssize_t most_bytes,
        Py_ssize_t join_bytes,
    ):
        self._starts = starts
        self._untyped = untyped
        self._most_bytes = most_bytes
        self._join_bytes = join_bytes

    def write(self, bytes head not None, Delivery delivery not None):
        """*head*, the headers of the message, its length and itself: as one, or as head and
        payload. None: a name, a value, or how many there are, needs care.
        """
        cdef Line[MOST_LINES + 1] lines
        cdef Py_ssize_t count = 0, position = 0
        cdef Py_ssize_t size = PyBytes_GET_SIZE(head)
        cdef PyObject *name = NULL
        cdef PyObject *value = NULL
        cdef bint is_typed = False
        cdef dict headers = delivery.headers
        # No code of others runs while the borrowed are held: all of them are exactly str.
        while PyDict_Next(headers, &position, &name, &value):
            if count == MOST_LINES or not self._look(&lines[count], <object>name, <object>value):
                return None
            is_typed = is_typed or _is_type(<object>name)
            size += lines[count].start_size + lines[count].value_size
            count += 1
        if not is_typed:
            lines[count].start = PyBytes_AS_STRING(self._untyped)
            lines[count].start_size = PyBytes_GET_SIZE(self._untyped)
            lines[count].value_size = 0
            lines[count].value = lines[count].start
            size += lines[count].start_size
            count += 1
        if size > self._most_bytes:
            return None
        return self._put_together(head, lines, count, size, delivery.payload)

    cdef bint _look(self, Line *line, object name, object value) except -1:
        """Whether the header can go as it is."""
        if not (PyUnicode_CheckExact(name) and PyUnicode_CheckExact(value)):
            return False
        cdef PyObject *start = PyDict_GetItemWithError(self._starts, name)
        if start == NULL or not PyBytes_CheckExact(<object>start):
            return False
        if not PyUnicode_IS_COMPACT_ASCII(value):
            return False
        line.start = PyBytes_AS_STRING(<object>start)
        line.start_size = PyBytes_GET_SIZE(<object>start)
        line.value = <const char *>PyUnicode_DATA(value)
        line.value_size = PyUnicode_GET_LENGTH(value)
        return _is_printable(<const unsigned char *>line.value, line.value_size)

    cdef object _put_together(
        self, bytes head, const Line *lines, Py_ssize_t count, Py_ssize_t size, bytes payload
    ):
        cdef char[MOST_DIGITS] digits
        cdef Py_ssize_t payload_size = PyBytes_GET_SIZE(payload)
        cdef Py_ssize_t first = _decimal(digits, payload_size)
        cdef bint is_joined = payload_size < self._join_bytes
        size += LENGTH_BYTES + (MOST_DIGITS - first) + END_BYTES
        cdef bytes whole = PyBytes_FromStringAndSize(
            NULL, size + payload_size if is_joined else size
        )
        cdef char *at = PyBytes_AS_STRING(whole)
        cdef Py_ssize_t i
        at = _copy(at, PyBytes_AS_STRING(head), PyBytes_GET_SIZE(head))
        for i in range(count):
            at = _copy(at, lines[i].start, lines[i].start_size)
            at = _copy(at, lines[i].value, lines[i].value_size)
        at = _copy(at, _LENGTH, LENGTH_BYTES)
        at = _copy(at, &digits[first], MOST_DIGITS - first)
        at = _copy(at, _END, END_BYTES)
        if not is_joined:
            return whole, payload
        _copy(at, PyBytes_AS_STRING(payload), payload_size)
        return whole


cdef inline char *_copy(char *to, const char *text, Py_ssize_t size) noexcept:
    """-> where the next goes."""
    memcpy(to, text, <size_t>size)
    return to + size


cdef inline bint _is_type(object name) noexcept:
    """Whether it is that header's name, however it is written. A str; those sent are ASCII."""
    return (
        PyUnicode_GET_LENGTH(name) == TYPE_BYTES
        and PyUnicode_IS_COMPACT_ASCII(name)
        and strncasecmp(<const char *>PyUnicode_DATA(name), _TYPE, TYPE_BYTES) == 0
    )


cdef inline bint _is_printable(const unsigned char *text, Py_ssize_t size) noexcept:
    """Of ASCII: no control character. Without a branch, so that many are looked at together."""
    cdef unsigned char found = 0
    cdef Py_ssize_t i
    for i in range(size):
        found |= <unsigned char>(text[i] - FIRST_PRINTABLE) >= PRINTABLES
    return not found


cdef inline Py_ssize_t _decimal(char *digits, Py_ssize_t number) noexcept:
    """Write *number* to the end of *digits* -> where it begins."""
    cdef Py_ssize_t first = MOST_DIGITS
    while True:
        first -= 1
        digits[first] = <char>(48 + number % 10)  # "0"
        number //= 10
        if number == 0:
            return first
