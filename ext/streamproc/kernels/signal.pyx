"""The signal: plain data, laid out so that other kernels read its fields without a look-up."""

cimport cython

from sys import intern


class _Absent:
    """The one value that says "no such value", as JSON null is a value."""

    __slots__ = ()

    def __repr__(self):
        return "ABSENT"

    def __bool__(self):
        return False


ABSENT = _Absent()


@cython.final
cdef class Topic:

    def __cinit__(
        self,
        str full not None,
        str namespace not None,
        str name not None,
        str group not None,
        str channel not None,
        str criterion not None,
        str action=None,
        str subject=None,
    ):
        self.full = full
        self.namespace = namespace
        self.name = name
        self.group = group
        self.channel = channel
        self.criterion = criterion
        self.action = action
        self.subject = subject
        channel = "" if channel == "none" else f"/{channel}"
        self.kind = intern(f"_/_/{group}{channel}/{criterion}")
        self.entity_id = None if name == "_" or namespace == "_" else f"{namespace}:{name}"

    def __repr__(self):
        return f"Topic({self.full!r})"

    def __eq__(self, other):
        return isinstance(other, Topic) and self.full == (<Topic>other).full

    def __hash__(self):
        return hash(self.full)


@cython.final
@cython.freelist(1024)
cdef class Signal:

    def __cinit__(
        self,
        Topic topic,
        str path="/",
        dict headers=None,
        object value=ABSENT,
        dict extra=None,
        object status=None,
        object revision=None,
        str timestamp=None,
        str fields=None,
        object metadata=None,
    ):
        self.topic = topic
        self.path = path
        self.headers = {} if headers is None else headers
        self.value = value
        self.extra = extra
        self.status = status
        self.revision = revision
        self.timestamp = timestamp
        self.fields = fields
        self.metadata = metadata
        self.subjects = ()
        self.entity_id = None if topic is None else topic.entity_id
        self.policy_id = None
        self.resource_type = None
        self.thing = None

    def __repr__(self):
        topic = None if self.topic is None else self.topic.full
        return f"Signal({topic!r}, {self.path!r})"
