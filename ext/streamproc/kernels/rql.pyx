"""RQL kernel: runs parsed filters over batches. The reference is ``tests/reference/rql.py``.

A plan becomes a tree of nodes. A leaf finds its property - in the thing or beside it - and
asks ``accepts`` of every candidate there: of a scalar itself, of an array its elements, of
an object nothing. Literals are prepared once, by kind.
"""

cimport cython
from cpython.dict cimport PyDict_Check
from cpython.float cimport PyFloat_CheckExact
from cpython.list cimport PyList_Check, PyList_GET_ITEM, PyList_GET_SIZE
from cpython.long cimport PyLong_CheckExact
from cpython.object cimport PyObject
from cpython.tuple cimport PyTuple_GET_ITEM, PyTuple_GET_SIZE
from cpython.unicode cimport PyUnicode_CheckExact

from streamproc.kernels.beside cimport IN_THING, NAMESPACE, TIME, beside, source_of
from streamproc.kernels.constant cimport (
    IS_NULL, IS_TEXT, IS_TRUTH, UNORDERED, Constant, Order, decimal_of, number_of, text_of,
)
from streamproc.kernels.signal cimport Signal
from streamproc.kernels.thing cimport thing_of_signal
from streamproc.kernels.wildcard cimport Wildcard

from datetime import UTC, datetime

from streamproc.errors import ExpressionError
from streamproc.kernels.signal import ABSENT as _ABSENT
from streamproc.kernels.thing import thing_of
from streamproc.lang import pointer as _pointer
from streamproc.lang.rql_plan import (
    Compare as _Compare,
    Exists as _Exists,
    Explanation as _Explanation,
    Field as _Field,
    In as _In,
    Logical as _Logical,
)
from streamproc.lang.timeexpr import TimePlan as _TimePlan

cdef extern from "Python.h":
    PyObject* PyDict_GetItemWithError(PyObject *document, PyObject *key) except? NULL

__all__ = ["Filter", "thing_of"]

cdef object ABSENT = _ABSENT

cdef enum:
    MAX_ARRAY_DEPTH = 1100      # arrays in arrays; the parser refused more

# Which orders of candidate and literal an operator accepts, as bits: less, equal, greater.
cdef dict _ACCEPTED = {"lt": 0b001, "le": 0b011, "gt": 0b100, "ge": 0b110}


@cython.final
cdef class Filter:
    """A plan, ready to run. ``now`` stands in for the clock, for tests and ``eval``."""

    def __cinit__(self, plan not None):
        self.plan = plan
        self._leaves = []
        self._root = _node(plan.root, self._leaves)
        self._clocks = [leaf for leaf in self._leaves if _needs_clock((<Leaf>leaf).expression)]
        self._needs_thing = any([(<Leaf>leaf).source <= NAMESPACE for leaf in self._leaves])
        self._covered_by = ()

    def matches(self, list signals not None, now=None):
        """Whether the filter holds for each signal and what it says of its thing."""
        cdef Py_ssize_t i
        cdef list result = [False] * PyList_GET_SIZE(signals)
        self._set_clock(now)
        for i in range(PyList_GET_SIZE(signals)):
            if self.holds(<Signal?>PyList_GET_ITEM(signals, i)):
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
            signal = <Signal?>PyList_GET_ITEM(signals, i)
            if self._needs_thing:
                thing = thing_of_signal(signal)
            result[i] = self._root.could(signal, thing)
        return result

    def matches_things(self, list things not None, now=None):
        """Whether the filter holds for each thing, given as JSON; no placeholder has a value."""
        cdef Signal nothing = Signal(None, "")
        cdef Py_ssize_t i
        self._set_clock(now)
        return [
            self._root.test(nothing, <dict?>PyList_GET_ITEM(things, i))
            for i in range(PyList_GET_SIZE(things))
        ]

    def explain(self, Signal signal not None, now=None):
        """Why the filter holds or not: a tree of Explanation."""
        self._set_clock(now)
        return _explanation(self._root, signal, thing_of_signal(signal), self.plan.text)

    cdef bint holds(self, Signal signal) except -1:
        return self._root.test(
            signal, thing_of_signal(signal) if self._needs_thing else signal.thing
        )

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
                (<Leaf>leaf).covered = _is_covered(<Leaf>leaf, wanted)
        self._covered_by = pointers


cdef class Node:

    cdef bint test(self, Signal signal, dict thing) except -1:
        raise NotImplementedError

    cdef int could(self, Signal signal, dict thing) except -1:
        """0 no, 1 yes, 2 unknown: Kleene's logic."""
        raise NotImplementedError


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


