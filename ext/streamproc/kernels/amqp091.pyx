"""What comes in from an AMQP 0.9.1 broker, taken apart: all frames of a read at once.

A message costs its payload and its headers, and no object of a frame. Nothing trusts a length
that was not compared with what is there. The reference is ``pamqp`` (tests/kernels).
"""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.dict cimport PyDict_SetItem
from cpython.list cimport PyList_Append, PyList_GET_ITEM, PyList_GET_SIZE

from streamproc.kernels.amqp091_fields cimport (
    Cursor,
    short_text,
    skip,
    table_texts,
    u8,
    u16,
    u64,
)

cdef enum:
    FRAME_METHOD = 1
    FRAME_HEADER = 2
    FRAME_BODY = 3
    FRAME_HEARTBEAT = 8
    FRAME_END = 0xCE
    FRAME_START_BYTES = 7       # type, channel, size
    FRAME_BYTES = 8             # around a payload

    BASIC = 60
    METHOD_RETURN = BASIC << 16 | 50
    METHOD_DELIVER = BASIC << 16 | 60
    METHOD_ACK = BASIC << 16 | 80
    METHOD_NACK = BASIC << 16 | 120

    CONTENT_TYPE = 1 << 15
    CONTENT_ENCODING = 1 << 14
    HEADERS = 1 << 13
    DELIVERY_MODE = 1 << 12
    PRIORITY = 1 << 11
    CORRELATION_ID = 1 << 10
    REPLY_TO = 1 << 9
    EXPIRATION = 1 << 8
    MESSAGE_ID = 1 << 7
    MORE_FLAGS = 1              # another word of flags follows

    MOST_CHANNELS = 4           # that this end may open, 0 included

DELIVER = METHOD_DELIVER
RETURN = METHOD_RETURN
ACK = METHOD_ACK
NACK = METHOD_NACK


@cython.final
cdef class Delivered:
    """Messages for consumers of one channel, as parallel lists. ``size``: bytes of payloads."""

    cdef readonly list payloads
    cdef readonly list headers      # str -> str each
    cdef readonly list tags
    cdef readonly list spoiled      # (tag, why): messages whose headers cannot be read
    cdef readonly Py_ssize_t size

    def __cinit__(self):
        self.payloads = []
        self.headers = []
        self.tags = []
        self.spoiled = []
        self.size = 0


@cython.final
@cython.internal
cdef class Content:
    """The message that comes in on a channel, as far as it is there."""

    cdef unsigned int method        # DELIVER or RETURN while one is under way, else 0
    cdef bint has_header
    cdef unsigned long long tag     # of a delivery
    cdef bytes arguments            # of a return
    cdef str message_id             # of a return
    cdef dict headers               # None: spoiled
    cdef object why                 # spoiled
    cdef unsigned long long left    # bytes of the body that have not come
    cdef list parts                 # of a body in several frames
    cdef Py_ssize_t kept            # bytes of them


