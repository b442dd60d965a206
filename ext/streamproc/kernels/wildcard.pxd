"""C-level shape of the wildcard matcher."""

from libc.stdint cimport uint16_t, uint64_t


cdef class Piece:
    cdef str text               # literal characters and "?"
    cdef Py_ssize_t length
    cdef bint has_any           # some "?"
    cdef int words              # 64-bit words that hold one bit a character
    cdef bytes _masks           # a row of words for each class of characters
    cdef bytes _ascii           # code point -> row
    cdef bytes _others          # code points beyond ASCII in the text, ascending
    cdef bytes _other_rows      # and their rows

    cdef object _compile(self)
    cdef bint at(self, str text, Py_ssize_t start) except -1
    cdef Py_ssize_t find(self, str text, Py_ssize_t start, Py_ssize_t end) except -2
    cdef Py_ssize_t _scan(self, str text, Py_ssize_t start, Py_ssize_t end) noexcept
    cdef Py_ssize_t _row(self, Py_UCS4 character) noexcept


cdef class Wildcard:
    cdef readonly str pattern
    cdef readonly bint ignore_case
    cdef tuple _pieces          # what stands between the stars; the first or last may be empty
    cdef Py_ssize_t _shortest   # characters that a text must have

    cdef bint test(self, str text) except -1
