"""Wildcard patterns: ``*`` is any text, ``?`` any character, neither is a line break.

Compiled once and matched from left to right, never back: each piece between two stars is
searched in linear time, so no text makes a pattern run for long. Taking the first place
where a piece fits is enough, although ``*`` stops at line breaks: a later place could only
help if the piece held a line break where its own start, shifted, holds none.
"""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.tuple cimport PyTuple_GET_ITEM, PyTuple_GET_SIZE
from cpython.unicode cimport (
    PyUnicode_DATA, PyUnicode_Find, PyUnicode_KIND, PyUnicode_New, PyUnicode_READ,
    PyUnicode_Tailmatch, PyUnicode_WRITE,
)
from libc.stdint cimport uint16_t, uint64_t
from libc.string cimport memset

import array
import re

cdef extern from "Python.h":
    Py_UCS4 PyUnicode_MAX_CHAR_VALUE(object text)

cdef enum:
    MAX_WORDS = 1024        # 65,536 characters of one piece; filters allow far fewer
    ROW_ANY = 0             # a character that no literal is: fits "?" only
    ROW_BREAK = 1           # a line break that no literal is: fits nothing

cdef str BREAKS = "\n\r\x85\u2028\u2029"


@cython.final
cdef class Wildcard:
    """``Wildcard("a*b?", True).matches(texts)``; the second argument folds ASCII case."""

    def __cinit__(self, str pattern not None, bint ignore_case=False):
        self.pattern = pattern
        self.ignore_case = ignore_case
        folded = _folded(pattern) if ignore_case else pattern
        self._pieces = tuple([Piece(text) for text in re.sub(r"\*+", "*", folded).split("*")])
        self._shortest = sum([(<Piece>piece).length for piece in self._pieces])

    def matches(self, list texts not None):
        """Whether each of *texts* fits the whole pattern."""
        for text in texts:
            if not isinstance(text, str):
                raise TypeError(f"expected a text, found {text!r}")
        return [self.test(<str>text) for text in texts]

    cdef bint test(self, str text) except -1:
        cdef Py_ssize_t count = PyTuple_GET_SIZE(self._pieces)
        cdef Py_ssize_t length = len(text)
        cdef Py_ssize_t at, end, found, i
        cdef Piece piece = <Piece>PyTuple_GET_ITEM(self._pieces, 0)
        if length < self._shortest:
            return False
        if self.ignore_case:
            text = _folded(text)
        if count == 1:
            return length == piece.length and piece.at(text, 0)
        if not piece.at(text, 0):
            return False
        at = piece.length
        piece = <Piece>PyTuple_GET_ITEM(self._pieces, count - 1)
        end = length - piece.length
        if not piece.at(text, end):
            return False
        for i in range(1, count - 1):
            piece = <Piece>PyTuple_GET_ITEM(self._pieces, i)
            found = piece.find(text, at, end)
            if found < 0 or _has_break(text, at, found):
                return False
            at = found + piece.length
        return at <= end and not _has_break(text, at, end)


