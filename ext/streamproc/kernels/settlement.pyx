"""Settlement: a source message is done when every delivery made of it has its receipt.

An ``Entry`` stands for one source message that is not settled; a ``Window`` for all those of
one consumer, bounded by count and bytes. Counting runs in C over lists; calls into Python
happen once per batch of completions.
"""

cimport cython
from cpython.object cimport PyObject

from collections import deque

from streamproc.kernels.delivery cimport Delivery


@cython.final
cdef class _Birth:
    """Messages that came together; for the age of the oldest."""
    cdef double at              # seconds of a monotonic clock
    cdef Py_ssize_t left


@cython.final
@cython.freelist(4096)
cdef class Entry:
    """One source message between read and settle."""
    cdef Window window
    cdef object origin
    cdef readonly object token
    cdef Py_ssize_t size
    cdef int open               # receipts awaited, and 1 while the flow works on it
    cdef unsigned long epoch
    cdef _Birth birth
    cdef object outcome         # why it is rejected, what acknowledgements it asked for, or None

    def __repr__(self):
        return f"<Entry {self.token!r}, {self.open} open>"


@cython.final
cdef class Ticket:
    """Owner of a delivery that came from another worker: whom to tell, and its number there."""
    cdef readonly object peer
    cdef readonly unsigned long long number

    def __cinit__(self, object peer, unsigned long long number):
        self.peer = peer
        self.number = number


@cython.final
cdef class Window:
    """The unsettled messages of one consumer.

    ``when_done()`` is called when the first message of a round is done; ``take`` then hands
    out all that are. ``at_once``: messages are settled when they are admitted (qos 0), and
    are kept only to bound memory.
    """

    cdef readonly Py_ssize_t messages       # in memory: admitted and not done
    cdef readonly Py_ssize_t message_bytes
    cdef readonly Py_ssize_t unsettled      # of them, those whose source awaits a verdict
    cdef readonly Py_ssize_t max_messages
    cdef readonly Py_ssize_t max_bytes
    cdef readonly unsigned long epoch
    cdef bint _at_once
    cdef object _when_done
    cdef object _births
    cdef list _done

    def __cinit__(
        self, Py_ssize_t max_messages, Py_ssize_t max_bytes, object when_done, bint at_once=False
    ):
        self.max_messages = max_messages
        self.max_bytes = max_bytes
        self._when_done = when_done
        self._at_once = at_once
        self._births = deque()
        self._done = []

    @property
    def full(self):
        """Whether the source must not be read."""
        return self.messages >= self.max_messages or self.message_bytes >= self.max_bytes

    def admit(self, object origin, list tokens not None, list payloads not None, double now):
        """-> an entry per message, each held open until ``release``."""
        cdef list entries = []
        cdef Entry entry
        cdef _Birth birth = _Birth.__new__(_Birth)
        cdef Py_ssize_t i, size
        cdef Py_ssize_t count = len(tokens)
        if len(payloads) != count:
            raise ValueError("tokens and payloads differ in length")
        birth.at = now
        birth.left = count
        self._births.append(birth)
        for i in range(count):
            entry = Entry.__new__(Entry)
            size = len(<bytes?>payloads[i])
            entry.window = self
            entry.origin = origin
            entry.token = tokens[i]
            entry.size = size
            entry.open = 1
            entry.epoch = self.epoch
            entry.birth = birth
            self.message_bytes += size
            entries.append(entry)
        self.messages += count
        if not self._at_once:
            self.unsettled += count
        return entries

    def reject(self, Entry entry not None, object error not None):
        """Note why a message is refused; it is settled so when it is done."""
        if entry.outcome is None:
            entry.outcome = error

    def ask(self, Entry entry not None, object asked not None):
        """Its acknowledgements decide how it is settled."""
        entry.outcome = asked

    def release(self, list entries not None):
        """The flow is through with them: those without an open receipt are done."""
        cdef Entry entry
        for item in entries:
            entry = <Entry?>item
            entry.open -= 1
            if entry.open == 0:
                self._complete(entry)

    cdef int _complete(self, Entry entry) except -1:
        self.messages -= 1
        self.message_bytes -= entry.size
        entry.birth.left -= 1
        if self._at_once:
            if not self._done:
                self._done.append(None)
                self._when_done()
            return 0
        if entry.epoch != self.epoch:
            if not self._done:
                self._done.append(None)
                self._when_done()
            return 0
        self.unsettled -= 1
        self._done.append(entry)
        if len(self._done) == 1:
            self._when_done()
        return 0

    def take(self):
        """-> [(origin, tokens, outcomes by token)]: what is done since last time.

        One item for each origin, its tokens in the order in which they were done. ``outcomes``
        says of the refused ones why, and of those that asked for acknowledgements what they
        asked.
        """
        cdef list out = []
        cdef dict by_origin = {}  # id -> its item
        cdef tuple found
        cdef list tokens = None
        cdef dict outcomes = None
        cdef object origin = None
        cdef Entry entry
        cdef list done = self._done
        self._done = []
        for item in done:
            if item is None:
                continue
            entry = <Entry>item
            if entry.epoch != self.epoch:
                continue
            if tokens is None or entry.origin is not origin:
                origin = entry.origin
                found = by_origin.get(<size_t><PyObject *>origin)
                if found is None:
                    found = by_origin[<size_t><PyObject *>origin] = (origin, [], {})
                    out.append(found)
                tokens = <list>found[1]
                outcomes = <dict>found[2]
            tokens.append(entry.token)
            if entry.outcome is not None:
                outcomes[entry.token] = entry.outcome
        return out

    def forget(self):
        """The link is gone: what is unsettled belongs to the broker again. -> how many."""
        cdef Py_ssize_t count = self.unsettled
        cdef Entry entry
        for item in self._done:     # done, but not yet told: the broker does not know either
            if item is not None:
                entry = <Entry>item
                if entry.epoch == self.epoch:
                    count += 1
        self.unsettled = 0
        self.epoch += 1
        return count

    def oldest(self, double now):
        """Seconds since the oldest message in memory was admitted; 0.0 when there is none."""
        cdef _Birth birth
        while self._births:
            birth = <_Birth>self._births[0]
            if birth.left > 0:
                return now - birth.at
            self._births.popleft()
        return 0.0


