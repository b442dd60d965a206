"""The plain loops over the columns of a batch, for ``worker/flow.py``: no rule is here.

Positions are looked at before they are used, whatever the build: they come from other lists.
"""

cimport cython
from cpython.bytearray cimport PyByteArray_AS_STRING, PyByteArray_GET_SIZE
from cpython.dict cimport PyDict_Contains, PyDict_SetItem

from streamproc.errors import SignalError as _SignalError
from streamproc.kernels.signal cimport Signal, Topic

cdef str _ENVELOPE_TYPE = "application/vnd.eclipse.ditto+json"

ENVELOPE_TYPE = _ENVELOPE_TYPE


def errors(list outcomes not None):
    """The positions of SignalErrors, rising."""
    cdef list positions = []
    cdef object outcome
    cdef Py_ssize_t i
    for i in range(len(outcomes)):
        outcome = outcomes[i]
        if type(outcome) is _SignalError:
            positions.append(i)
    return positions


def present(list outcomes not None):
    """The positions of all that is not None, rising."""
    cdef list positions = []
    cdef Py_ssize_t i
    for i in range(len(outcomes)):
        if outcomes[i] is not None:
            positions.append(i)
    return positions


@cython.boundscheck(True)
def pick(list column not None, list positions not None):
    """What is at *positions*; the column itself if that is all of it."""
    cdef list found
    cdef Py_ssize_t i, at
    if len(positions) == len(column):
        return column
    found = [None] * len(positions)
    for i in range(len(positions)):
        at = positions[i]
        if at < 0:
            raise IndexError(f"position {at}")
        found[i] = column[at]
    return found


def where(list positions not None, list verdicts not None):
    """Those of *positions* whose verdict is true; the list itself if that is all of them."""
    cdef list found = None
    cdef Py_ssize_t i, count = len(positions)
    if len(verdicts) != count:
        raise ValueError("positions and verdicts differ in length")
    for i in range(count):
        if found is None:
            if not verdicts[i]:
                found = positions[:i]
        elif verdicts[i]:
            found.append(positions[i])
    return positions if found is None else found


@cython.boundscheck(True)
def within(list signals not None, list positions not None, frozenset namespaces not None):
    """Those of *positions* whose signals are of *namespaces*."""
    cdef list found = []
    cdef Topic topic
    cdef str last = None  # was looked up, and is one of them
    cdef Py_ssize_t i, at
    for i in range(len(positions)):
        at = positions[i]
        if at < 0:
            raise IndexError(f"position {at}")
        topic = (<Signal?>signals[at]).topic
        if topic is None:
            continue
        if topic.namespace is not last:
            if topic.namespace not in namespaces:
                continue
            last = topic.namespace
        found.append(positions[i])
    return found


@cython.boundscheck(True)
def missing(list column not None, list positions not None):
    """Those of *positions* where there is None."""
    cdef list found = []
    cdef Py_ssize_t i, at
    for i in range(len(positions)):
        at = positions[i]
        if at < 0:
            raise IndexError(f"position {at}")
        if column[at] is None:
            found.append(positions[i])
    return found


@cython.boundscheck(True)
def place(list column not None, list positions not None, list values not None):
    """Put each of *values* at its position."""
    cdef Py_ssize_t i, at
    if len(values) != len(positions):
        raise ValueError("positions and values differ in length")
    for i in range(len(positions)):
        at = positions[i]
        if at < 0:
            raise IndexError(f"position {at}")
        column[at] = values[i]


def flag(bytearray flags not None, list positions not None):
    """Set the flags at *positions* to 1."""
    cdef char *data = PyByteArray_AS_STRING(flags)
    cdef Py_ssize_t size = PyByteArray_GET_SIZE(flags)
    cdef Py_ssize_t i, at
    for i in range(len(positions)):
        at = positions[i]
        if not 0 <= at < size:
            raise IndexError(f"position {at}")
        data[at] = 1


def act_for(list signals not None, tuple subjects not None):
    """Every signal is said on behalf of *subjects*."""
    cdef object item
    for item in signals:
        (<Signal?>item).subjects = subjects


def mark(list signals not None, str prefix not None, unsigned long long count):
    """Say who each signal is from; one without correlation id gets one of *prefix* and a number.

    -> the last number: *count* and the ids that were given.
    """
    cdef object item
    cdef Signal signal
    for item in signals:
        signal = <Signal?>item
        if not PyDict_Contains(signal.headers, "correlation-id"):
            count += 1
            PyDict_SetItem(signal.headers, "correlation-id", f"{prefix}{count:012x}")
        if signal.subjects:
            PyDict_SetItem(signal.headers, "ditto-originator", signal.subjects[0])
    return count


def by_kind(list signals not None):
    """Kind of topic -> positions of its signals, rising."""
    cdef dict groups = {}
    cdef list group = None
    cdef str kind = None
    cdef Topic topic
    cdef Py_ssize_t i
    for i in range(len(signals)):
        topic = <Topic?>(<Signal?>signals[i]).topic
        if topic.kind is not kind:  # kinds are interned
            kind = topic.kind
            group = groups.get(kind)
            if group is None:
                group = groups[kind] = []
        group.append(i)
    return groups


def asking(list signals not None, bint live):
    """The positions of signals that may ask for acknowledgements, rising: those that say so in
    their headers, and all of the live channel if *live*.
    """
    cdef list positions = []
    cdef Signal signal
    cdef Py_ssize_t i
    for i in range(len(signals)):
        signal = <Signal?>signals[i]
        if "requested-acks" in signal.headers or "timeout" in signal.headers:
            positions.append(i)
        elif live and signal.topic is not None and signal.topic.channel == "live":
            positions.append(i)
    return positions


def own_headers(list signals not None):
    """The headers of each signal."""
    cdef list found = []
    cdef object item
    for item in signals:
        found.append((<Signal?>item).headers)
    return found


def transport_headers(list signals not None):
    """The headers that the envelope of each signal travels with (spec: Ditto 9.2)."""
    cdef list found = []
    cdef object item, correlation
    for item in signals:
        correlation = (<Signal?>item).headers.get("correlation-id")
        if correlation is None:
            found.append({"content-type": _ENVELOPE_TYPE})
        else:
            found.append({"content-type": _ENVELOPE_TYPE, "correlation-id": correlation})
    return found


def ordering_keys(list signals not None):
    """The entity each signal is about; its topic where that names none."""
    cdef list found = []
    cdef object item
    cdef Signal signal
    for item in signals:
        signal = <Signal?>item
        found.append(signal.topic.full if signal.entity_id is None else signal.entity_id)
    return found


def unusable(list addresses not None, list headers not None):
    """Positions where an address is no text, or headers are an error."""
    cdef list positions = []
    cdef Py_ssize_t i
    if len(headers) != len(addresses):
        raise ValueError("addresses and headers differ in length")
    for i in range(len(addresses)):
        if type(addresses[i]) is not str or type(headers[i]) is _SignalError:
            positions.append(i)
    return positions
