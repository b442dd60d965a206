"""What is published to an AMQP 0.9.1 broker: all frames of a write in one buffer, and who waits.

A message is counted first and copied then, so a write is made with one allocation. Messages
are numbered as the broker numbers them, and kept until it has confirmed them.
"""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.dict cimport PyDict_GetItemWithError, PyDict_Next
from cpython.list cimport PyList_Append, PyList_GET_ITEM, PyList_GET_SIZE
from cpython.object cimport PyObject
from libc.string cimport memcpy

from streamproc.kernels.delivery cimport Delivery

cdef extern from "Python.h":
    const char *PyUnicode_AsUTF8AndSize(object text, Py_ssize_t *size) except NULL

cdef enum:
    FRAME_HEADER = 2
    FRAME_BODY = 3
    FRAME_END = 0xCE
    FRAME_BYTES = 8             # around a payload

    BASIC = 60
    CONTENT_TYPE = 1 << 15
    HEADERS = 1 << 13
    DELIVERY_MODE = 1 << 12
    CORRELATION_ID = 1 << 10
    MESSAGE_ID = 1 << 7
    PERSISTENT = 2

    MOST_MESSAGES = 512         # of one call of publish()
    SHORT = 255                 # bytes: names, keys, property values
    NUMBER_DIGITS = 12          # of a message id, behind its lead


@cython.final
cdef class Publisher:
    """Numbers what it publishes on one channel, as the broker does, and keeps it until taken.

    ``lead``: begins the message ids, which end with the number.
    """

    cdef readonly unsigned long long tag    # of the last message
    cdef readonly Py_ssize_t open           # messages that were not taken out
    cdef unsigned long long _oldest         # no message below it is here
    cdef list _ring                         # message number n is at n & mask, or None
    cdef Py_ssize_t _mask
    cdef unsigned int _channel
    cdef Py_ssize_t _frame_max
    cdef bytes _lead

    def __cinit__(self, unsigned int channel, Py_ssize_t frame_max, str lead not None):
        if frame_max < 64 or len(lead) > SHORT - NUMBER_DIGITS:
            raise ValueError("frames of at least 64 bytes, and a shorter lead")
        self._channel = channel
        self._frame_max = frame_max
        self._lead = lead.encode("ascii")
        self._oldest = 1
        self._mask = 1023
        self._ring = [None] * (self._mask + 1)

    def publish(self, list deliveries not None, dict methods not None, Py_ssize_t most_bytes):
        """Put together as many as come to *most_bytes*, the first ones, persistent.

        ``methods``: address -> the frame of its basic.publish. -> how many, their bytes, and a
        ValueError if the next cannot be written. It ends before an address without method.
        """
        cdef Py_ssize_t sizes[MOST_MESSAGES]
        cdef Py_ssize_t i, count = 0, total = 0, size
        cdef Delivery delivery
        cdef PyObject *found
        cdef object problem = None
        cdef bytes data
        cdef unsigned char *p
        for i in range(min(PyList_GET_SIZE(deliveries), MOST_MESSAGES)):
            if total >= most_bytes:
                break
            delivery = <Delivery?>PyList_GET_ITEM(deliveries, i)
            found = PyDict_GetItemWithError(methods, delivery.address)
            if found is NULL:
                break
            try:
                size = self._header_size(delivery.headers)
            except (ValueError, TypeError) as error:    # a header that is no text
                problem = ValueError(str(error))
                break
            if size + FRAME_BYTES > self._frame_max:
                problem = ValueError(
                    f"headers take {size} bytes, the broker's frames at most {self._frame_max}"
                )
                break
            sizes[i] = size
            total += len(<bytes?><object>found) + FRAME_BYTES + size
            total += self._body_size(PyBytes_GET_SIZE(delivery.payload))
            count += 1
        data = PyBytes_FromStringAndSize(NULL, total)
        p = <unsigned char *>PyBytes_AS_STRING(data)
        for i in range(count):
            delivery = <Delivery>PyList_GET_ITEM(deliveries, i)
            method = <bytes>PyDict_GetItemWithError(methods, delivery.address)
            self._keep(delivery)
            memcpy(p, PyBytes_AS_STRING(method), PyBytes_GET_SIZE(method))
            p += PyBytes_GET_SIZE(method)
            p = self._write_header(p, sizes[i], delivery)
            p = self._write_body(p, delivery.payload)
        if p - <unsigned char *>PyBytes_AS_STRING(data) != total:
            raise AssertionError("frames that are not as long as they were counted")
        return count, data, problem

    def confirm(self, unsigned long long tag, bint multiple):
        """Take out message *tag*, or with *multiple* all up to it (0: all). -> those it had."""
        cdef list taken = []
        cdef unsigned long long one
        if not multiple:
            self._take(tag, taken)
        else:
            if tag == 0 or tag > self.tag:
                tag = self.tag
            for one in range(self._oldest, tag + 1):
                self._take(one, taken)
        return taken

    @property
    def oldest(self):
        """Number of the first message that is here, or 0."""
        if self.open == 0:
            return 0
        while self._ring[self._oldest & self._mask] is None:
            self._oldest += 1
        return self._oldest

    cdef int _keep(self, Delivery delivery) except -1:
        cdef unsigned long long one
        cdef list ring
        cdef Py_ssize_t mask = self._mask
        if self.open == 0:
            self._oldest = self.tag + 1
        elif self.tag + 1 - <unsigned long long>self.oldest > <unsigned long long>mask:
            mask = 2 * mask + 1
            ring = [None] * (mask + 1)
            for one in range(self._oldest, self.tag + 1):
                ring[one & mask] = self._ring[one & self._mask]
            self._ring = ring
            self._mask = mask
        self.tag += 1
        self.open += 1
        self._ring[self.tag & mask] = delivery
        return 0

    cdef int _take(self, unsigned long long tag, list taken) except -1:
        if tag < self._oldest or tag > self.tag:
            return 0
        delivery = self._ring[tag & self._mask]
        if delivery is not None:
            self._ring[tag & self._mask] = None
            self.open -= 1
            PyList_Append(taken, delivery)
        if tag == self._oldest:
            self._oldest += 1
        return 0

    cdef Py_ssize_t _header_size(self, dict headers) except -1:
        """Bytes of the content header's payload. ValueError: a text is too long, or none."""
        cdef Py_ssize_t size = 2 + 2 + 8 + 2 + 1    # class, weight, body, flags, delivery mode
        cdef Py_ssize_t at = 0, length
        cdef PyObject *name
        cdef PyObject *value
        size += 1 + PyBytes_GET_SIZE(self._lead) + NUMBER_DIGITS
        if headers:
            size += 4
            while PyDict_Next(headers, &at, &name, &value):
                PyUnicode_AsUTF8AndSize(<object>name, &length)
                if length > SHORT:
                    raise _too_long("header name", length)
                size += 1 + length
                PyUnicode_AsUTF8AndSize(<object>value, &length)
                size += 1 + 4 + length
            size += _property_size("content-type", headers)
            size += _property_size("correlation-id", headers)
        return size

    cdef Py_ssize_t _body_size(self, Py_ssize_t size) noexcept:
        cdef Py_ssize_t room = self._frame_max - FRAME_BYTES
        return size + (size + room - 1) // room * FRAME_BYTES

    cdef unsigned char *_write_header(
        self, unsigned char *p, Py_ssize_t size, Delivery delivery
    ) except NULL:
        cdef dict headers = delivery.headers
        cdef unsigned int flags = DELIVERY_MODE | MESSAGE_ID
        cdef unsigned char *start
        cdef Py_ssize_t at = 0, length
        cdef PyObject *name
        cdef PyObject *value
        cdef PyObject *content_type = PyDict_GetItemWithError(headers, "content-type")
        cdef PyObject *correlation_id = PyDict_GetItemWithError(headers, "correlation-id")
        cdef const char *text
        if headers:
            flags |= HEADERS
        if content_type is not NULL:
            flags |= CONTENT_TYPE
        if correlation_id is not NULL:
            flags |= CORRELATION_ID
        p = _frame_start(p, FRAME_HEADER, self._channel, size)
        p = _put(p, BASIC, 2)
        p = _put(p, 0, 2)
        p = _put(p, PyBytes_GET_SIZE(delivery.payload), 8)
        p = _put(p, flags, 2)
        if content_type is not NULL:
            p = _put_text(p, <object>content_type, 1)
        if headers:
            start = p
            p += 4
            while PyDict_Next(headers, &at, &name, &value):
                p = _put_text(p, <object>name, 1)
                p[0] = c"S"
                p = _put_text(p + 1, <object>value, 4)
            _put(start, p - start - 4, 4)
        p = _put(p, PERSISTENT, 1)
        if correlation_id is not NULL:
            p = _put_text(p, <object>correlation_id, 1)
        length = PyBytes_GET_SIZE(self._lead)
        text = PyBytes_AS_STRING(self._lead)
        p = _put(p, length + NUMBER_DIGITS, 1)
        memcpy(p, text, length)
        p = _put_hex(p + length, self.tag)
        p[0] = FRAME_END
        return p + 1

    cdef unsigned char *_write_body(self, unsigned char *p, bytes payload) noexcept:
        cdef Py_ssize_t left = PyBytes_GET_SIZE(payload), size
        cdef const char *text = PyBytes_AS_STRING(payload)
        while left:
            size = min(left, self._frame_max - FRAME_BYTES)
            p = _frame_start(p, FRAME_BODY, self._channel, size)
            memcpy(p, text, size)
            p[size] = FRAME_END
            p += size + 1
            text += size
            left -= size
        return p


