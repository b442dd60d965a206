"""Lanes: deliveries of equal key leave one after another, those of other keys beside them.

A lane exists while a delivery of its key waits, is in flight, or is held for a retry. Lanes
and the queue of lanes that may go are linked through their own objects, so a message costs
one dict look-up and no allocation. Nothing here waits or knows the time.
"""

cimport cython
from cpython.dict cimport PyDict_GetItemWithError
from cpython.object cimport PyObject

from streamproc.kernels.delivery cimport Delivery


@cython.final
@cython.freelist(1024)
cdef class Lane:
    cdef readonly str key
    cdef object name            # in the table of lanes
    cdef readonly object why    # why it is held: what was said of the last that failed
    cdef Delivery head          # waiting, oldest first
    cdef Delivery tail
    cdef Lane next              # in the queue of lanes that may go
    cdef list failed            # came back, to be written again; None in good times
    cdef int in_flight
    cdef bint queued            # in the queue of lanes that may go
    cdef bint held              # a delivery failed: nothing goes until release()

    @property
    def attempts(self):
        """Writes so far of the delivery at the head."""
        return 0 if self.head is None else self.head.attempts

    def __repr__(self):
        state = "held" if self.held else "queued" if self.queued else "busy"
        return f"<Lane {self.key!r} {state}, {self.in_flight} in flight>"


cdef int _append(Lane lane, Delivery delivery) except -1:
    if lane.tail is None:
        lane.head = delivery
    else:
        lane.tail.next = delivery
    lane.tail = delivery
    return 0


def _by_place(Delivery delivery):
    return delivery.place


