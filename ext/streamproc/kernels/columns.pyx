"""The plain loops over the columns of a batch, for ``worker/flow.py``: no rule is here."""

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