cdef object _too_long(str what, Py_ssize_t length):
    return ValueError(f"{what} has {length} bytes, at most {SHORT} are possible in AMQP")


cdef Py_ssize_t _property_size(str name, dict headers) except -1:
    """Bytes of a header that becomes a property as well."""
    cdef PyObject *value = PyDict_GetItemWithError(headers, name)
    cdef Py_ssize_t length
    if value is NULL:
        return 0
    PyUnicode_AsUTF8AndSize(<object>value, &length)
    if length > SHORT:
        raise _too_long(name, length)
    return 1 + length


cdef inline unsigned char *_put(
    unsigned char *p, unsigned long long value, int size
) noexcept:
    cdef int i
    for i in range(size):
        p[i] = <unsigned char>(value >> (8 * (size - 1 - i)))
    return p + size


cdef unsigned char *_put_text(unsigned char *p, object text, int size) except NULL:
    """*text* behind its length, which takes *size* bytes."""
    cdef Py_ssize_t length
    cdef const char *data = PyUnicode_AsUTF8AndSize(text, &length)
    p = _put(p, length, size)
    memcpy(p, data, length)
    return p + length


cdef inline unsigned char *_put_hex(unsigned char *p, unsigned long long value) noexcept:
    cdef int i
    cdef const char *digits = "0123456789abcdef"
    for i in range(NUMBER_DIGITS):
        p[i] = digits[(value >> (4 * (NUMBER_DIGITS - 1 - i))) & 15]
    return p + NUMBER_DIGITS


cdef inline unsigned char *_frame_start(
    unsigned char *p, unsigned int kind, unsigned int channel, Py_ssize_t size
) noexcept:
    p = _put(p, kind, 1)
    p = _put(p, channel, 2)
    return _put(p, size, 4)
