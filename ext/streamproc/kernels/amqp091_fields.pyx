"""AMQP 0.9.1 fields: tables of values of any type, read as they are, or as text for headers.

A table's text is made in one pass; only what is nested becomes objects on the way. Every read
is compared with what is there, and nesting has a limit: tables come from any publisher.
"""

from datetime import datetime, timezone
from decimal import Decimal

import orjson

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.dict cimport PyDict_SetItem
from cpython.unicode cimport PyUnicode_DecodeUTF8
from libc.string cimport memcpy

cdef enum:
    MOST_NESTED = 16            # tables and arrays within each other
    MILLISECONDS_ABOVE = 0xFFFFFFFF     # seconds beyond the year 2106: some publishers err


def decode_table(bytes data not None):
    """A table of typed values, with its length before it. -> it, and how many bytes it took."""
    cdef Cursor c
    c.at = <const unsigned char *>PyBytes_AS_STRING(data)
    c.end = c.at + PyBytes_GET_SIZE(data)
    found = _table(&c, 0)
    return found, c.at - <const unsigned char *>PyBytes_AS_STRING(data)


def decode_texts(bytes data not None):
    """The same, each value as text."""
    cdef Cursor c
    c.at = <const unsigned char *>PyBytes_AS_STRING(data)
    c.end = c.at + PyBytes_GET_SIZE(data)
    found = table_texts(&c)
    return found, c.at - <const unsigned char *>PyBytes_AS_STRING(data)


def text(object value):
    """What a header says that is a value of any type."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, bytes):
        return (<bytes>value).decode("utf-8", "replace")
    if value is None:
        return ""
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, (dict, list)):
        return orjson.dumps(value, default=text).decode()
    return str(value)


cdef object wrong(str what):
    return ValueError(f"{what} is longer than what it is in")


cdef inline int _need(Cursor *c, Py_ssize_t size) except -1:
    if c.end - c.at < size:
        raise wrong("a field")
    return 0


cdef unsigned int u8(Cursor *c) except? 0xDEAD:
    _need(c, 1)
    c.at += 1
    return c.at[-1]


cdef unsigned int u16(Cursor *c) except? 0xDEAD:
    _need(c, 2)
    c.at += 2
    return <unsigned int>c.at[-2] << 8 | c.at[-1]


cdef unsigned int u32(Cursor *c) except? 0xDEAD:
    _need(c, 4)
    c.at += 4
    return <unsigned int>c.at[-4] << 24 | c.at[-3] << 16 | c.at[-2] << 8 | c.at[-1]


cdef unsigned long long u64(Cursor *c) except? 0xDEAD:
    cdef unsigned long long high = u32(c)
    return high << 32 | u32(c)


cdef int skip(Cursor *c, Py_ssize_t size) except -1:
    _need(c, size)
    c.at += size
    return 0


cdef str short_text(Cursor *c):
    cdef Py_ssize_t size = u8(c)
    skip(c, size)
    return PyUnicode_DecodeUTF8(<const char *>c.at - size, size, "replace")


cdef str _long_text(Cursor *c):
    cdef Py_ssize_t size = u32(c)
    skip(c, size)
    return PyUnicode_DecodeUTF8(<const char *>c.at - size, size, "replace")


cdef int _inner(Cursor *c, Cursor *inner) except -1:
    """*inner* becomes what a length and so many bytes enclose; *c* goes on behind it."""
    cdef Py_ssize_t size = u32(c)
    inner.at = c.at
    skip(c, size)
    inner.end = c.at
    return 0


cdef dict table_texts(Cursor *c):
    """A table as text: what most tables hold, texts, without a way round."""
    cdef dict found = {}
    cdef Cursor inner
    cdef str name
    _inner(c, &inner)
    while inner.at < inner.end:
        name = short_text(&inner)
        if inner.at < inner.end and inner.at[0] == c"S":
            inner.at += 1
            PyDict_SetItem(found, name, _long_text(&inner))
        else:
            PyDict_SetItem(found, name, text(_value(&inner, 1)))
    return found


cdef dict _table(Cursor *c, int depth):
    cdef dict found = {}
    cdef Cursor inner
    cdef str name
    _inner(c, &inner)
    while inner.at < inner.end:
        name = short_text(&inner)
        PyDict_SetItem(found, name, _value(&inner, depth + 1))
    return found


cdef list _array(Cursor *c, int depth):
    cdef list found = []
    cdef Cursor inner
    _inner(c, &inner)
    while inner.at < inner.end:
        found.append(_value(&inner, depth + 1))
    return found


cdef object _value(Cursor *c, int depth):
    """A value behind the letter of its type."""
    cdef unsigned int kind
    cdef unsigned int bits
    cdef unsigned long long wide
    cdef Py_ssize_t size
    cdef float single
    cdef double double_
    if depth > MOST_NESTED:
        raise ValueError(f"tables within tables, more than {MOST_NESTED} deep")
    kind = u8(c)
    if kind == c"S":
        return _long_text(c)
    elif kind == c"t":
        return u8(c) != 0
    elif kind == c"b":
        return <signed char>u8(c)
    elif kind == c"B":
        return u8(c)
    elif kind == c"s":
        return <short>u16(c)
    elif kind == c"u":
        return u16(c)
    elif kind == c"I":
        return <int>u32(c)
    elif kind == c"i":
        return u32(c)
    elif kind == c"l" or kind == c"L":
        return <long long>u64(c)
    elif kind == c"f":
        bits = u32(c)
        memcpy(&single, &bits, 4)
        return single
    elif kind == c"d":
        wide = u64(c)
        memcpy(&double_, &wide, 8)
        return double_
    elif kind == c"D":
        bits = u8(c)
        return Decimal(<int>u32(c)).scaleb(-<int>bits)
    elif kind == c"T":
        return _moment(u64(c))
    elif kind == c"F":
        return _table(c, depth)
    elif kind == c"A":
        return _array(c, depth)
    elif kind == c"x":
        size = u32(c)
        skip(c, size)
        return PyBytes_FromStringAndSize(<const char *>c.at - size, size)
    elif kind == c"V" or kind == 0:
        return None
    raise ValueError(f"a value of the unknown type {kind}")


cdef object _moment(unsigned long long seconds):
    """A point in time, or the number where there is no such time."""
    try:
        if seconds > MILLISECONDS_ABOVE:
            return datetime.fromtimestamp(seconds / 1000.0, tz=timezone.utc)
        return datetime.fromtimestamp(seconds, tz=timezone.utc)
    except (ValueError, OverflowError, OSError):
        return seconds
