"""Values of placeholders, out of raw headers and a signal.

Which placeholder it is was decided when the plan was made, so finding a value is a switch
and a look-up. The rules are those of ``tests/reference/sources.py``.
"""

cimport cython
from cpython.dict cimport PyDict_GetItemWithError
from cpython.object cimport PyObject
from cpython.unicode cimport (
    PyUnicode_DATA,
    PyUnicode_GET_LENGTH,
    PyUnicode_KIND,
    PyUnicode_READ,
)
from libc.stdint cimport uint32_t

from datetime import UTC as _UTC
from datetime import datetime as _datetime

from streamproc.kernels.signal cimport Signal, Topic
from streamproc.kernels.thing cimport thing_of_signal
from streamproc.lang.scopes import SOURCE_ADDRESS_HEADER as _SOURCE_ADDRESS
from streamproc.lang.texts import json_text as _json_text

cdef enum Kind:
    NEVER
    HEADER
    THING_ID
    THING_NAMESPACE
    THING_NAME
    POLICY_ID
    POLICY_NAMESPACE
    POLICY_NAME
    ENTITY_ID
    ENTITY_NAMESPACE
    ENTITY_NAME
    FEATURE_ID
    TOPIC_FULL
    TOPIC_NAMESPACE
    TOPIC_ENTITY
    TOPIC_GROUP
    TOPIC_CHANNEL
    TOPIC_CRITERION
    TOPIC_ACTION
    TOPIC_SUBJECT
    TOPIC_ACTION_SUBJECT
    RESOURCE_TYPE
    RESOURCE_PATH
    TIME
    SUBJECT_ID
    THING_JSON

cdef dict _KINDS = {
    "never": NEVER,
    "header": HEADER,
    "source:address": HEADER,
    "thing:id": THING_ID,
    "thing:namespace": THING_NAMESPACE,
    "thing:name": THING_NAME,
    "policy:id": POLICY_ID,
    "policy:namespace": POLICY_NAMESPACE,
    "policy:name": POLICY_NAME,
    "entity:id": ENTITY_ID,
    "entity:namespace": ENTITY_NAMESPACE,
    "entity:name": ENTITY_NAME,
    "feature:id": FEATURE_ID,
    "topic:full": TOPIC_FULL,
    "topic:namespace": TOPIC_NAMESPACE,
    "topic:entityName": TOPIC_ENTITY,
    "topic:group": TOPIC_GROUP,
    "topic:channel": TOPIC_CHANNEL,
    "topic:criterion": TOPIC_CRITERION,
    "topic:action": TOPIC_ACTION,
    "topic:subject": TOPIC_SUBJECT,
    "topic:action-subject": TOPIC_ACTION_SUBJECT,
    "resource:type": RESOURCE_TYPE,
    "resource:path": RESOURCE_PATH,
    "time": TIME,
    "request:subjectId": SUBJECT_ID,
    "thing-json": THING_JSON,
}
# Commands and events whose value may hold features. Others, such as retrieve, say none.
cdef frozenset _CHANGES = frozenset(
    {
        *("create", "modify", "merge", "delete", "migrate"),
        *("created", "modified", "merged", "deleted", "migrated"),
    }
)
cdef dict _TYPES = {"things": "thing", "policies": "policy", "connections": "connection"}


@cython.final
cdef class Moment:

    def __cinit__(self, object now=None):
        self.now = now
        self.texts = {}

    cdef object text(self, object plan):
        cdef PyObject *found = PyDict_GetItemWithError(self.texts, plan)
        if found is not NULL:
            return <object>found
        if self.now is None:
            self.now = _datetime.now(_UTC)
        text = plan.resolve(self.now)
        self.texts[plan] = text
        return text


@cython.final
cdef class Place:

    def __cinit__(self, object source):
        cdef str kind = source.kind
        self._kind = _KINDS[kind]
        self._name = _SOURCE_ADDRESS if kind == "source:address" else source.name
        self._lower = self._name.lower()
        self._any_case = source.any_case
        self._keys = tuple(source.detail) if self._kind == THING_JSON else ()
        self._time = source.detail if self._kind == TIME else None
        self.several = self._kind in (FEATURE_ID, SUBJECT_ID, THING_JSON)

    cdef object one(self, dict headers, Signal signal, Moment moment):
        cdef int kind = self._kind
        cdef PyObject *found
        cdef list values
        cdef str text
        if kind == HEADER:
            found = PyDict_GetItemWithError(headers, self._name)    # borrowed from headers
            if found is not NULL:
                text = <object>found    # checked, as who takes it reads its characters unchecked
                return text
            return _header(headers, self._name, self._lower) if self._any_case else None
        if kind == TIME:
            return moment.text(self._time)
        if signal is None:
            return None
        if kind == THING_ID:
            return thing_id(signal)
        if kind == ENTITY_ID:
            return entity_id(signal)
        if self.several:
            values = self.all(headers, signal, moment)
            return None if values is None else values[0]
        return _of_signal(kind, signal)

    cdef list all(self, dict headers, Signal signal, Moment moment):
        cdef object value
        if not self.several:
            value = self.one(headers, signal, moment)
            return None if value is None else [value]
        if signal is None:
            return None
        if self._kind == SUBJECT_ID:
            return _texts(signal.subjects)
        if self._kind == FEATURE_ID:
            return _feature_ids(signal)
        return _thing_json(thing_of_signal(signal), self._keys)


