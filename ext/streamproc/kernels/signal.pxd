"""C-level shape of a signal, for every kernel that reads one."""


cdef class Topic:
    """A parsed topic path. Shared: the parser keeps a bounded cache of them."""

    cdef readonly str full
    cdef readonly str namespace     # "_" where there is none
    cdef readonly str name          # entity name, "_" where there is none
    cdef readonly str group         # things | policies | connections
    cdef readonly str channel       # twin | live | none
    cdef readonly str criterion     # commands | events | messages | ...
    cdef readonly str action        # None where the criterion has none
    cdef readonly str subject       # messages, acks, announcements; else None
    cdef readonly str entity_id     # "namespace:name", None where the topic names no entity
    cdef readonly str kind          # as target topics spell it, "_/_/things/twin/events"; interned
    cdef public Topic event         # cache: of the event that a twin command causes, or None


cdef class Signal:
    """One Ditto-protocol message: what the data path carries between source and target."""

    cdef public Topic topic             # None only where a context has no topic (eval)
    cdef public str path                # JSON pointer, starts with "/"
    cdef public dict headers            # str -> str, Ditto headers, lower-case names
    cdef public object value            # parsed JSON, or ABSENT
    cdef public dict extra              # enriched fields, or None
    cdef public object status           # int, or None: a response has one
    cdef public object revision         # int, or None
    cdef public str timestamp           # ISO-8601, or None
    cdef public str fields              # selector text, or None
    cdef public object metadata         # parsed JSON, or None
    cdef public tuple subjects          # authorisation subjects, resolved by the source
    cdef public str entity_id           # "namespace:name", or None
    cdef public str policy_id           # only in policy commands and enforcement contexts
    cdef public str resource_type       # thing | message | policy | ..., or None: derived
    cdef public dict thing              # cache: what the signal says of its thing, or None
