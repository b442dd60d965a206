"""Ditto JSON envelopes to signals and back, a batch at a time.

orjson reads and writes the JSON; what is left is looking at a dozen members and at every
header, which costs several times the JSON in Python. The rules are those of
``tests/reference/envelope.py``; the sentences are in ``protocol/errors.py``.
"""

from cpython.dict cimport PyDict_GetItemWithError, PyDict_SetItem
from cpython.long cimport PyLong_CheckExact
from cpython.object cimport PyObject
from cpython.unicode cimport (
    PyUnicode_DATA,
    PyUnicode_GET_LENGTH,
    PyUnicode_KIND,
    PyUnicode_READ,
)

import json

from orjson import JSONDecodeError
from orjson import dumps as _dumps
from orjson import loads as _loads

from streamproc.errors import SignalError
from streamproc.kernels.signal import ABSENT as _ABSENT
from streamproc.kernels.signal cimport Signal, Topic
from streamproc.kernels.thing cimport checked
from streamproc.protocol import errors as _errors
from streamproc.protocol import headers as _known
from streamproc.protocol.topic import cached as _cached
from streamproc.protocol.topic import parse as _parse_topic

cdef extern from "Python.h":
    bint PyUnicode_IS_ASCII(object text)

cdef enum:
    # Levels of JSON in a message. orjson reads 1024 but writes 254, and the thing that an
    # event is turned into is deeper than its value by the segments of its path.
    DEPTH = 128
    SEGMENTS = 64

MAX_DEPTH = DEPTH
MAX_SEGMENTS = SEGMENTS

# What becomes of a header: looked up by its name, once a header.
cdef enum Fate:
    PLAIN = 0
    CHECK = 1  # inbound: a function looks at the value
    DROP = 2
    BOOLEAN = 3
    NON_EMPTY = 4  # inbound
    STRUCTURE = 5  # outbound: JSON text becomes JSON

cdef dict _CHECKS = dict(_known.CHECKED)
cdef dict _INBOUND = {name: CHECK for name in _CHECKS}
_INBOUND.update({name: BOOLEAN for name in _known.BOOLEANS if name in _CHECKS})
_INBOUND["correlation-id"] = NON_EMPTY
_INBOUND.update({name: DROP for name in _known.REFUSED})
cdef dict _OUTBOUND = {name: BOOLEAN for name in _known.BOOLEANS}
_OUTBOUND.update({name: STRUCTURE for name in _known.JSON | _known.NUMBERS})
_OUTBOUND.update({name: DROP for name in _known.WITHHELD})
cdef frozenset _DITTO_LABELS = _known.DITTO_LABELS


cdef inline int _fate(dict fates, object name) except -1:
    cdef PyObject *found = PyDict_GetItemWithError(fates, name)  # borrowed
    return PLAIN if found is NULL else <int><object>found


def parse(list payloads not None, Py_ssize_t max_header_bytes):
    """A signal for each payload, or the SignalError that its sender is to hear."""
    cdef list results = []
    cdef object payload
    for payload in payloads:
        try:
            if type(payload) is not bytes:
                raise TypeError(f"expected bytes, found {payload!r}")
            results.append(_parse(<bytes>payload, max_header_bytes))
        except SignalError as error:
            results.append(error.with_traceback(None))  # it would keep frames alive
    return results


def encode(list signals not None):
    """The envelope of each signal, as headers may be seen outside."""
    cdef list results = []
    cdef object signal
    for signal in signals:
        results.append(_encode(checked(<PyObject*>signal)))
    return results


