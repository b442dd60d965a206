"""C-level shape of a watermark: which messages of one ordered origin are done."""

from cpython.array cimport array


cdef class Watermark:
    cdef array _offsets             # ring: what was added, ascending; 'q'
    cdef bytearray _done            # ring: 1 where that offset is done
    cdef Py_ssize_t _mask           # ring size - 1; the size is a power of two
    cdef Py_ssize_t _head           # of the oldest in the ring; grows for ever, like _tail
    cdef Py_ssize_t _tail           # one past the newest
    cdef Py_ssize_t _next           # where the last look-up ended, plus one: a guess
    cdef Py_ssize_t _limit
    cdef long long _last            # newest offset ever added, or first - 1
    cdef readonly long long position    # every offset below it that was added is done
    cdef readonly Py_ssize_t open       # added and not done

    cdef Py_ssize_t _find(self, long long offset) noexcept
    cdef int _grow(self) except -1