cdef class Leaf(Node):

    cdef bint test(self, Signal signal, dict thing) except -1:
        return self.found(signal, thing) != self.negated

    cdef int could(self, Signal signal, dict thing) except -1:
        return 2 if self.covered else self.test(signal, thing)

    cdef bint found(self, Signal signal, dict thing) except -1:
        """Whether the property has a candidate that is accepted."""
        cdef PyObject *value = <PyObject*>thing      # borrowed from the thing, all the way
        cdef Py_ssize_t i
        cdef object other
        if self.source != IN_THING:
            other = self.now if self.source == TIME else beside(self.source, signal, thing)
            return other is not None and self.any_of(other, 0)
        for i in range(PyTuple_GET_SIZE(self.keys)):
            if PyDict_Check(<object>value):
                value = PyDict_GetItemWithError(value, PyTuple_GET_ITEM(self.keys, i))
                if value is NULL:
                    return False
            elif PyList_Check(<object>value):
                return self.through(<list>value, i)
            else:
                return False
        return self.any_of(<object>value, 0)

    cdef bint through(self, list array, Py_ssize_t depth) except -1:
        """The same from the objects of *array* on, at keys[depth]."""
        cdef PyObject *value
        cdef Py_ssize_t each, i
        for each in range(PyList_GET_SIZE(array)):
            value = <PyObject*>PyList_GET_ITEM(array, each)
            if not PyDict_Check(<object>value):
                continue
            for i in range(depth, PyTuple_GET_SIZE(self.keys)):
                if PyDict_Check(<object>value):
                    value = PyDict_GetItemWithError(value, PyTuple_GET_ITEM(self.keys, i))
                    if value is NULL:
                        break
                elif PyList_Check(<object>value):
                    if self.through(<list>value, i):
                        return True
                    break
                else:
                    break
            else:
                if self.any_of(<object>value, 0):
                    return True
        return False

    cdef bint any_of(self, object value, int depth) except -1:
        cdef Py_ssize_t i
        if PyList_Check(value):
            for i in range(PyList_GET_SIZE(value) if depth < MAX_ARRAY_DEPTH else 0):
                if self.any_of(<object>PyList_GET_ITEM(value, i), depth + 1):
                    return True
            return False
        return not PyDict_Check(value) and self.accepts(value)

    cdef bint accepts(self, object value) except -1:
        raise NotImplementedError

    cdef object set_clock(self, object now):
        if self.time is not None:
            self.now = self.time.resolve(now)


@cython.final
cdef class _Equal(Leaf):
    """eq and ne."""

    cdef Constant constant

    cdef bint accepts(self, object value) except -1:
        return self.constant.equals(value)

    cdef object set_clock(self, object now):
        Leaf.set_clock(self, now)
        self.constant.set_clock(now)


@cython.final
cdef class _Ordered(Leaf):
    """lt, le, gt, ge."""

    cdef Constant constant
    cdef int accepted           # bits, as in _ACCEPTED

    cdef bint accepts(self, object value) except -1:
        cdef Order order = self.constant.order(value)
        return order != UNORDERED and (self.accepted >> (order + 1)) & 1

    cdef object set_clock(self, object now):
        Leaf.set_clock(self, now)
        self.constant.set_clock(now)


@cython.final
cdef class _Like(Leaf):
    """like and ilike: the pattern fits the text form of a scalar."""

    cdef Wildcard pattern

    cdef bint accepts(self, object value) except -1:
        cdef str text = <str>value if PyUnicode_CheckExact(value) else text_of(value)
        return text is not None and self.pattern.test(text)


@cython.final
cdef class _Within(Leaf):
    """in: equal to one of the literals. One look-up, however many there are."""

    cdef tuple constants
    cdef frozenset texts            # texts and booleans, by their text form
    cdef frozenset numbers          # numbers, for candidates that are numbers
    cdef frozenset spelt_numbers    # texts that spell numbers, for the same
    cdef frozenset read_numbers     # numbers, for candidates that are texts
    cdef bint has_null

    cdef bint accepts(self, object value) except -1:
        if PyUnicode_CheckExact(value):
            if value in self.texts:
                return True
            if not self.read_numbers:
                return False
            number = number_of(<str>value)
            return number is not None and number in self.read_numbers
        if PyLong_CheckExact(value) or PyFloat_CheckExact(value):
            if value in self.numbers:
                return True
            return len(self.spelt_numbers) > 0 and value == value and (
                decimal_of(value) in self.spelt_numbers
            )
        if value is None:
            return self.has_null
        return text_of(value) in self.texts

    cdef object prepare(self):
        """Sort the constants by how candidates meet them."""
        texts, numbers, spelt, read = [], [], [], []
        for each in self.constants:
            constant = <Constant>each
            if constant.kind == IS_NULL:
                self.has_null = True
            elif constant.kind == IS_TEXT or constant.kind == IS_TRUTH:
                texts.append(constant.text)
                if constant.number is not None:
                    spelt.append(constant.number)
            else:
                numbers.append(constant.value)
                read.append(constant.number)
        self.texts = frozenset(texts)
        self.numbers = frozenset(numbers)
        self.spelt_numbers = frozenset(spelt)
        self.read_numbers = frozenset(read)

    cdef object set_clock(self, object now):
        Leaf.set_clock(self, now)
        for constant in self.constants:
            (<Constant>constant).set_clock(now)
        self.prepare()


