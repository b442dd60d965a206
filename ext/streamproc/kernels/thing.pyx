"""What signals say of their things: the partial thing that filters and placeholders see.

An event gives its value at its path, a deletion the bare thing, any other signal nothing;
what was enriched lies beneath. Kept in ``signal.thing``: whoever sets ``signal.extra``
later sets ``signal.thing`` to None. Values of the signal are shared, never changed.
"""

from cpython.dict cimport PyDict_Check, PyDict_Copy
from cpython.list cimport PyList_GET_ITEM, PyList_GET_SIZE
from cpython.object cimport PyObject

from streamproc.kernels.signal cimport Signal, Topic

from streamproc.kernels.signal import ABSENT as _ABSENT

cdef object ABSENT = _ABSENT

cdef extern from "Python.h":
    PyObject* PyDict_GetItemWithError(object document, object key) except? NULL

cdef enum:
    # JSON nested deeper was refused by the parser; here it bounds the C stack.
    MAX_DEPTH = 1100


def thing_of(list signals not None):
    """Fill ``signal.thing`` of each signal that has none yet."""
    cdef Py_ssize_t i
    for i in range(PyList_GET_SIZE(signals)):
        thing_of_signal(checked(PyList_GET_ITEM(signals, i)))


cdef dict thing_of_signal(Signal signal):
    cdef Topic topic = signal.topic
    cdef dict thing
    if signal.thing is not None:
        return signal.thing
    if topic is not None and topic.criterion == "events" and topic.group == "things":
        thing = _thing_of_event(signal, topic)
        if signal.extra:
            thing = _over(thing, signal.extra, 0)
    else:
        thing = PyDict_Copy(signal.extra) if signal.extra is not None else {}
    signal.thing = thing
    return thing


cdef dict _thing_of_event(Signal signal, Topic topic):
    cdef dict thing
    cdef object value = signal.value
    if value is ABSENT or topic.action == "deleted":
        thing = {}
    elif topic.action == "merged":
        thing = _placed(signal.path, {} if value is None else _without_nulls(value, 0))
    else:
        thing = _placed(signal.path, value)
    if signal.entity_id is not None:
        thing["thingId"] = signal.entity_id
    thing["_namespace"] = topic.namespace
    if signal.revision is not None:
        thing["_revision"] = signal.revision
    if signal.timestamp is not None:
        thing["_modified"] = signal.timestamp
    return thing


cdef dict _placed(str path, object value):
    """A new thing with *value* at *path*; nothing where the path is no pointer to a field."""
    cdef list keys
    cdef Py_ssize_t last, i
    cdef object key
    if path == "/" or not path:
        return PyDict_Copy(value) if PyDict_Check(value) else {}
    keys = path.split("/")
    last = PyList_GET_SIZE(keys) - 1
    if not (<str>PyList_GET_ITEM(keys, last)):    # one slash may follow the last key
        last -= 1
    i = 0 if <str>PyList_GET_ITEM(keys, 0) else 1  # and one comes before the first
    if "//" in path or last < i:
        return {}
    while last >= i:
        key = <object>PyList_GET_ITEM(keys, last)
        if "~" in <str>key:
            key = (<str>key).replace("~0", "~")
        value = {key: value}
        last -= 1
    return value


cdef object _without_nulls(object value, int depth):
    """*value* without the fields that are null, at any depth but not inside arrays.

    The same object where there is none.
    """
    cdef dict result = None
    cdef object key, field, kept
    if not PyDict_Check(value) or depth > MAX_DEPTH:
        return value
    for key, field in (<dict>value).items():
        if field is None:
            if result is None:
                result = PyDict_Copy(value)
            del result[key]
        elif PyDict_Check(field):
            kept = _without_nulls(field, depth + 1)
            if kept is not field:
                if result is None:
                    result = PyDict_Copy(value)
                result[key] = kept
    return value if result is None else result


cdef dict _over(dict upper, dict lower, int depth):
    """*lower* with *upper* laid over it, object by object. Neither is changed."""
    cdef dict result = PyDict_Copy(lower)
    cdef object key, value
    cdef PyObject *below        # borrowed from lower
    for key, value in upper.items():
        if PyDict_Check(value) and depth < MAX_DEPTH:
            below = PyDict_GetItemWithError(lower, key)
            if below is not NULL and PyDict_Check(<object>below):
                value = _over(<dict>value, <dict>below, depth + 1)
        result[key] = value
    return result
