"""Literals of a filter, and how a JSON scalar stands to one.

    both numbers          by value, exactly
    number and text       by value where the text spells a number, else as texts
    both texts            by UTF-16 code unit, as Java orders them
    both booleans         false before true
    null                  equals null, is ordered with nothing
    else                  as texts: true is "true", 7 is "7", 1e10 is "1.0E+10"
"""

cimport cython
from cpython.object cimport Py_EQ, Py_LT, PyObject_RichCompareBool
from cpython.unicode cimport (
    PyUnicode_Compare, PyUnicode_DATA, PyUnicode_KIND, PyUnicode_READ,
)

import re
from decimal import Decimal

from streamproc.lang.timeexpr import TimePlan as _TimePlan

cdef enum:
    SHORT = 18                  # digits that always fit 64 bits

cdef long long EXACT = 1LL << 53    # integers up to here are doubles without loss

# What Java's BigDecimal reads; possessive, so that no text takes more than one pass.
cdef object _NUMBER = re.compile(
    r"[+-]?(?:[0-9]++(?:\.([0-9]*+))?|\.([0-9]++))(?:[eE]([+-]?[0-9]{1,10}))?"
)
cdef object _SCALES = range(-(2**31), 2**31)


@cython.final
cdef class Constant:

    def __cinit__(self, value):
        self.time = value if isinstance(value, _TimePlan) else None
        self.hold("" if self.time is not None else value)

    cdef object hold(self, object value):
        self.value = value
        self.text = text_of(value)
        self.number = None
        if value is None:
            self.kind = IS_NULL
        elif isinstance(value, bool):
            self.kind = IS_TRUTH
            self.truth = value
        elif isinstance(value, int):
            self.kind = IS_WHOLE
            self.whole = value
            self.number = value
        elif isinstance(value, float):
            self.kind = IS_REAL
            self.real = value
            self.number = decimal_of(value)
        else:
            self.kind = IS_TEXT
            self.number = number_of(value)

    cdef object set_clock(self, object now):
        """A time literal is a text that changes from batch to batch."""
        if self.time is not None:
            self.hold(self.time.resolve(now))

    cdef Order order(self, object value) except? UNORDERED:
        """How *value* stands to the constant; UNORDERED where it does not, as NaN."""
        if PyUnicode_CheckExact(value):
            return self._order_text(<str>value)
        if PyLong_CheckExact(value):
            return self._order_whole(value)
        if PyFloat_CheckExact(value):
            return self._order_real(value)
        if value is None:
            return EQUAL if self.kind == IS_NULL else UNORDERED
        if self.kind == IS_NULL or not isinstance(value, bool):
            return UNORDERED
        if self.kind == IS_TRUTH:
            return <Order>(<int>(value is True) - <int>self.truth)
        return _order_texts(text_of(value), self.text)

    cdef Order _order_text(self, str value) except? UNORDERED:
        cdef object number
        if self.kind == IS_NULL:
            return UNORDERED
        if self.kind == IS_WHOLE or self.kind == IS_REAL:
            number = number_of(value)
            if number is not None:
                return _order_objects(number, self.number)
        return _order_texts(value, self.text)

    cdef Order _order_whole(self, object value) except? UNORDERED:
        cdef int overflow = 0
        cdef long long whole
        if self.kind == IS_WHOLE:
            whole = PyLong_AsLongLongAndOverflow(value, &overflow)
            if overflow:
                return LESS if overflow < 0 else GREATER
            return <Order>((whole > self.whole) - (whole < self.whole))
        if self.kind == IS_REAL:
            whole = PyLong_AsLongLongAndOverflow(value, &overflow)
            if not overflow and -EXACT <= whole <= EXACT:
                return _order_doubles(<double>whole, self.real)
            return _order_objects(value, self.value)
        if self.kind == IS_NULL:
            return UNORDERED
        if self.number is not None:
            return _order_objects(value, self.number)
        return _order_texts(text_of(value), self.text)

    cdef Order _order_real(self, object value) except? UNORDERED:
        cdef double real = PyFloat_AS_DOUBLE(value)
        if real != real or self.kind == IS_NULL:
            return UNORDERED
        if self.kind == IS_REAL:
            return _order_doubles(real, self.real)
        if self.kind == IS_WHOLE:
            if -EXACT <= self.whole <= EXACT:
                return _order_doubles(real, <double>self.whole)
            return _order_objects(value, self.value)
        if self.number is not None:
            return _order_objects(decimal_of(value), self.number)
        return _order_texts(text_of(value), self.text)


