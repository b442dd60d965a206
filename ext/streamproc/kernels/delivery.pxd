"""C-level shape of a delivery: one message on its way to one target."""


cdef class Delivery:
    cdef readonly object target     # index of the target within its connection (int)
    cdef readonly str key           # ordering key: same key, same lane
    cdef readonly str address       # resolved
    cdef readonly dict headers      # str -> str, external headers; shared, never changed
    cdef readonly bytes payload
    cdef readonly Py_ssize_t size   # bytes it counts for in windows
    cdef public object owner        # who is told of its receipt; opaque to connectors
    cdef public object wanted       # protocol.acks.Wanted: the acknowledgement it brings; or None
    cdef public int attempts        # writes so far
    cdef public double born         # when lanes took it first, seconds of a monotonic clock
    # Set by the lanes that hold it; None and NULL elsewhere.
    cdef object lane
    cdef Delivery next
    cdef readonly unsigned long long place  # order of arrival in the lanes