@cython.final
cdef class Piece:
    """What stands between two stars. Without ``?`` it is found by CPython's own search, with
    ``?`` by one bit a character, shifted along (Shift-And).
    """

    def __cinit__(self, str text not None):
        self.text = text
        self.length = len(text)
        self.has_any = "?" in text
        self.words = <int>((self.length + 63) // 64)
        if self.words > MAX_WORDS:
            raise ValueError(f"a pattern of {self.length} characters is too long")
        if self.has_any:
            self._compile()

    cdef object _compile(self):
        """Fill the tables: for each class of characters, where in the text it fits."""
        literals = sorted(set(self.text) - {"?"})
        rows = {character: row for row, character in enumerate(literals, 2)}
        masks = [0] * (2 + len(literals))
        for place, character in enumerate(self.text):
            if character != "?":
                masks[rows[character]] |= 1 << place
                continue
            masks[ROW_ANY] |= 1 << place
            for literal, row in rows.items():
                if literal not in BREAKS:
                    masks[row] |= 1 << place
        self._masks = b"".join([mask.to_bytes(8 * self.words, "little") for mask in masks])
        first = [rows.get(chr(code), ROW_BREAK if chr(code) in BREAKS else ROW_ANY)
                 for code in range(128)]
        others = [character for character in literals if character >= "\x80"]
        self._ascii = array.array("H", first).tobytes()
        self._others = array.array("I", map(ord, others)).tobytes()
        self._other_rows = array.array("H", [rows[each] for each in others]).tobytes()

    cdef bint at(self, str text, Py_ssize_t start) except -1:
        """Whether the piece fits at *start*, which leaves room for it."""
        cdef Py_ssize_t i
        cdef Py_UCS4 wanted, found
        if not self.has_any:
            return PyUnicode_Tailmatch(text, self.text, start, start + self.length, -1) != 0
        for i in range(self.length):
            wanted = PyUnicode_READ(PyUnicode_KIND(self.text), PyUnicode_DATA(self.text), i)
            found = PyUnicode_READ(PyUnicode_KIND(text), PyUnicode_DATA(text), start + i)
            if _is_break(found) if wanted == u"?" else wanted != found:
                return False
        return True

    cdef Py_ssize_t find(self, str text, Py_ssize_t start, Py_ssize_t end) except -2:
        """The first place in ``[start, end)`` where the piece fits, or -1."""
        if not self.has_any:
            return PyUnicode_Find(text, self.text, start, end, 1)
        return self._scan(text, start, end)

    cdef Py_ssize_t _scan(self, str text, Py_ssize_t start, Py_ssize_t end) noexcept:
        cdef uint64_t state[MAX_WORDS]
        cdef const uint64_t *masks = <const uint64_t*>PyBytes_AS_STRING(self._masks)
        cdef const uint64_t *mask
        cdef uint64_t last = (<uint64_t>1) << ((self.length - 1) & 63)
        cdef uint64_t carry, shifted
        cdef int kind = PyUnicode_KIND(text)
        cdef const void *data = PyUnicode_DATA(text)
        cdef Py_ssize_t i
        cdef int word
        memset(state, 0, self.words * sizeof(uint64_t))
        for i in range(start, end):
            mask = masks + self._row(PyUnicode_READ(kind, <void*>data, i)) * self.words
            carry = 1
            for word in range(self.words):
                shifted = (state[word] << 1) | carry
                carry = state[word] >> 63
                state[word] = shifted & mask[word]
            if state[self.words - 1] & last:
                return i + 1 - self.length
        return -1

    cdef Py_ssize_t _row(self, Py_UCS4 character) noexcept:
        cdef const unsigned int *others
        cdef Py_ssize_t low = 0, high, middle
        if character < 128:
            return (<const uint16_t*>PyBytes_AS_STRING(self._ascii))[character]
        others = <const unsigned int*>PyBytes_AS_STRING(self._others)
        high = PyBytes_GET_SIZE(self._others) // sizeof(unsigned int)
        while low < high:
            middle = (low + high) // 2
            if others[middle] < character:
                low = middle + 1
            else:
                high = middle
        if low * <Py_ssize_t>sizeof(unsigned int) < PyBytes_GET_SIZE(self._others) and (
            others[low] == character
        ):
            return (<const uint16_t*>PyBytes_AS_STRING(self._other_rows))[low]
        return ROW_BREAK if _is_break(character) else ROW_ANY


cdef inline bint _is_break(Py_UCS4 character) noexcept:
    return (
        character == 0x0A or character == 0x0D or character == 0x85
        or character == 0x2028 or character == 0x2029
    )


cdef bint _has_break(str text, Py_ssize_t start, Py_ssize_t end) noexcept:
    cdef int kind = PyUnicode_KIND(text)
    cdef void *data = PyUnicode_DATA(text)
    cdef Py_ssize_t i
    for i in range(start, end):
        if _is_break(PyUnicode_READ(kind, data, i)):
            return True
    return False


cdef str _folded(str text):
    """*text* with A-Z as a-z and nothing else changed."""
    cdef str result
    cdef Py_ssize_t i
    cdef Py_UCS4 character
    if text.isascii():
        return text.lower()
    result = PyUnicode_New(len(text), PyUnicode_MAX_CHAR_VALUE(text))
    for i in range(len(text)):
        character = PyUnicode_READ(PyUnicode_KIND(text), PyUnicode_DATA(text), i)
        if 65 <= character <= 90:
            character = <Py_UCS4>(<int>character + 32)
        PyUnicode_WRITE(PyUnicode_KIND(result), PyUnicode_DATA(result), i, character)
    return result