cdef inline Order _order_doubles(double left, double right) noexcept:
    return <Order>((left > right) - (left < right))


cdef Order _order_objects(object left, object right) except? UNORDERED:
    """Any two that Python orders."""
    if PyObject_RichCompareBool(left, right, Py_LT):
        return LESS
    return EQUAL if PyObject_RichCompareBool(left, right, Py_EQ) else GREATER


cdef Order _order_texts(str left, str right) except? UNORDERED:
    """By UTF-16 code unit. Code points give the same order unless one is beyond 16 bits."""
    cdef int order
    if PyUnicode_KIND(left) < 4 and PyUnicode_KIND(right) < 4:
        order = PyUnicode_Compare(left, right)
        return <Order>((order > 0) - (order < 0))
    return _order_objects(
        left.encode("utf-16-be", "surrogatepass"), right.encode("utf-16-be", "surrogatepass")
    )


cdef str text_of(object value):
    """The text form of a scalar; None for null and for what is no scalar."""
    cdef double real
    if PyUnicode_CheckExact(value):
        return <str>value
    if value is True or value is False:
        return "true" if value else "false"
    if PyLong_CheckExact(value):
        return str(value)
    if PyFloat_CheckExact(value):
        real = PyFloat_AS_DOUBLE(value)
        if 0.001 <= real < 1e7 or -1e7 < real <= -0.001:
            return repr(value)
        return _scientific(value)
    return None


cdef str _scientific(object value):
    """As Java writes the BigDecimal of a double: 0.0, 1.0E+10, 1.5E-7, 0.00010."""
    if value == 0:
        return "0.0"
    if value != value or value in (float("inf"), float("-inf")):
        return "NaN" if value != value else "Infinity" if value > 0 else "-Infinity"
    sign, digits, exponent = Decimal(repr(value)).as_tuple()
    spelt = "".join(map(str, digits))
    exponent += len(spelt) - 1
    spelt = spelt.rstrip("0") or "0"
    return str(Decimal(f"{'-' if sign else ''}{spelt[0]}.{spelt[1:] or '0'}E{exponent}"))


cdef object number_of(str text):
    """The number that *text* spells, as int or Decimal; None if it spells none."""
    cdef Py_ssize_t length = len(text), i
    cdef long long whole = 0
    cdef Py_UCS4 character
    cdef bint negative = False
    if length == 0:
        return None
    character = PyUnicode_READ(PyUnicode_KIND(text), PyUnicode_DATA(text), 0)
    if not (48 <= character <= 57 or character == u"-" or character == u"+" or character == u"."):
        return None
    i = 0
    if character == u"-" or character == u"+":
        negative = character == u"-"
        i = 1
    if i < length <= SHORT:
        while i < length:
            character = PyUnicode_READ(PyUnicode_KIND(text), PyUnicode_DATA(text), i)
            if not 48 <= character <= 57:
                break
            whole = whole * 10 + (<int>character - 48)
            i += 1
        else:
            return -whole if negative else whole
    found = _NUMBER.fullmatch(text)
    if found is None:
        return None
    if len(found[1] or found[2] or "") - int(found[3] or 0) not in _SCALES:
        return None
    return Decimal(text)


cdef object decimal_of(object number):
    """A number as it is compared with a text: a double is what it is written as."""
    return Decimal(repr(number)) if isinstance(number, float) else number
