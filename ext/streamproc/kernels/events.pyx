"""Commands to events, a batch at a time: the everyday ones here, all others by the rule.

``twin/stateless.py`` has the rules and the words. Here are those commands about which the
rule has nothing to say but the event; it is asked about every other one.
"""

cimport cython
from cpython.dict cimport PyDict_Contains, PyDict_GetItemWithError
from cpython.object cimport PyObject

from streamproc.errors import SignalError
from streamproc.kernels.signal import ABSENT as _ABSENT
from streamproc.kernels.signal cimport Signal, Topic


cdef dict _PARTS = {
    "attributes": dict, "features": dict, "definition": str, "policyId": str, "thingId": str
}


def to_events(
    list signals not None,
    str now not None,
    object rule not None,
    object known not None,
    frozenset steering not None,
):
    """What becomes of each signal: an event or live signal, a SignalError, or None.

    A signal may become its event itself: only what comes back may be used from now on.

    ``rule(signal, now)`` decides what is not everyday, and raises SignalError.
    ``known(path)`` gives what is at a path of a thing, with ``types`` of its value (empty: any),
    or None. *steering*: headers that a command may have and its event has not.
    """
    cdef list results = []
    cdef object item
    cdef Signal signal, event
    cdef Last last = Last.__new__(Last)
    for item in signals:
        signal = <Signal?>item
        try:
            event = _everyday(signal, now, known, last, steering)
            results.append(rule(signal, now) if event is None else event)
        except SignalError as error:
            results.append(error.with_traceback(None))  # it would keep frames alive
    return results


@cython.final
@cython.internal
cdef class Last:
    """The path that was looked up last, and what is there: devices of a kind say the same."""
    cdef str path
    cdef object resource


cdef object _at(str path, object known, Last last):
    """What is at *path* of a thing, or None."""
    if last.path is None or path != last.path:
        last.resource = known(path)
        last.path = path
    return last.resource


cdef Signal _everyday(Signal signal, str now, object known, Last last, frozenset steering):
    """*signal*, which has become its event, or None: ask the rule.

    In place: an object and a dict more would cost a message a twentieth of all.
    """
    cdef Topic topic = signal.topic, about
    if topic is None or topic.event is None or signal.status is not None:
        return None
    about = topic.event
    if about.action == "modified":
        if not _suits(signal, about, known, last):
            return None
    elif about.action != "merged" or not _is_patch(signal, known, last):
        return None
    if not steering.isdisjoint(signal.headers):
        return None
    signal.headers["response-required"] = "false"
    if signal.subjects:
        signal.headers["ditto-originator"] = signal.subjects[0]
    signal.topic = about
    signal.entity_id = about.entity_id
    signal.timestamp = now
    # What only commands may say, and what was derived from the command.
    signal.extra = signal.revision = signal.fields = signal.metadata = None
    signal.policy_id = signal.resource_type = signal.thing = None
    return signal


cdef bint _suits(Signal signal, Topic about, object known, Last last) except -1:
    """Whether the value may be at its path, for certain, and is what the event says."""
    cdef object value = signal.value, resource, types
    cdef PyObject *found
    if value is _ABSENT:
        return False
    if signal.path == "/":
        if type(value) is not dict or not _is_thing(<dict>value):
            return False
        found = PyDict_GetItemWithError(<dict>value, "thingId")
        return found is not NULL and <object>found == about.entity_id
    resource = _at(signal.path, known, last)
    if resource is None:
        return False
    types = resource.types
    return not types or type(value) in <tuple?>types


cdef bint _is_patch(Signal signal, object known, Last last) except -1:
    """Whether the value is a patch of any value. (Those of a thing's parts go by the rule.)"""
    cdef object resource
    if signal.value is _ABSENT or signal.path == "/":
        return False
    resource = _at(signal.path, known, last)
    return resource is not None and not resource.types


cdef bint _is_thing(dict value) except -1:
    cdef object name, part
    for name, part in value.items():
        if not PyDict_Contains(_PARTS, name) or type(part) is not _PARTS[name]:
            return False
    return True
