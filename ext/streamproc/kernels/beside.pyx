"""What a signal says beside its thing: topic, resource, ids. For filters that name these.

Every value is a text, None where the signal has none.
"""

from cpython.dict cimport PyDict_Check

from streamproc.kernels.signal cimport Signal, Topic

cdef dict _SOURCES = {
    ("topic", "full"): TOPIC_FULL,
    ("topic", "namespace"): TOPIC_NAMESPACE,
    ("topic", "entityName"): TOPIC_ENTITY_NAME,
    ("topic", "group"): TOPIC_GROUP,
    ("topic", "channel"): TOPIC_CHANNEL,
    ("topic", "criterion"): TOPIC_CRITERION,
    ("topic", "action"): TOPIC_ACTION,
    ("topic", "subject"): TOPIC_SUBJECT,
    ("topic", "action-subject"): TOPIC_ACTION_SUBJECT,
    ("resource", "type"): RESOURCE_TYPE,
    ("resource", "path"): RESOURCE_PATH,
    ("entity", "id"): ENTITY_ID,
    ("entity", "namespace"): ENTITY_NAMESPACE,
    ("entity", "name"): ENTITY_NAME,
    ("thing", "id"): THING_ID,
    ("thing", "namespace"): THING_NAMESPACE,
    ("thing", "name"): THING_NAME,
    ("feature", "id"): FEATURE_ID,
}
cdef dict _RESOURCES = {"things": "thing", "policies": "policy", "connections": "connection"}


cdef Source source_of(object placeholder) except? IN_THING:
    """Where the value of a ``rql_plan.Placeholder`` other than ``time`` is found."""
    return _SOURCES[placeholder.prefix, placeholder.name]


cdef object beside(Source source, Signal signal, dict thing):
    """The value of a property that is not looked up in the thing; None if it has none."""
    cdef Topic topic = signal.topic
    cdef object value
    if source == NAMESPACE:
        value = thing.get("_namespace")
        if value is None:
            value = thing.get("thingId")
            value = _part(value, 0) if isinstance(value, str) else None
        return value
    if source == FEATURE_ID:
        return _feature_id(signal)
    if source == RESOURCE_PATH:
        return signal.path or None
    if source == RESOURCE_TYPE:
        if signal.resource_type is not None or topic is None:
            return signal.resource_type
        return "message" if topic.criterion == "messages" else _RESOURCES.get(topic.group)
    if source >= ENTITY_ID:
        if source >= THING_ID:
            if topic is not None and topic.group != "things":
                return None
            source = <Source>(source - THING_ID + ENTITY_ID)
        value = signal.entity_id
        if value is None or source == ENTITY_ID:
            return value
        return _part(<str>value, 0 if source == ENTITY_NAMESPACE else 1)
    if topic is None:
        return None
    if source == TOPIC_ACTION:
        return topic.action
    if source == TOPIC_SUBJECT:
        return topic.subject
    if source == TOPIC_ACTION_SUBJECT:
        return topic.action if topic.subject is None else topic.subject
    if source == TOPIC_CHANNEL:
        return topic.channel
    if source == TOPIC_CRITERION:
        return topic.criterion
    if source == TOPIC_NAMESPACE:
        return topic.namespace
    if source == TOPIC_ENTITY_NAME:
        return topic.name
    return topic.group if source == TOPIC_GROUP else topic.full


cdef str _part(str entity_id, int part):
    """The namespace (0) or the name (1) of ``namespace:name``; None without a namespace."""
    cdef Py_ssize_t colon = entity_id.find(":")
    if colon < 0:
        return None
    return entity_id[:colon] if part == 0 else entity_id[colon + 1:]


cdef object _feature_id(Signal signal):
    """The feature that a signal is about; the first, if it is about several."""
    cdef str path = signal.path
    cdef Py_ssize_t end
    cdef object features
    if path is None or not path.startswith("/features"):
        if path != "/":
            return None
        features = signal.value.get("features") if PyDict_Check(signal.value) else None
    elif len(path) > 10 and path[9] == u"/":
        end = path.find("/", 10)
        path = path[10:] if end < 0 else path[10:end]
        return path.replace("~0", "~") or None
    else:
        features = signal.value if path == "/features" or path == "/features/" else None
    return next(iter(features), None) if PyDict_Check(features) else None