cdef Signal _parse(bytes payload, Py_ssize_t max_header_bytes):
    cdef object loaded, text, status, headers
    cdef Py_ssize_t usual
    cdef dict envelope
    cdef Topic topic
    cdef str path
    cdef Signal signal
    if not payload:
        raise _errors.empty_payload()
    try:
        loaded = _loads(payload)
    except JSONDecodeError as error:
        raise _errors.not_json(str(error)) from None
    if type(loaded) is not dict:
        raise _errors.not_json("it is not an object")
    envelope = <dict>loaded
    # A level takes two brackets, so most messages are too short to be too deep.
    if len(payload) > 2 * DEPTH and _openings(payload) > DEPTH and _deeper(envelope, DEPTH):
        raise _errors.not_json(f"it is nested more than {DEPTH} levels deep")
    text = _required(envelope, "topic")
    path = _required(envelope, "path")
    topic = _cached(text)
    if topic is None:
        topic = _parse_topic(text)
    path = _pointer(path, topic)
    headers = _object(envelope, "headers")
    signal = Signal.__new__(Signal, topic, path, _headers(headers, max_header_bytes))
    signal.value = _member(envelope, "value", _ABSENT)
    usual = 2 + (headers is not None) + (signal.value is not _ABSENT)
    if len(envelope) > usual:
        signal.extra = _object(envelope, "extra")
        status = _number(envelope, "status")
        if status is not None and not 100 <= status <= 599:
            raise _errors.wrong_type("status", status, "an HTTP status")
        signal.status = status
        signal.revision = _number(envelope, "revision")
        signal.timestamp = _string(envelope, "timestamp")
        signal.fields = _string(envelope, "fields")
        signal.metadata = _object(envelope, "metadata")
    return signal


cdef object _member(dict envelope, str name, object default):
    cdef PyObject *found = PyDict_GetItemWithError(envelope, name)  # borrowed
    return default if found is NULL else <object>found


cdef str _required(dict envelope, str name):
    cdef object found = _member(envelope, name, None)
    if found is None:
        raise _errors.missing(name)
    if type(found) is not str:
        raise _errors.wrong_type(name, found, "a string")
    return <str>found


cdef object _string(dict envelope, str name):
    cdef object found = _member(envelope, name, None)
    if found is not None and type(found) is not str:
        raise _errors.wrong_type(name, found, "a string")
    return found


cdef object _number(dict envelope, str name):
    cdef object found = _member(envelope, name, None)
    if found is not None and not PyLong_CheckExact(found):
        raise _errors.wrong_type(name, found, "a whole number")
    return found


cdef object _object(dict envelope, str name):
    cdef object found = _member(envelope, name, None)
    if found is not None and type(found) is not dict:
        raise _errors.wrong_type(name, found, "an object")
    return found


cdef Py_ssize_t _openings(bytes payload) noexcept:
    """Opening brackets and braces, those inside strings too: their codes differ in one bit."""
    cdef const unsigned char *data = payload
    cdef Py_ssize_t i, count = 0
    for i in range(len(payload)):
        count += (data[i] | 0x20) == 0x7B
    return count


cdef bint _deeper(object value, int levels) except -1:
    """Whether *value* is nested more than *levels* deep. Recursion ends with the levels."""
    cdef object item
    if type(value) is dict:
        if levels == 0:
            return True
        for item in (<dict>value).values():
            if _deeper(item, levels - 1):
                return True
    elif type(value) is list:
        if levels == 0:
            return True
        for item in <list>value:
            if _deeper(item, levels - 1):
                return True
    return False


cdef str _pointer(str path, Topic topic):
    """The canonical spelling of *path*. Only a message's may have empty segments."""
    cdef Py_ssize_t length = PyUnicode_GET_LENGTH(path), i
    cdef int kind = PyUnicode_KIND(path), slashes = 0
    cdef void *data = PyUnicode_DATA(path)
    cdef bint empty = False, after = False  # an empty segment; the last character was a slash
    if length == 0:
        return "/"
    if PyUnicode_READ(kind, data, 0) != u"/":
        return _pointer("/" + path, topic)
    for i in range(length):
        if PyUnicode_READ(kind, data, i) == u"/":
            slashes += 1
            if after:
                empty = True
            after = True
        else:
            after = False
    if slashes > SEGMENTS:
        raise _errors.bad_pointer(path, f"it has more than {SEGMENTS} segments")
    if length == 1 or not after and not empty or topic.criterion == "messages":
        return path
    if empty:
        raise _errors.bad_pointer(path, "it has an empty segment")
    return path[:length - 1]