cdef object _header(dict headers, str name, str lower):
    """The header that *name* means where case does not count and it is not spelled so."""
    cdef PyObject *found
    cdef object value
    cdef str key, result = None
    cdef Py_ssize_t length
    if lower is not name:
        found = PyDict_GetItemWithError(headers, lower)
        if found is not NULL:
            result = <object>found
            return result
    length = PyUnicode_GET_LENGTH(name)
    for key, value in headers.items():
        if key is None:
            continue
        if PyUnicode_GET_LENGTH(key) == length and same_name(key, name, length):
            if result is not None:
                return None     # two of them: who is to say which one is meant
            result = value
    return result


cdef list _texts(tuple values):
    """*values* as a list of texts, None for none of them."""
    cdef list result = []
    cdef str text
    for text in values:     # checked
        result.append(text)
    return result or None


cdef bint same_name(str left, str right, Py_ssize_t length) noexcept:
    """Whether they differ in the case of ASCII letters at most."""
    cdef int left_kind = PyUnicode_KIND(left), right_kind = PyUnicode_KIND(right)
    cdef void *left_data = PyUnicode_DATA(left)
    cdef void *right_data = PyUnicode_DATA(right)
    cdef Py_ssize_t i
    cdef uint32_t a, b
    for i in range(length):
        a = PyUnicode_READ(left_kind, left_data, i)
        b = PyUnicode_READ(right_kind, right_data, i)
        if a != b:
            if 65 <= a <= 90:   # A to Z
                a += 32
            if 65 <= b <= 90:
                b += 32
            if a != b:
                return False
    return True


cdef object _of_signal(int kind, Signal signal):
    cdef Topic topic
    if kind == THING_NAMESPACE or kind == THING_NAME:
        return _part(thing_id(signal), signal.topic, kind == THING_NAME)
    if kind == ENTITY_NAMESPACE or kind == ENTITY_NAME:
        return _part(entity_id(signal), signal.topic, kind == ENTITY_NAME)
    if kind == POLICY_ID:
        return _policy_id(signal)
    if kind == POLICY_NAMESPACE or kind == POLICY_NAME:
        return _part(_policy_id(signal), signal.topic, kind == POLICY_NAME)
    if kind == RESOURCE_PATH:
        return signal.path
    topic = signal.topic
    if kind == RESOURCE_TYPE:
        return _resource_type(signal, topic)
    if topic is None:
        return None
    if kind == TOPIC_FULL:
        return topic.full
    if kind == TOPIC_NAMESPACE:
        return topic.namespace
    if kind == TOPIC_ENTITY:
        return topic.name
    if kind == TOPIC_GROUP:
        return topic.group
    if kind == TOPIC_CHANNEL:
        return topic.channel
    if kind == TOPIC_CRITERION:
        return topic.criterion
    if kind == TOPIC_ACTION:
        return _action(topic)
    if kind == TOPIC_SUBJECT:
        return topic.subject
    if kind == TOPIC_ACTION_SUBJECT:
        return _action(topic) if topic.subject is None else topic.subject
    return None     # NEVER


cdef inline object _action(Topic topic):
    """Actions of search and streaming are none that Ditto would tell."""
    if topic.criterion == "commands" or topic.criterion == "events":
        return topic.action
    return None


cdef inline object _id(str entity_id, Topic topic):
    """*entity_id*, if it has a namespace."""
    if entity_id is None or topic is not None and topic.entity_id is entity_id:
        return entity_id
    return entity_id if ":" in entity_id else None


cdef object thing_id(Signal signal):
    if signal.topic is not None and signal.topic.group != "things":
        return None
    return _id(signal.entity_id, signal.topic)


cdef object entity_id(Signal signal):
    if signal.entity_id is None:
        return _id(signal.policy_id, None)
    return _id(signal.entity_id, signal.topic)


cdef object _policy_id(Signal signal):
    if signal.policy_id is not None:
        return _id(signal.policy_id, None)
    if signal.topic is not None and signal.topic.group == "policies":
        return _id(signal.entity_id, signal.topic)
    return None


cdef object _part(str entity_id, Topic topic, bint name):
    """Namespace or name of an id, which has a colon."""
    cdef Py_ssize_t colon
    if entity_id is None:
        return None
    if topic is not None and topic.entity_id is entity_id:
        return topic.name if name else topic.namespace
    colon = entity_id.find(":")
    return entity_id[colon + 1:] if name else entity_id[:colon]


cdef object _resource_type(Signal signal, Topic topic):
    if signal.resource_type is not None:
        return signal.resource_type
    if topic is None or signal.path is None:
        return None
    if topic.criterion == "messages":
        return "message"
    return _TYPES.get(topic.group)


cdef list _feature_ids(Signal signal):
    """The feature of the path, else those of the value, if the signal changes them."""
    cdef str path = signal.path
    cdef object value = signal.value
    cdef Topic topic = signal.topic
    cdef Py_ssize_t slash
    if path is None or topic is not None and topic.group != "things":
        return None
    if path.startswith("/features/") and PyUnicode_GET_LENGTH(path) > 10:
        slash = path.find("/", 10)
        path = path[10:] if slash < 0 else path[10:slash]
        return [path.replace("~0", "~")] if path else None
    if topic is not None and (
        topic.criterion != "commands" and topic.criterion != "events"
        or topic.action not in _CHANGES
    ):
        return None
    if path == "/" and type(value) is dict:
        value = (<dict>value).get("features")
    elif path != "/features":
        return None
    return list(<dict>value) if type(value) is dict and value else None


cdef list _thing_json(dict thing, tuple keys):
    cdef PyObject *found
    cdef object key, item, value = thing
    if not thing:
        return None
    for key in keys:
        if type(value) is not dict:
            return None
        found = PyDict_GetItemWithError(<dict>value, key)
        if found is NULL:
            return None
        value = <object>found
    if type(value) is list:
        return [_json_text(item) for item in <list>value] or None
    return [_json_text(value)]