@cython.final
cdef class Decoder:
    """Takes bytes in pieces of any size, and gives what they say, in order.

    ``most_body``: of a longer body, only one byte more than that is kept: enough for who reads
    it to see that it is too long.
    """

    cdef public Py_ssize_t frame_max    # bytes of the largest frame that is taken
    cdef Py_ssize_t _most_body
    cdef bytearray _partial             # of a frame that is not there yet
    cdef Py_ssize_t _wanted             # bytes of it before there is something to see
    cdef list _contents                 # by channel

    def __cinit__(self, Py_ssize_t frame_max, Py_ssize_t most_body):
        self.frame_max = frame_max
        self._most_body = most_body
        self._partial = bytearray()
        self._wanted = 0
        self._contents = [Content() for _ in range(MOST_CHANNELS)]

    def feed(self, bytes data not None):
        """-> (channel, method, content) for each frame or message that is complete.

        The content of a DELIVER is Delivered, for as many messages as follow each other; of a
        RETURN its arguments and message id; of ACK and NACK (tag, multiple); of any other
        method its arguments. ValueError: this is no AMQP, and nothing more can be read.
        """
        cdef list events = []
        cdef Py_ssize_t at = 0, end, size
        cdef const unsigned char *p
        if self._partial:
            self._partial += data
            if len(self._partial) < self._wanted:
                return events
            data = bytes(self._partial)
            self._partial.clear()
        p = <const unsigned char *>PyBytes_AS_STRING(data)
        end = PyBytes_GET_SIZE(data)
        while True:
            self._wanted = FRAME_START_BYTES
            if end - at < FRAME_START_BYTES:
                break
            size = <Py_ssize_t>(
                <unsigned int>p[at + 3] << 24 | p[at + 4] << 16 | p[at + 5] << 8 | p[at + 6]
            )
            if size > self.frame_max - FRAME_BYTES:
                raise ValueError(f"a frame of {size} bytes, at most {self.frame_max} were agreed")
            self._wanted = size + FRAME_BYTES
            if end - at < self._wanted:
                break
            if p[at + size + FRAME_START_BYTES] != FRAME_END:
                raise ValueError("a frame without its end")
            self._frame(events, p[at], p[at + 1] << 8 | p[at + 2], p + at + FRAME_START_BYTES, size)
            at += self._wanted
        if at < end:
            self._partial += data[at:]
        return events

    cdef int _frame(
        self,
        list events,
        unsigned int kind,
        unsigned int channel,
        const unsigned char *p,
        Py_ssize_t size,
    ) except -1:
        cdef Content content
        if kind == FRAME_HEARTBEAT:
            return 0
        if channel >= MOST_CHANNELS:
            raise ValueError(f"a frame of channel {channel}, which is not open")
        content = <Content>PyList_GET_ITEM(self._contents, channel)
        if kind == FRAME_METHOD:
            return self._method(events, channel, content, p, size)
        if kind == FRAME_HEADER:
            if content.method == 0 or content.has_header:
                raise ValueError("a content header where none belongs")
            self._header(content, p, size)
        elif kind == FRAME_BODY:
            if not content.has_header or <unsigned long long>size > content.left or size == 0:
                raise ValueError("a content body where none belongs")
            self._body(content, p, size)
        else:
            raise ValueError(f"a frame of type {kind}: is it AMQP 0.9.1?")
        if content.left == 0:
            self._complete(events, channel, content)
        return 0

    cdef int _method(
        self,
        list events,
        unsigned int channel,
        Content content,
        const unsigned char *p,
        Py_ssize_t size,
    ) except -1:
        cdef Cursor c
        cdef unsigned int method
        cdef unsigned long long tag
        c.at = p
        c.end = p + size
        if content.method != 0:
            raise ValueError("a method within a message")
        method = u16(&c) << 16
        method |= u16(&c)
        if method == METHOD_DELIVER:
            skip(&c, u8(&c))        # consumer tag
            content.tag = u64(&c)
            content.method = method
        elif method == METHOD_RETURN:
            content.arguments = PyBytes_FromStringAndSize(<const char *>c.at, c.end - c.at)
            content.method = method
        elif method == METHOD_ACK or method == METHOD_NACK:
            tag = u64(&c)
            PyList_Append(events, (channel, method, (tag, (u8(&c) & 1) != 0)))
        else:
            arguments = PyBytes_FromStringAndSize(<const char *>c.at, c.end - c.at)
            PyList_Append(events, (channel, method, arguments))
        return 0

    cdef int _header(self, Content content, const unsigned char *p, Py_ssize_t size) except -1:
        cdef Cursor c
        cdef unsigned int flags, more
        cdef dict headers = {}
        cdef object content_type = None, correlation_id = None, reply_to = None
        c.at = p
        c.end = p + size
        if u16(&c) != BASIC:
            raise ValueError("a content header of another class")
        u16(&c)                     # weight, unused
        content.left = u64(&c)
        content.has_header = True
        content.message_id = None
        content.why = None
        # What follows is its publisher's: the broker passes it on unread. One that cannot be
        # read costs its message, and not the link.
        try:
            flags = more = u16(&c)
            while more & MORE_FLAGS:
                more = u16(&c)
            if flags & CONTENT_TYPE:
                content_type = short_text(&c)
            if flags & CONTENT_ENCODING:
                skip(&c, u8(&c))
            if flags & HEADERS:
                headers = table_texts(&c)
            if flags & DELIVERY_MODE:
                skip(&c, 1)
            if flags & PRIORITY:
                skip(&c, 1)
            if flags & CORRELATION_ID:
                correlation_id = short_text(&c)
            if flags & REPLY_TO:
                reply_to = short_text(&c)
            if flags & EXPIRATION:
                skip(&c, u8(&c))
            if flags & MESSAGE_ID and content.method == METHOD_RETURN:
                content.message_id = short_text(&c)
        except ValueError as error:
            content.headers = None
            content.why = str(error)
            return 0
        # The reserved names win over headers of the same name.
        if reply_to is not None:
            PyDict_SetItem(headers, "reply-to", reply_to)
        if correlation_id is not None:
            PyDict_SetItem(headers, "correlation-id", correlation_id)
        if content_type is not None:
            PyDict_SetItem(headers, "content-type", content_type)
        if content.method == METHOD_DELIVER:
            PyDict_SetItem(headers, "messageId", str(content.tag))
        content.headers = headers
        return 0

    cdef int _body(self, Content content, const unsigned char *p, Py_ssize_t size) except -1:
        cdef Py_ssize_t room = self._most_body + 1 - content.kept
        content.left -= size
        if size > room:
            size = room
        if size > 0 and content.method == METHOD_DELIVER:
            if content.parts is None:
                content.parts = []
            PyList_Append(content.parts, PyBytes_FromStringAndSize(<const char *>p, size))
            content.kept += size
        return 0

    cdef int _complete(self, list events, unsigned int channel, Content content) except -1:
        cdef Delivered delivered
        cdef tuple last
        cdef list parts = content.parts
        cdef Py_ssize_t count = PyList_GET_SIZE(events)
        if content.method == METHOD_RETURN:
            PyList_Append(
                events, (channel, METHOD_RETURN, (content.arguments, content.message_id))
            )
        else:
            delivered = None
            if count:
                last = <tuple>PyList_GET_ITEM(events, count - 1)
                if <unsigned int>last[0] == channel and <unsigned int>last[1] == METHOD_DELIVER:
                    delivered = <Delivered>last[2]
            if delivered is None:
                delivered = Delivered()
                PyList_Append(events, (channel, METHOD_DELIVER, delivered))
            if content.headers is None:
                PyList_Append(delivered.spoiled, (content.tag, content.why))
            else:
                if parts is None:
                    body = b""
                else:
                    body = parts[0] if PyList_GET_SIZE(parts) == 1 else b"".join(parts)
                PyList_Append(delivered.payloads, body)
                PyList_Append(delivered.headers, content.headers)
                PyList_Append(delivered.tags, content.tag)
                delivered.size += content.kept
        content.method = 0
        content.has_header = False
        content.arguments = content.message_id = content.headers = content.parts = None
        content.kept = 0
        return 0
