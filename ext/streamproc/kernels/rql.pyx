"""RQL kernel: runs parsed filters over batches. The reference is ``tests/reference/rql.py``.

A plan becomes a tree: ``and``, ``or``, ``not`` here, conditions in ``condition.pyx``.
"""

cimport cython
from cpython.dict cimport PyDict_Check
from cpython.list cimport PyList_GET_ITEM, PyList_GET_SIZE
from cpython.tuple cimport PyTuple_GET_ITEM, PyTuple_GET_SIZE

from streamproc.kernels.condition cimport Leaf, Node, leaf_of
from streamproc.kernels.signal cimport Signal
from streamproc.kernels.thing cimport checked, thing_of_signal

from datetime import UTC, datetime

from streamproc.kernels.signal import ABSENT as _ABSENT
from streamproc.kernels.thing import thing_of
from streamproc.lang import pointer as _pointer
from streamproc.lang.rql_plan import Explanation as _Explanation, Logical as _Logical

__all__ = ["Filter", "thing_of"]


@cython.final
cdef class Filter:
    """A plan, ready to run. ``now`` stands in for the clock, for tests and ``eval``.

    Keeps the time and the covered pointers of the batch it runs: not for two threads at once.
    """

    def __cinit__(self, plan not None):
        self.plan = plan
        self._leaves = []
        self._root = _node(plan.root, self._leaves)
        self._clocks = [leaf for leaf in self._leaves if (<Leaf>leaf).needs_clock]
        self._needs_thing = any([(<Leaf>leaf).keys for leaf in self._leaves])
        self._covered_by = ()

    def matches(self, list signals not None, now=None):
        """Whether the filter holds for each signal and what it says of its thing."""
        cdef Py_ssize_t i
        cdef list result = [False] * PyList_GET_SIZE(signals)
        self._set_clock(now)
        for i in range(PyList_GET_SIZE(signals)):
            if self.holds(checked(PyList_GET_ITEM(signals, i))):
                result[i] = True
        return result

    def may_match(self, list signals not None, tuple covered not None, now=None):
        """0 no, 1 yes, 2 not known before the fields at the pointers *covered* are there."""
        cdef Py_ssize_t i
        cdef Signal signal
        cdef dict thing = {}
        cdef list result = [0] * PyList_GET_SIZE(signals)
        self._set_clock(now)
        if covered is not self._covered_by:
            self._cover(covered)
        for i in range(PyList_GET_SIZE(signals)):
            signal = checked(PyList_GET_ITEM(signals, i))
            if self._needs_thing:
                thing = thing_of_signal(signal)
            result[i] = self._root.could(signal, thing)
        return result

    def matches_things(self, list things not None, now=None):
        """Whether the filter holds for each thing, given as JSON; no placeholder has a value."""
        cdef Signal nothing = Signal(None, "")
        cdef Py_ssize_t i
        cdef list result = [False] * PyList_GET_SIZE(things)
        self._set_clock(now)
        for i in range(PyList_GET_SIZE(things)):
            if not PyDict_Check(<object>PyList_GET_ITEM(things, i)):
                raise TypeError("expected a thing as a dict")
            if self._root.test(nothing, <dict>PyList_GET_ITEM(things, i)):
                result[i] = True
        return result

    def explain(self, Signal signal not None, now=None):
        """Why the filter holds or not: a tree of Explanation."""
        self._set_clock(now)
        return _explanation(self._root, signal, thing_of_signal(signal), self.plan.text)

    cdef bint holds(self, Signal signal) except -1:
        if self._needs_thing and signal.thing is None:
            thing_of_signal(signal)
        return self._root.test(signal, signal.thing)

    cdef object _set_clock(self, object now):
        """Fix the time that this batch sees."""
        if self._clocks:
            if now is None:
                now = datetime.now(UTC)
            for leaf in self._clocks:
                (<Leaf>leaf).set_clock(now)

    cdef object _cover(self, tuple pointers):
        if pointers != self._covered_by:
            wanted = [_until_template(_pointer.parse(each)) for each in pointers]
            for leaf in self._leaves:
                (<Leaf>leaf).cover(wanted)
        self._covered_by = pointers


@cython.final
cdef class _All(Node):
    cdef bint test(self, Signal signal, dict thing) except -1:
        cdef Py_ssize_t i
        for i in range(PyTuple_GET_SIZE(self.parts)):
            if not (<Node>PyTuple_GET_ITEM(self.parts, i)).test(signal, thing):
                return False
        return True

    cdef int could(self, Signal signal, dict thing) except -1:
        cdef Py_ssize_t i
        cdef int one, result = 1
        for i in range(PyTuple_GET_SIZE(self.parts)):
            one = (<Node>PyTuple_GET_ITEM(self.parts, i)).could(signal, thing)
            if one == 0:
                return 0
            result |= one
        return 2 if result & 2 else 1


@cython.final
cdef class _Any(Node):
    cdef bint test(self, Signal signal, dict thing) except -1:
        cdef Py_ssize_t i
        for i in range(PyTuple_GET_SIZE(self.parts)):
            if (<Node>PyTuple_GET_ITEM(self.parts, i)).test(signal, thing):
                return True
        return False

    cdef int could(self, Signal signal, dict thing) except -1:
        cdef Py_ssize_t i
        cdef int one, result = 0
        for i in range(PyTuple_GET_SIZE(self.parts)):
            one = (<Node>PyTuple_GET_ITEM(self.parts, i)).could(signal, thing)
            if one == 1:
                return 1
            result |= one
        return result


@cython.final
cdef class _Not(Node):

    cdef bint test(self, Signal signal, dict thing) except -1:
        return not (<Node>PyTuple_GET_ITEM(self.parts, 0)).test(signal, thing)

    cdef int could(self, Signal signal, dict thing) except -1:
        cdef int one = (<Node>PyTuple_GET_ITEM(self.parts, 0)).could(signal, thing)
        return one if one == 2 else 1 - one


cdef object _until_template(object keys):
    """The keys before the first that only a signal can tell."""
    for depth, key in enumerate(keys):
        if "{{" in key:
            return keys[:depth]
    return keys


cdef Node _node(object expression, list leaves):
    """The node that runs *expression*; its leaves join *leaves*."""
    cdef Node node
    if not isinstance(expression, _Logical):
        node = leaf_of(expression)
        leaves.append(node)
    else:
        if expression.operator == "not":
            node = _Not()
        else:
            node = _All() if expression.operator == "and" else _Any()
        node.parts = tuple([_node(part, leaves) for part in expression.parts])
    node.expression = expression
    return node


cdef object _explanation(Node node, Signal signal, dict thing, str text):
    start, end = node.expression.span
    saw = (<Leaf>node).saw(signal, thing) if isinstance(node, Leaf) else _ABSENT
    parts = tuple([_explanation(<Node>part, signal, thing, text) for part in node.parts or ()])
    return _Explanation(text[start:end], node.test(signal, thing), saw, parts)
