"""Enforcement: what a transport proves of a sender must match what its message is about.

The reference is ``tests/reference/enforcement.py``.
"""

cimport cython
from cpython.list cimport PyList_GET_ITEM, PyList_GET_SIZE

from streamproc.errors import SignalError
from streamproc.kernels.signal cimport Signal
from streamproc.kernels.sources cimport Moment, entity_id, thing_id
from streamproc.kernels.template cimport Template
from streamproc.kernels.thing cimport checked
from streamproc.protocol.errors import shown as _shown

# The usual filter, which is compared without running it.
cdef enum Usual:
    NEITHER
    THING
    ENTITY

cdef dict _NONE = {}    # filters see no headers; never changed


@cython.final
cdef class Enforcement:

    cdef Template _input
    cdef list _filters
    cdef int _usual

    def __cinit__(self, object input_plan, list filter_plans not None):
        self._input = Template(input_plan)
        self._filters = [Template(plan) for plan in filter_plans]
        if len(self._filters) == 1:
            self._usual = _usual(filter_plans[0])

    def inputs(self, list headers not None):
        """What each transport message proves, or a SignalError if that is unresolved."""
        cdef list results = self._input.first(headers)
        cdef Py_ssize_t i
        for i in range(PyList_GET_SIZE(results)):
            if results[i] is None:
                results[i] = SignalError(
                    "placeholder:unresolved",
                    f"the enforcement input {self._input.plan.text!r} is unresolved",
                )
        return results

    def check(self, list inputs not None, list signals not None):
        """None for each signal that may come from where it came, else the SignalError.

        The input of a message that has none is its SignalError, and stays.
        """
        cdef list outcomes = []
        cdef Signal signal
        cdef Moment moment = Moment()
        cdef Py_ssize_t i, count = PyList_GET_SIZE(inputs)
        if PyList_GET_SIZE(signals) != count:
            raise ValueError(f"{count} inputs and {len(signals)} signals")
        for i in range(count):
            signal = checked(PyList_GET_ITEM(signals, i))
            outcomes.append(self._check(<object>PyList_GET_ITEM(inputs, i), signal, moment))
        return outcomes

    cdef object _check(self, object proven, Signal signal, Moment moment):
        cdef object about, each, found, error = None
        cdef bint resolved = False
        if type(proven) is not str:
            return proven if isinstance(proven, SignalError) else _failed(proven, None)
        about = entity_id(signal)
        if about is None:
            return _failed(proven, None)
        if self._usual != NEITHER:
            found = thing_id(signal) if self._usual == THING else about
            if found == proven:
                return None
            return _unresolved(about) if found is None else _failed(proven, about)
        for each in self._filters:
            try:
                found = (<Template>each).all_of(_NONE, signal, moment)
            except SignalError as failure:
                error = failure.with_traceback(None)    # it would keep frames alive
                continue
            if found:
                if proven in <tuple>found:
                    return None
                resolved = True
        if error is not None:
            return error
        return _failed(proven, about) if resolved or not self._filters else _unresolved(about)


cdef int _usual(object plan) except -1:
    """Whether *plan* is the id of the thing or entity and nothing else."""
    if len(plan.pieces) != 1 or not plan.sources or plan.pieces[0].calls:
        return NEITHER
    return {"thing:id": THING, "entity:id": ENTITY}.get(plan.sources[0].kind, NEITHER)


cdef object _failed(object proven, object about):
    what = "no entity" if about is None else f"the entity {_shown(about)}"
    return SignalError(
        "connectivity:connection.id.enforcement.failed",
        f"the message is about {what}, but its sender has proven to be "
        + (_shown(proven) if isinstance(proven, str) else "nobody"),
        description="no enforcement filter equals the enforcement input",
    )


cdef object _unresolved(object about):
    return SignalError(
        "placeholder:unresolved",
        f"no enforcement filter can be resolved for the entity {_shown(about)}",
    )