def deliveries(
    object target,
    list signals_entries not None,
    list keys not None,
    list addresses not None,
    list headers not None,
    list payloads not None,
):
    """-> a Delivery per position, owned by its entry, which awaits one receipt more.

    All lists are parallel; a position whose address is None makes no delivery.
    """
    cdef list out = []
    cdef Entry entry
    cdef Py_ssize_t i
    for i in range(len(addresses)):
        if addresses[i] is None:
            continue
        entry = <Entry?>signals_entries[i]
        entry.open += 1
        out.append(Delivery(target, keys[i], addresses[i], headers[i], payloads[i], entry))
    return out


def wanting(list deliveries not None):
    """The positions of those that are to bring an acknowledgement, rising."""
    cdef list positions = []
    cdef Py_ssize_t i
    for i in range(len(deliveries)):
        if (<Delivery?>deliveries[i]).wanted is not None:
            positions.append(i)
    return positions


def receipts(done not None, dict acks=None):
    """*done* have their receipts.

    -> ({target: how many} of those that began here, {peer: [numbers]} of the others). What these
    were to bring is added to *acks*: {peer: [(number, wanted)]}.
    """
    cdef dict targets = {}
    cdef dict peers = {}
    cdef Delivery delivery
    cdef Entry entry
    cdef Ticket ticket
    for item in done:
        delivery = <Delivery?>item
        owner = delivery.owner
        delivery.owner = None
        wanted = delivery.wanted
        if wanted is not None:
            delivery.wanted = None
            if acks is not None and type(owner) is Ticket:
                ticket = <Ticket>owner
                acks.setdefault(ticket.peer, []).append((ticket.number, wanted))
        if type(owner) is Entry:
            entry = <Entry>owner
            targets[delivery.target] = targets.get(delivery.target, 0) + 1
            entry.open -= 1
            if entry.open == 0:
                entry.window._complete(entry)
        elif type(owner) is Ticket:
            ticket = <Ticket>owner
            numbers = peers.get(ticket.peer)
            if numbers is None:
                peers[ticket.peer] = numbers = []
            numbers.append(ticket.number)
        else:
            raise ValueError(f"{delivery!r} has had its receipt")
    return targets, peers
