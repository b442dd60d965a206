"""C-level shape of a literal, and of what it is compared with."""


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
    cdef bint equals(self, object value) except -1
    cdef Order _order_text(self, str value) except? UNORDERED
    cdef Order _order_whole(self, object value) except? UNORDERED
    cdef Order _order_real(self, object value) except? UNORDERED


cdef str text_of(object value)
cdef object number_of(str text)
cdef object decimal_of(object number)
