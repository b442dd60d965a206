"""Deliveries go to a Kafka producer, and its reports come back: what every message costs.

No I/O: the producer queues a record and returns, and reports when it is polled.
"""

cimport cython

from streamproc.kernels.delivery cimport Delivery


@cython.final
cdef class Reports:
    """``open``: written and without a receipt, in order; what was reported stays in it until it
    is taken. ``failed``: ``(delivery, why)``, reported or refused, and not yet told.

    ``placed(delivery, message)`` hears where the record of a delivery is that brings an
    acknowledgement; None: nobody asks.
    """

    cdef readonly dict open
    cdef public list failed
    cdef public object placed
    cdef list _delivered

    def __cinit__(self):
        self.open = {}
        self.failed = []
        self._delivered = []
        self.placed = None

    def write(
        self, object deliveries, object produce, dict places not None, object find,
        tuple mark not None, object why,
    ):
        """Give *deliveries* to *produce*, in order, *mark* (name, value) among their headers.

        *places*: address -> (topic, key, partition); *find* makes one that is not there.
        *why* says what an exception means; the delivery has failed of it. What *why* raises
        is raised.
        """
        cdef Delivery delivery
        cdef tuple place
        cdef dict headers
        cdef object known
        for delivery in deliveries:
            self.open[delivery] = None
            try:
                known = places.get(delivery.address)
                if known is None:
                    known = find(delivery.address)
                if not isinstance(known, tuple) or len(known) != 3:
                    raise TypeError(f"a place is (topic, key, partition), not {known!r}")
                place = <tuple>known
                headers = delivery.headers.copy()
                headers[mark[0]] = mark[1]
                # By position: names would cost a dictionary a message.
                produce(
                    place[0], delivery.payload, place[1], place[2],
                    _report(self, delivery), None, 0, headers,
                )
            except Exception as failure:
                self.failed.append((delivery, why(failure)))

    def report(self, Delivery delivery not None):
        """The callback of the record of *delivery*."""
        return _report(self, delivery)

    def take_delivered(self):
        """Those reported since the last time, in the order of their reports."""
        cdef list delivered = self._delivered
        if delivered:
            self._delivered = []
            for delivery in delivered:
                del self.open[delivery]
        return delivered

    def take_failed(self):
        """``(delivery, why)`` since the last time. They stay open: see ``close``."""
        cdef list failed = self.failed
        if failed:
            self.failed = []
        return failed

    def close(self, Delivery delivery not None):
        """It has its receipt."""
        del self.open[delivery]


@cython.final
@cython.no_gc
@cython.freelist(1024)
cdef class _Report:
    """What the producer calls. Nothing that it knows knows it: it is in no cycle."""

    cdef Reports reports
    cdef Delivery delivery

    def __call__(self, object error, object message):
        cdef Reports reports = self.reports
        cdef Delivery delivery = self.delivery
        if error is not None:
            reports.failed.append((delivery, error))
            return
        if delivery.wanted is not None and reports.placed is not None:
            reports.placed(delivery, message)
        reports._delivered.append(delivery)


cdef _Report _report(Reports reports, Delivery delivery):
    cdef _Report made = _Report.__new__(_Report)
    made.reports = reports
    made.delivery = delivery
    return made