@cython.final
cdef class Lanes:
    """The deliveries of one client.

    ``capacity``: most in flight. ``depth``: most of one key in flight; above 1 only for a
    target that keeps the order of what is written to it (``Can.PIPELINE``). Not ``ordered``:
    each delivery has a lane of its own, and waits for no other.
    """

    cdef dict _lanes
    cdef Lane _first            # queue of lanes that may go
    cdef Lane _last
    cdef unsigned long long _places
    cdef int _depth
    cdef bint _ordered
    cdef public Py_ssize_t capacity
    cdef readonly Py_ssize_t waiting        # deliveries, held ones included
    cdef readonly Py_ssize_t in_flight      # deliveries
    cdef readonly Py_ssize_t held           # lanes
    cdef readonly Py_ssize_t size_bytes     # of all deliveries here

    def __cinit__(self, Py_ssize_t capacity, int depth=1, bint ordered=True):
        if capacity < 1 or depth < 1:
            raise ValueError("capacity and depth are at least 1")
        self._lanes = {}
        self._depth = depth
        self._ordered = ordered
        self.capacity = capacity

    def __len__(self):
        """Deliveries here, waiting or in flight."""
        return self.waiting + self.in_flight

    @property
    def busy(self):
        """Lanes: keys with a delivery here."""
        return len(self._lanes)

    cdef int _queue(self, Lane lane) except -1:
        lane.queued = True
        if self._last is None:
            self._first = lane
        else:
            self._last.next = lane
        self._last = lane
        return 0

    def offer(self, list deliveries not None, double now):
        """Take in *deliveries*, in this order, at *now* (seconds, monotonic)."""
        cdef Delivery delivery
        cdef Lane lane
        cdef PyObject *found
        cdef object name
        for item in deliveries:
            delivery = <Delivery?>item
            if delivery.lane is not None:
                raise ValueError(f"{delivery!r} is in a lane already")
            name = delivery.key if self._ordered else self._places
            found = PyDict_GetItemWithError(self._lanes, name)
            if found is NULL:
                lane = Lane.__new__(Lane)
                lane.key = delivery.key
                lane.name = name
                self._lanes[name] = lane
            else:
                lane = <Lane>found
            delivery.lane = lane
            delivery.next = None
            delivery.place = self._places
            if delivery.born == 0.0:  # else it has waited elsewhere before
                delivery.born = now
            self._places += 1
            _append(lane, delivery)
            self.waiting += 1
            self.size_bytes += delivery.size
            if not lane.queued and not lane.held and lane.in_flight < self._depth:
                self._queue(lane)

    def take(self):
        """The deliveries to write now, each counted as an attempt; maybe none."""
        cdef list out = []
        cdef Lane lane
        cdef Delivery delivery
        while self._first is not None and self.in_flight < self.capacity:
            lane = self._first
            self._first = lane.next
            if self._first is None:
                self._last = None
            lane.next = None
            lane.queued = False
            delivery = lane.head
            lane.head = delivery.next
            if lane.head is None:
                lane.tail = None
            delivery.next = None
            delivery.attempts += 1
            lane.in_flight += 1
            self.in_flight += 1
            self.waiting -= 1
            out.append(delivery)
            if lane.head is not None and lane.in_flight < self._depth:
                self._queue(lane)
        return out

    cdef Lane _back(self, Delivery delivery):
        """One that was in flight is back; its lane."""
        cdef Lane lane = <Lane?>delivery.lane
        if lane.in_flight < 1:
            raise ValueError(f"{delivery!r} is not in flight")
        lane.in_flight -= 1
        self.in_flight -= 1
        return lane

    cdef int _restore(self, Lane lane) except -1:
        """Put what failed before what waits, in the order of arrival."""
        cdef Delivery delivery
        cdef Delivery head = lane.head
        cdef list failed = lane.failed
        lane.failed = None
        failed.sort(key=_by_place)
        for item in reversed(failed):
            delivery = <Delivery>item
            delivery.next = head
            head = delivery
            if lane.tail is None:
                lane.tail = delivery
        lane.head = head
        return 0

    def done(self, deliveries):
        """They are delivered or parked: forget them. -> lanes that now await release()."""
        cdef Delivery delivery
        cdef Lane lane
        cdef list restored = None
        for item in deliveries:
            delivery = <Delivery?>item
            if delivery.lane is None:
                raise ValueError(f"{delivery!r} has had its receipt")
            lane = self._back(delivery)
            delivery.lane = None
            self.size_bytes -= delivery.size
            if lane.held:
                if lane.in_flight == 0:
                    if lane.failed is not None:
                        self._restore(lane)
                    if restored is None:
                        restored = []
                    restored.append(lane)
            elif lane.head is not None:
                if not lane.queued:
                    self._queue(lane)
            elif lane.in_flight == 0:
                del self._lanes[lane.name]
        return restored or []

    def failed(self, deliveries, why=None):
        """They are to be written again, because of *why*. -> lanes that now await release().

        Nothing of their keys goes before; a lane is returned when all its writes are back.
        """
        cdef Delivery delivery
        cdef Lane lane
        cdef list restored = []
        for item in deliveries:
            delivery = <Delivery?>item
            if delivery.lane is None:
                raise ValueError(f"{delivery!r} has had its receipt")
            lane = self._back(delivery)
            self.waiting += 1
            if lane.failed is None:
                lane.failed = []
            lane.failed.append(delivery)
            lane.why = why
            if not lane.held:
                lane.held = True
                self.held += 1
                if lane.queued:
                    self._unqueue(lane)
            if lane.in_flight == 0:
                self._restore(lane)
                restored.append(lane)
        return restored

    cdef int _unqueue(self, Lane lane) except -1:
        cdef Lane before = None
        cdef Lane at = self._first
        while at is not lane:
            before = at
            at = at.next
        if before is None:
            self._first = lane.next
        else:
            before.next = lane.next
        if self._last is lane:
            self._last = before
        lane.next = None
        lane.queued = False
        return 0

    def release(self, Lane lane not None):
        """The lane may go again."""
        if not lane.held or lane.in_flight:
            raise ValueError(f"{lane!r} does not await release")
        lane.held = False
        lane.why = None
        self.held -= 1
        if lane.head is not None:
            self._queue(lane)
        else:
            del self._lanes[lane.name]

    def shed(self):
        """Take out what waits and has never been written, in the order of arrival.

        What failed stays at the head of its held lane: older than all that is taken out.
        """
        cdef list out = []
        cdef list empty = []
        cdef Lane lane
        cdef Delivery delivery, last
        for item in self._lanes.values():
            lane = <Lane>item
            last = None
            delivery = lane.head
            while delivery is not None and delivery.attempts > 0:
                last = delivery
                delivery = delivery.next
            if last is None:
                lane.head = None
            else:
                last.next = None
            lane.tail = last
            while delivery is not None:
                out.append(delivery)
                delivery = delivery.next
            lane.queued = False
            lane.next = None
            if lane.head is None and lane.in_flight == 0 and not lane.held:
                empty.append(lane.name)
        for item in empty:
            del self._lanes[item]
        self._first = self._last = None
        for item in out:
            delivery = <Delivery>item
            delivery.lane = None
            delivery.next = None
            self.waiting -= 1
            self.size_bytes -= delivery.size
        # A lane that was released after a failure waits for its turn: it goes on waiting.
        for item in self._lanes.values():
            lane = <Lane>item
            if lane.head is not None and not lane.held and lane.in_flight < self._depth:
                self._queue(lane)
        out.sort(key=_by_place)
        return out

    def written(self):
        """What waits to be written again."""
        cdef list out = []
        cdef Delivery delivery
        for item in self._lanes.values():
            delivery = (<Lane>item).head
            while delivery is not None and delivery.attempts > 0:
                out.append(delivery)
                delivery = delivery.next
        return out

    def clear(self):
        """Everything that waits, in the order of arrival; nothing may be in flight."""
        cdef list out = []
        cdef Lane lane
        cdef Delivery delivery
        if self.in_flight:
            raise ValueError(f"{self.in_flight} deliveries are in flight")
        for item in self._lanes.values():
            lane = <Lane>item
            lane.next = None
            delivery = lane.head
            while delivery is not None:
                out.append(delivery)
                delivery = delivery.next
        for item in out:
            delivery = <Delivery>item
            delivery.lane = None
            delivery.next = None
        out.sort(key=_by_place)
        self._lanes.clear()
        self._first = self._last = None
        self.waiting = self.size_bytes = self.held = 0
        return out
