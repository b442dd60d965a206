"""C-level shape of a literal, and of what it is compared with."""

from cpython.float cimport PyFloat_AS_DOUBLE, PyFloat_CheckExact
from cpython.long cimport PyLong_CheckExact
from cpython.unicode cimport PyUnicode_CheckExact

cdef extern from "Python.h":
    long long PyLong_AsLongLongAndOverflow(object number, int *overflow) except? -1


cdef enum Kind:
    IS_NULL
    IS_TEXT
    IS_WHOLE
    IS_REAL
    IS_TRUTH


# How a candidate stands to a literal.
cdef enum Order:
    LESS = -1
    EQUAL = 0
    GREATER = 1
    UNORDERED = 2


cdef class Constant:
    cdef Kind kind
    cdef object value           # as parsed
    cdef str text               # its text form
    cdef long long whole
    cdef double real
    cdef bint truth
    cdef object number          # int or Decimal; None for a text that spells no number
    cdef object time            # TimePlan, else None

    cdef object hold(self, object value)
    cdef object set_clock(self, object now)
    cdef Order order(self, object value) except? UNORDERED
    cdef Order _order_text(self, str value) except? UNORDERED
    cdef Order _order_whole(self, object value) except? UNORDERED
    cdef Order _order_real(self, object value) except? UNORDERED


cdef str text_of(object value)
cdef object number_of(str text)
cdef object decimal_of(object number)


# The usual pairs, here so that they are inlined where filters run; the others as a call.

cdef inline bint equals(Constant constant, object value) except -1:
    if constant.kind == IS_TEXT and PyUnicode_CheckExact(value):
        return <str>value == constant.text
    return order(constant, value) == EQUAL


cdef inline Order order(Constant constant, object value) except? UNORDERED:
    cdef int overflow = 0
    cdef long long whole
    cdef double real
    if constant.kind == IS_WHOLE and PyLong_CheckExact(value):
        whole = PyLong_AsLongLongAndOverflow(value, &overflow)
        if not overflow:
            return <Order>((whole > constant.whole) - (whole < constant.whole))
    elif constant.kind == IS_REAL and PyFloat_CheckExact(value):
        real = PyFloat_AS_DOUBLE(value)
        if real == real:
            return <Order>((real > constant.real) - (real < constant.real))
    return constant.order(value)