cdef dict _headers(dict found, Py_ssize_t limit, bint accepted=False):
    """Names in lower case, values as text. *found* itself: nobody else has it."""
    cdef Py_ssize_t size = 0
    cdef object key, value
    cdef int fate
    cdef str text
    if found is None:
        return {}
    for key, value in found.items():
        fate = _fate(_INBOUND, key)
        if not accepted and (fate == DROP or value is None or not _is_lower(<str>key)):
            return _headers(_accepted(found), limit, True)
        text = _text(value)
        # The quick answers are those of the function, which also words the error.
        if fate != PLAIN and not (
            fate == BOOLEAN and (text == "true" or text == "false")
            or fate == NON_EMPTY and _starts_visible(text)
        ):
            text = _CHECKS[key](key, text)
        if text is not value:
            PyDict_SetItem(found, key, text)  # of a key that is there: iteration may go on
        size += _bytes(<str>key) + _bytes(text)
    if size > limit:
        raise _errors.headers_too_large(size, limit)
    return found


cdef dict _accepted(dict found):
    """Those with a value that may come from outside, in lower case; a later one stands."""
    cdef dict result = {}
    cdef object key, value
    cdef str name
    for key, value in found.items():
        name = (<str>key).lower()
        if value is not None and _fate(_INBOUND, name) != DROP:
            result[name] = value
    return result


cdef inline bint _starts_visible(str text):
    return (
        PyUnicode_GET_LENGTH(text) > 0
        and u"!" <= PyUnicode_READ(PyUnicode_KIND(text), PyUnicode_DATA(text), 0) <= u"~"
    )


cdef inline str _text(object value):
    if type(value) is str:
        return <str>value
    if value is True:
        return "true"
    if value is False:
        return "false"
    return (<bytes>_dumps(value)).decode("utf-8")


cdef bint _is_lower(str name):
    """Whether *name* is ASCII without capitals."""
    cdef Py_ssize_t i
    cdef const unsigned char *data
    if not PyUnicode_IS_ASCII(name):
        return False
    data = <const unsigned char *>PyUnicode_DATA(name)
    for i in range(PyUnicode_GET_LENGTH(name)):
        if c"A" <= data[i] <= c"Z":
            return False
    return True


cdef Py_ssize_t _bytes(str text) except -1:
    if PyUnicode_IS_ASCII(text):
        return PyUnicode_GET_LENGTH(text)
    return len(text.encode("utf-8"))


cdef bytes _encode(Signal signal):
    cdef dict envelope
    if signal.topic is None:
        raise ValueError("a signal without a topic has no envelope")
    envelope = {
        "topic": signal.topic.full,
        "headers": _external(signal.headers),
        "path": signal.path,
    }
    if signal.value is not _ABSENT:
        envelope["value"] = signal.value
    if signal.extra is not None:
        envelope["extra"] = signal.extra
    if signal.status is not None:
        envelope["status"] = signal.status
    if signal.revision is not None:
        envelope["revision"] = signal.revision
    if signal.timestamp is not None:
        envelope["timestamp"] = signal.timestamp
    if signal.metadata is not None:
        envelope["metadata"] = signal.metadata
    if signal.fields is not None:
        envelope["fields"] = signal.fields
    try:
        return _dumps(envelope)
    except TypeError:
        # A lone surrogate in a header that was mapped from a transport, or a number beyond
        # 64 bits: JSON can say it, orjson will not.
        return json.dumps(envelope, separators=(",", ":")).encode()


cdef dict _external(dict headers):
    """The headers as JSON values; the dict itself where none needs a change."""
    cdef dict result = None
    cdef object name, text
    cdef int fate
    for name in headers:
        if _fate(_OUTBOUND, name) != PLAIN:
            break
    else:
        return headers
    result = {}
    for name, text in headers.items():
        fate = _fate(_OUTBOUND, name)
        if fate == PLAIN:
            PyDict_SetItem(result, name, text)
        elif fate == BOOLEAN:
            PyDict_SetItem(result, name, _boolean(<str?>text))
        elif fate == STRUCTURE:
            PyDict_SetItem(result, name, _structure(<str?>name, <str?>text))
    return result


cdef object _boolean(str text):
    if text == "true":
        return True
    if text == "false":
        return False
    return text


cdef object _structure(str name, str text):
    cdef object value, label
    try:
        value = _loads(text)
    except JSONDecodeError:
        return text
    if name == "requested-acks" and type(value) is list:
        return [label for label in <list>value if label not in _DITTO_LABELS]
    return value