@cython.final
cdef class _Present(Leaf):
    """exists; and empty, negated: whether there is a value, or one that is not empty."""

    cdef bint filled            # null, "", [], {} and a feature that says nothing are no value

    cdef bint through(self, list array, Py_ssize_t depth) except -1:
        # What is collected from an array is an array: there, and not empty.
        cdef bint filled = self.filled, result
        self.filled = False
        result = Leaf.through(self, array, depth)
        self.filled = filled
        return result

    cdef bint any_of(self, object value, int depth) except -1:
        if not self.filled:
            return True
        if PyDict_Check(value):
            return _says_anything(<dict>value) if _is_feature(self.keys) else len(<dict>value) > 0
        if PyList_Check(value):
            return PyList_GET_SIZE(value) > 0
        if PyUnicode_CheckExact(value):
            return len(<str>value) > 0
        return value is not None


cdef Node _node(object expression, list leaves):
    """The node that runs *expression*; its leaves join *leaves*."""
    cdef Node node
    if not isinstance(expression, _Logical):
        node = _leaf(expression)
        leaves.append(node)
    else:
        if expression.operator == "not":
            node = _Not()
        else:
            node = _All() if expression.operator == "and" else _Any()
        node.parts = tuple([_node(part, leaves) for part in expression.parts])
    node.expression = expression
    return node


cdef Leaf _leaf(object expression):
    cdef Leaf leaf
    cdef _Like like
    cdef _Within within
    cdef _Ordered ordered
    cdef _Equal equal
    cdef _Present present
    if isinstance(expression, _In):
        leaf = within = _Within()
        within.constants = tuple([Constant(value) for value in expression.values])
        within.prepare()
    elif not isinstance(expression, _Compare):
        leaf = present = _Present()
        present.filled = leaf.negated = not isinstance(expression, _Exists)
    elif expression.operator in ("like", "ilike"):
        if not isinstance(expression.value, str):
            raise ExpressionError("rql.expression.invalid", f"{expression.operator} takes a text")
        leaf = like = _Like()
        like.pattern = Wildcard(expression.value, expression.operator == "ilike")
    elif expression.operator in _ACCEPTED:
        leaf = ordered = _Ordered()
        ordered.constant = Constant(expression.value)
        # Nothing is before or after null, nor at it.
        ordered.accepted = 0 if expression.value is None else _ACCEPTED[expression.operator]
    else:
        leaf = equal = _Equal()
        equal.constant = Constant(expression.value)
        leaf.negated = expression.operator == "ne"
    _set_source(leaf, expression.property)
    return leaf


cdef object _set_source(Leaf leaf, object place):
    leaf.keys = ()
    if isinstance(place, _Field):
        leaf.keys = place.keys
        leaf.source = NAMESPACE if place.keys == ("_namespace",) else IN_THING
    elif place.time is not None:
        leaf.source = TIME
        leaf.time = place.time
    else:
        leaf.source = source_of(place)


cdef bint _needs_clock(object expression) except -1:
    if isinstance(expression, _In):
        values = expression.values
    else:
        values = (expression.value,) if isinstance(expression, _Compare) else ()
    return getattr(expression.property, "time", None) is not None or any(
        [isinstance(value, _TimePlan) for value in values]
    )


cdef bint _is_covered(Leaf leaf, list pointers) except -1:
    """Whether the property lies at, below or above one of *pointers*."""
    if leaf.source > NAMESPACE:
        return False
    for keys in pointers:
        for wanted, key in zip(leaf.keys, keys):
            if wanted != key and key != "*":
                break
        else:
            return True
    return False


cdef object _until_template(object keys):
    """The keys before the first that only a signal can tell."""
    for depth, key in enumerate(keys):
        if "{{" in key:
            return keys[:depth]
    return keys


cdef bint _is_feature(tuple keys) noexcept:
    return PyTuple_GET_SIZE(keys) == 2 and <str>PyTuple_GET_ITEM(keys, 0) == "features"


cdef bint _says_anything(dict feature) except -1:
    return (
        feature.get("definition") is not None
        or feature.get("properties") is not None
        or feature.get("desiredProperties") is not None
    )


cdef object _explanation(Node node, Signal signal, dict thing, str text):
    start, end = node.expression.span
    saw = ABSENT
    if isinstance(node, Leaf):
        if (<Leaf>node).source == TIME:
            saw = (<Leaf>node).now
        elif (<Leaf>node).source != IN_THING:
            saw = beside((<Leaf>node).source, signal, thing)
            saw = ABSENT if saw is None else saw
        else:
            saw = _pointer.get_flat(thing, (<Leaf>node).keys)
    parts = tuple([_explanation(<Node>part, signal, thing, text) for part in node.parts or ()])
    return _Explanation(text[start:end], node.test(signal, thing), saw, parts)
