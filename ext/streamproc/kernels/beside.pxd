"""C-level door to what a signal says beside its thing."""

from streamproc.kernels.signal cimport Signal


# Where a leaf finds its property.
cdef enum Source:
    IN_THING
    NAMESPACE               # of the thing; derived from its id where it is not written
    TIME
    TOPIC_FULL
    TOPIC_NAMESPACE
    TOPIC_ENTITY_NAME
    TOPIC_GROUP
    TOPIC_CHANNEL
    TOPIC_CRITERION
    TOPIC_ACTION
    TOPIC_SUBJECT
    TOPIC_ACTION_SUBJECT
    RESOURCE_TYPE
    RESOURCE_PATH
    ENTITY_ID
    ENTITY_NAMESPACE
    ENTITY_NAME
    THING_ID
    THING_NAMESPACE
    THING_NAME
    FEATURE_ID


cdef Source source_of(object placeholder) except? IN_THING
cdef object beside(Source source, Signal signal, dict thing)
