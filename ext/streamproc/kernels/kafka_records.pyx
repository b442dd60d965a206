"""From the records of a Kafka client to payloads, headers and offsets: what every message costs.

Records of a stream resemble each other. One whose header names are those of the record before
it begins as a copy of that one's headers, and only what differs is decoded and set.
"""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.unicode cimport PyUnicode_DecodeUTF8
from libc.string cimport memcmp

TRANSPORT = ("kafka.topic", "kafka.key", "kafka.timestamp")


def runs(list records not None):
    """``(topic, partition, start, end)`` of each run of *records* of one partition.

    Offsets ascend in a run: where a log begins anew, so does a run.
    """
    cdef list found = []
    cdef Py_ssize_t at, start = 0
    cdef object record
    cdef str topic = None, this_topic
    cdef long number = 0, this_number
    cdef long long last = 0, offset
    for at in range(len(records)):
        record = records[at]
        this_topic = record.topic()
        this_number = record.partition()
        offset = record.offset()
        if at == 0 or this_number != number or offset <= last or this_topic != topic:
            if at:
                found.append((topic, number, start, at))
            topic, number, start = this_topic, this_number, at
        last = offset
    if records:
        found.append((topic, number, start, len(records)))
    return found


@cython.final
cdef class RecordReader:
    """Used by one thread. ``ids`` gives a correlation id to each record that brings none."""

    cdef object _ids
    cdef str _topic         # what a record must share with the pattern: its topic,
    cdef bint _has_key      # whether it has a key,
    cdef list _names        # and its header names; None: there is no pattern
    cdef list _values       # of the pattern, as they came: bytes or None
    cdef dict _pattern      # headers of a record, kept from everybody
    cdef bint _makes_id     # it brought no correlation id
    cdef bint _has_ttl
    cdef long long _time_ms
    cdef str _time_text

    def __cinit__(self, object ids):
        self._ids = iter(ids)
        self._time_ms = -1
        self._time_text = "-1"

    def read(self, list records not None, str topic not None):
        """``(payloads, headers, offsets, has_ttl)`` of *records*, which are of *topic*.

        The last of several values of a name counts; no value is the empty text. What the
        transport says wins over what a sender wrote under the same name. ``has_ttl``: one of
        them may have expired.
        """
        cdef list payloads = [], every = [], offsets = [], fields
        cdef dict headers
        cdef object record, key, payload, found
        cdef bint has_ttl = False
        if topic != self._topic:
            self._topic = topic
            self._names = None
        for record in records:
            found = record.headers()
            fields = [] if found is None else found
            key = record.key()
            headers = self._like_the_pattern(fields, key is not None)
            if headers is None:
                headers = self._anew(fields, key is not None)
            if key is not None:
                headers["kafka.key"] = _text(key)
            headers["kafka.timestamp"] = self._time(record.timestamp()[1])
            if self._makes_id:
                headers["correlation-id"] = next(self._ids)
            has_ttl |= self._has_ttl
            every.append(headers)
            payload = record.value()
            payloads.append(b"" if payload is None else payload)
            offsets.append(record.offset())
        return payloads, every, offsets, has_ttl

    cdef dict _like_the_pattern(self, list fields, bint has_key):
        """Headers that share what they can; None if the record is of another form."""
        cdef Py_ssize_t at, count = len(fields)
        cdef list names = self._names
        cdef dict headers
        cdef object name, value
        if names is None or has_key != self._has_key or count != len(names):
            return None
        for at in range(count):
            name, value = <tuple?>fields[at]
            if <str?>name != <str>names[at]:
                return None
        headers = self._pattern.copy()
        for at in range(count):
            name, value = <tuple?>fields[at]
            if not _is_same(value, self._values[at]):
                headers[names[at]] = _text(value)
        return headers

    cdef dict _anew(self, list fields, bint has_key):
        """Headers from nothing; those of the next record may begin as a copy of them."""
        cdef dict headers = {}
        cdef str name
        cdef object value
        cdef bint is_plain = True
        for name, value in fields:
            headers[name] = _text(value)
            if name in TRANSPORT:
                is_plain = False
        is_plain = is_plain and len(headers) == len(fields)
        headers["kafka.topic"] = self._topic
        if has_key:
            headers["kafka.key"] = ""
        else:
            headers.pop("kafka.key", None)
        headers["kafka.timestamp"] = ""
        self._makes_id = "correlation-id" not in headers
        if self._makes_id:
            headers["correlation-id"] = ""
        self._has_ttl = "ttl" in headers
        self._has_key = has_key
        self._names = None
        if is_plain:
            self._names = [name for name, _ in fields]
            self._values = [value for _, value in fields]
            self._pattern = headers.copy()
        return headers

    cdef str _time(self, long long ms):
        if ms != self._time_ms:
            self._time_ms, self._time_text = ms, str(ms)
        return self._time_text


cdef str _text(object value):
    if value is None:
        return ""
    return PyUnicode_DecodeUTF8(
        PyBytes_AS_STRING(<bytes?>value), PyBytes_GET_SIZE(value), b"replace"
    )


cdef bint _is_same(object one, object other) except -1:
    """Whether both are the same bytes, or both None."""
    cdef Py_ssize_t size
    if one is None or other is None:
        return one is other
    size = PyBytes_GET_SIZE(<bytes?>one)
    if size != PyBytes_GET_SIZE(other):
        return False
    return memcmp(PyBytes_AS_STRING(one), PyBytes_AS_STRING(other), size) == 0
