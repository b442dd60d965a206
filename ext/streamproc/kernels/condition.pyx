"""The conditions of a filter: one property each, and what must be true of its value.

A condition finds its property - in the thing or beside it - and asks ``accepts`` of every
candidate there: of a scalar itself, of an array its elements, of an object nothing.
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
    IS_NULL, IS_TEXT, IS_TRUTH, UNORDERED, Constant, Order, decimal_of, equals, number_of, order,
    text_of,
)
from streamproc.kernels.signal cimport Signal
from streamproc.kernels.wildcard cimport Wildcard

import orjson

from streamproc.errors import ExpressionError
from streamproc.kernels.signal import ABSENT as _ABSENT
from streamproc.lang import pointer as _pointer
from streamproc.lang.rql_plan import (
    Compare as _Compare,
    Exists as _Exists,
    Field as _Field,
    In as _In,
)
from streamproc.lang.timeexpr import TimePlan as _TimePlan

cdef extern from "Python.h":
    PyObject* PyDict_GetItemWithError(PyObject *document, PyObject *key) except? NULL

cdef object ABSENT = _ABSENT

cdef enum:
    MAX_ARRAY_DEPTH = 1100      # arrays in arrays; the parser refused more

# Which orders of candidate and literal an operator accepts, as bits: less, equal, greater.
cdef dict _ACCEPTED = {"lt": 0b001, "le": 0b011, "gt": 0b100, "ge": 0b110}


cdef inline PyObject* _walk(tuple keys, PyObject *value, Py_ssize_t *depth) except? NULL:
    """What the keys lead to from *value*, borrowed; NULL where they lead nowhere.

    An array stops the walk: then fewer than all keys were used.
    """
    while depth[0] < PyTuple_GET_SIZE(keys):
        if not PyDict_Check(<object>value):
            return value if PyList_Check(<object>value) else NULL
        value = PyDict_GetItemWithError(value, PyTuple_GET_ITEM(keys, depth[0]))
        if value is NULL:
            return NULL
        depth[0] += 1
    return value


cdef bint _reaches(list array, tuple keys, Py_ssize_t depth) except -1:
    """Whether the keys from keys[depth] on lead anywhere in an object of *array*."""
    cdef PyObject *value
    cdef Py_ssize_t each, reached
    for each in range(PyList_GET_SIZE(array)):
        value = <PyObject*>PyList_GET_ITEM(array, each)
        if not PyDict_Check(<object>value):
            continue
        reached = depth
        value = _walk(keys, value, &reached)
        if value is not NULL:
            if reached == PyTuple_GET_SIZE(keys) or _reaches(<list>value, keys, reached):
                return True
    return False


cdef class Node:

    cdef bint test(self, Signal signal, dict thing) except -1:
        raise NotImplementedError

    cdef int could(self, Signal signal, dict thing) except -1:
        raise NotImplementedError


cdef class Leaf(Node):

    cdef bint test(self, Signal signal, dict thing) except -1:
        return self.found(signal, thing) != self.negated

    cdef int could(self, Signal signal, dict thing) except -1:
        return 2 if self.covered else self.test(signal, thing)

    cdef bint found(self, Signal signal, dict thing) except -1:
        """Whether the property has a candidate that is accepted."""
        cdef PyObject *value
        cdef Py_ssize_t depth = 0
        cdef object other
        if self.source != IN_THING:
            other = self.now if self.source == TIME else beside(self.source, signal, thing)
            return other is not None and self.any_of(other, 0)
        value = _walk(self.keys, <PyObject*>thing, &depth)
        if value is NULL:
            return False
        if depth < PyTuple_GET_SIZE(self.keys):
            return self.through(<list>value, depth)
        return self.any_of(<object>value, 0)

    cdef bint through(self, list array, Py_ssize_t depth) except -1:
        """The same from the objects of *array* on, with keys[depth] to follow."""
        cdef PyObject *value
        cdef Py_ssize_t each, reached
        for each in range(PyList_GET_SIZE(array)):
            value = <PyObject*>PyList_GET_ITEM(array, each)
            if not PyDict_Check(<object>value):
                continue
            reached = depth
            value = _walk(self.keys, value, &reached)
            if value is NULL:
                continue
            if reached < PyTuple_GET_SIZE(self.keys):
                if self.through(<list>value, reached):
                    return True
            elif self.any_of(<object>value, 0):
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
        """Whether a scalar is what the condition wants."""
        raise NotImplementedError

    cdef object set_clock(self, object now):
        """Fix what depends on the time for the batch that begins."""
        if self.time is not None:
            self.now = self.time.resolve(now)

    cdef object cover(self, list pointers):
        """Note whether the property lies at, below or above one of *pointers*, as keys."""
        self.covered = False
        for keys in pointers if self.keys else ():
            for wanted, key in zip(self.keys, keys):
                if wanted != key and key != "*":
                    break
            else:
                self.covered = True

    cdef object saw(self, Signal signal, dict thing):
        """The value of the property, ABSENT without one."""
        if self.source == IN_THING:
            return _pointer.get_flat(thing, self.keys)
        value = self.now if self.source == TIME else beside(self.source, signal, thing)
        return ABSENT if value is None else value


cdef class _Comparison(Leaf):
    cdef Constant constant

    cdef object set_clock(self, object now):
        Leaf.set_clock(self, now)
        self.constant.set_clock(now)


@cython.final
cdef class _Equal(_Comparison):
    """eq and ne."""

    cdef bint test(self, Signal signal, dict thing) except -1:
        cdef Py_ssize_t depth = 0
        cdef PyObject *value
        if self.source == IN_THING:
            value = _walk(self.keys, <PyObject*>thing, &depth)
            if value is NULL:
                return self.negated
            if not PyList_Check(<object>value):
                return equals(self.constant, <object>value) != self.negated
        return self.found(signal, thing) != self.negated

    cdef bint accepts(self, object value) except -1:
        return equals(self.constant, value)


@cython.final
cdef class _Ordered(_Comparison):
    """lt, le, gt, ge."""

    cdef int accepted           # bits, as in _ACCEPTED

    cdef bint test(self, Signal signal, dict thing) except -1:
        cdef Py_ssize_t depth = 0
        cdef PyObject *value
        if self.source == IN_THING:
            value = _walk(self.keys, <PyObject*>thing, &depth)
            if value is NULL:
                return False
            if not PyList_Check(<object>value):
                return self.accepts(<object>value)
        return self.found(signal, thing)

    cdef bint accepts(self, object value) except -1:
        cdef Order standing = order(self.constant, value)
        return standing != UNORDERED and (self.accepted >> (standing + 1)) & 1


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

    # More than presence is wanted: null, "", [], {} and a feature without parts are no value.
    cdef bint filled

    cdef bint through(self, list array, Py_ssize_t depth) except -1:
        # What is collected from an array is an array: there, and not empty.
        return _reaches(array, self.keys, depth)

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


cdef Leaf leaf_of(object expression):
    """The condition that runs a Compare, In, Exists or Empty."""
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
    leaf.needs_clock = _needs_clock(expression)
    return leaf


cdef object _set_source(Leaf leaf, object place):
    leaf.keys = ()
    if isinstance(place, _Field):
        leaf.keys = _as_parsed(place.keys)
        leaf.source = NAMESPACE if place.keys == ("_namespace",) else IN_THING
    elif place.time is not None:
        leaf.source = TIME
        leaf.time = place.time
    else:
        leaf.source = source_of(place)


cdef tuple _as_parsed(tuple keys):
    """The keys as the objects that orjson gives for them in every document, while it can:
    then a look-up compares no characters.
    """
    try:
        return tuple([next(iter(orjson.loads(orjson.dumps({key: None})))) for key in keys])
    except orjson.JSONEncodeError:  # half a surrogate pair, which no document holds
        return keys


cdef bint _needs_clock(object expression) except -1:
    if isinstance(expression, _In):
        values = expression.values
    else:
        values = (expression.value,) if isinstance(expression, _Compare) else ()
    return getattr(expression.property, "time", None) is not None or any(
        [isinstance(value, _TimePlan) for value in values]
    )


cdef bint _is_feature(tuple keys) noexcept:
    return PyTuple_GET_SIZE(keys) == 2 and <str>PyTuple_GET_ITEM(keys, 0) == "features"


cdef bint _says_anything(dict feature) except -1:
    return (
        feature.get("definition") is not None
        or feature.get("properties") is not None
        or feature.get("desiredProperties") is not None
    )
