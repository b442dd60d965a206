"""Expressions of templates: placeholders and the functions their values go through.

Whether several values are possible is known from the plan, so most expressions never make a
list. Functions that C would not make faster are in ``lang/texts`` and ``lang/format``. The
rules are those of ``tests/reference/template.py``.
"""

cimport cython
from cpython.list cimport PyList_GET_SIZE
from cpython.unicode cimport PyUnicode_Find, PyUnicode_GET_LENGTH

from streamproc.errors import SignalError
from streamproc.kernels.signal cimport Signal
from streamproc.kernels.sources cimport Moment, Place
from streamproc.kernels.wildcard cimport Wildcard
from streamproc.lang import limits as _limits
from streamproc.lang import texts as _texts
from streamproc.lang.plan import Source as _Source

cdef enum Op:
    DEFAULT
    FILTER
    BEFORE
    AFTER
    LOWER
    UPPER
    TRIM
    REPLACE
    SPLIT
    JOIN
    DELETE
    URL_ENCODE
    URL_DECODE
    BASE64_ENCODE
    BASE64_DECODE
    FORMAT

cdef enum Operator:
    UNKNOWN     # lets nothing through
    EQ
    NE
    LIKE
    EXISTS

cdef dict _OPS = {
    "default": DEFAULT,
    "filter": FILTER,
    "substring-before": BEFORE,
    "substring-after": AFTER,
    "lower": LOWER,
    "upper": UPPER,
    "trim": TRIM,
    "replace": REPLACE,
    "split": SPLIT,
    "join": JOIN,
    "delete": DELETE,
    "url-encode": URL_ENCODE,
    "url-decode": URL_DECODE,
    "base64-encode": BASE64_ENCODE,
    "base64-decode": BASE64_DECODE,
    "format": FORMAT,
}
cdef dict _OPERATORS = {"eq": EQ, "ne": NE, "like": LIKE, "exists": EXISTS}
cdef str _BLANK = "".join(map(chr, range(0x21)))
cdef list _EMPTY = [""]
cdef Py_ssize_t _MAX_RESULT = _limits.MAX_RESULT
cdef Py_ssize_t _MAX_PAIRS = _limits.MAX_PAIRS
cdef Py_ssize_t _MAX_LIKE = _limits.MAX_LIKE

DELETED = object()


@cython.final
cdef class Pipe:

    def __cinit__(self, object pipeline):
        self.head = None if pipeline.head is None else Slot(pipeline.head)
        self.steps = tuple([Step(call) for call in pipeline.calls])
        self.several = _gives_several(self.head)
        for step in self.steps:
            self.several = self.several or (<Step>step).several
            self.deletes = self.deletes or (<Step>step).deletes

    cdef object one(self, dict headers, Signal signal, Moment moment):
        cdef object step, value = None
        if self.head is not None:
            value = self.head.one(headers, signal, moment)
        for step in self.steps:
            value = (<Step>step).one(value, headers, signal, moment)
        return value

    cdef object all(self, dict headers, Signal signal, Moment moment):
        cdef object step, values = None
        if self.head is not None:
            values = self.head.all(headers, signal, moment)
        for step in self.steps:
            values = (<Step>step).all(values, headers, signal, moment)
        return values


@cython.final
cdef class Slot:

    def __cinit__(self, object argument):
        if isinstance(argument, _Source):
            self.place = Place(argument)
        else:
            self.text = argument

    cdef object one(self, dict headers, Signal signal, Moment moment):
        if self.place is None:
            return self.text
        return self.place.one(headers, signal, moment)

    cdef list all(self, dict headers, Signal signal, Moment moment):
        if self.place is None:
            return [self.text]
        return self.place.all(headers, signal, moment)


cdef bint _gives_several(Slot slot) noexcept:
    return slot is not None and slot.place is not None and slot.place.several


@cython.final
cdef class Step:

    def __cinit__(self, object call):
        cdef object tested, operator, compared
        self._op = _OPS[call.function]
        if self._op == FORMAT:
            self._format = call.detail
        elif self._op == FILTER:
            tested, operator, compared = call.detail
            self._first = None if tested is None else Slot(tested)
            self._second = None if compared is None else Slot(compared)
            if isinstance(operator, _Source):
                self._operator_place = Place(operator)
            else:
                self._operator = _OPERATORS.get(operator, UNKNOWN)
            if self._operator == LIKE and isinstance(compared, str):
                self._patterns = _alternatives(compared)
        elif call.arguments:
            self._first = Slot(call.arguments[0])
            if len(call.arguments) > 1:
                self._second = Slot(call.arguments[1])
        self.deletes = self._op == DELETE
        self.several = self._op == SPLIT or self._op == FORMAT or (
            _gives_several(self._first) or _gives_several(self._second)
        )

    cdef object one(self, object value, dict headers, Signal signal, Moment moment):
        cdef int op = self._op, operator
        cdef str old = None, new = None
        if op == DELETE:
            return DELETED
        if value is DELETED:
            return None if op == JOIN else value
        if op == DEFAULT:
            return self._first.one(headers, signal, moment) if value is None else value
        if op == FILTER:
            operator = self._comparison(headers, signal, moment)
            if value is None or not self._passes(operator, <str>value, headers, signal, moment):
                return None
            return value
        if op == REPLACE:
            new = self._replacement(headers, signal, moment)
            old = self._first.one(headers, signal, moment)
        if value is None or op == JOIN:
            return value
        return self._text(<str>value, old, new)

    cdef object all(self, object values, dict headers, Signal signal, Moment moment):
        cdef int op = self._op, operator
        cdef str old = None, new = None
        cdef list result
        cdef object value
        if op == DELETE:
            return DELETED
        if values is DELETED:
            if op == FORMAT:
                return [""]     # as in Ditto: nothing was written out
            return None if op == JOIN or op == SPLIT else values
        if op == DEFAULT:
            return self._first.all(headers, signal, moment) if values is None else values
        if op == FILTER:
            operator = self._comparison(headers, signal, moment)
            if values is None:
                return None
            return self._passing(operator, <list>values, headers, signal, moment)
        if op == REPLACE:
            new = self._replacement(headers, signal, moment)
            old = self._first.one(headers, signal, moment)
        if values is None:
            return None
        if op == JOIN:
            return [_joined(<list>values, self._first.text)]
        if op == SPLIT:
            result = []
            for value in <list>values:
                result += _texts.split(value, self._first.text)
                _limits.check(len(result), 0)
            return result or None
        if op == FORMAT:
            return _formatted(<list>values, self._format)
        return self._each(<list>values, old, new)

    cdef int _comparison(self, dict headers, Signal signal, Moment moment) except -1:
        """The operator of a filter."""
        cdef object name
        if self._operator_place is None:
            return self._operator
        name = self._operator_place.one(headers, signal, moment)
        if name is None and self._first is not None:
            raise SignalError(
                "placeholder:function.signature.invalid",
                "fn:filter: the operator is a placeholder without a value",
            )
        return _OPERATORS.get(name, UNKNOWN)

    cdef bint _passes(self, int operator, str value, dict headers, Signal signal,
                      Moment moment) except -1:
        """Whether a filter lets *value* through; no argument can have several values."""
        cdef str tested, compared = None
        if self._second is not None:
            compared = self._second.one(headers, signal, moment)
        if self._first is None:
            return compared is not None and self._holds(operator, value, compared)
        tested = self._first.one(headers, signal, moment)
        if self._second is None:
            return tested is not None and PyUnicode_GET_LENGTH(tested) > 0
        return self._holds(
            operator, "" if tested is None else tested, "" if compared is None else compared
        )

    cdef list _passing(self, int operator, list values, dict headers, Signal signal,
                       Moment moment):
        """Those of *values* that a filter lets through, None for none."""
        cdef list tested, compared = None
        if self._second is not None:
            compared = self._second.all(headers, signal, moment)
        if self._first is None:
            return None if compared is None else self._holding(operator, values, compared) or None
        tested = self._first.all(headers, signal, moment)
        if self._second is None:
            return values if tested is not None and any(tested) else None
        return values if self._holding(
            operator, _EMPTY if tested is None else tested, _EMPTY if compared is None else compared
        ) else None

    cdef list _holding(self, int operator, list tested, list compared):
        """Those of *tested* that stand to any of *compared* as *operator* says."""
        cdef object one, other
        cdef list result = []
        if PyList_GET_SIZE(tested) * PyList_GET_SIZE(compared) > _MAX_PAIRS:
            raise _limits.too_many(
                "comparisons of fn:filter", len(tested) * len(compared), _MAX_PAIRS
            )
        for one in tested:
            for other in compared:
                if self._holds(operator, <str>one, <str>other):
                    result.append(one)
                    break
        return result

    cdef bint _holds(self, int operator, str tested, str compared) except -1:
        cdef object pattern
        if operator == EQ:
            return tested == compared
        if operator == NE:
            return tested != compared
        if operator == EXISTS:
            return (compared.lower() == "true") != (PyUnicode_GET_LENGTH(tested) == 0)
        if operator == LIKE:
            for pattern in _alternatives(compared) if self._patterns is None else self._patterns:
                if (<Wildcard>pattern).test(tested):
                    return True
        return False

    cdef str _replacement(self, dict headers, Signal signal, Moment moment):
        cdef str new = self._second.one(headers, signal, moment)
        if new is None:
            raise SignalError(
                "placeholder:function.signature.invalid",
                "fn:replace: what to put in place is a placeholder without a value",
            )
        return new

    cdef object _text(self, str value, str old, str new):
        """The value of a function that knows one text at a time, None for none."""
        cdef int op = self._op
        cdef Py_ssize_t at
        if op == LOWER:
            return value.lower()
        if op == UPPER:
            return value.upper()
        if op == TRIM:
            return value.strip(_BLANK)
        if op == BEFORE or op == AFTER:
            at = PyUnicode_Find(value, self._first.text, 0, PyUnicode_GET_LENGTH(value), 1)
            if at < 0:
                return None
            if op == BEFORE:
                return value[:at]
            return value[at + PyUnicode_GET_LENGTH(self._first.text):]
        if op == REPLACE:
            return _texts.replace(value, "" if old is None else old, new)
        if op == URL_DECODE:
            return _texts.url_decode(value)
        if op == BASE64_DECODE:
            return _texts.base64_decode(value)
        value = _texts.url_encode(value) if op == URL_ENCODE else _texts.base64_encode(value)
        _limits.check(1, len(value))
        return value

    cdef object _each(self, list values, str old, str new):
        cdef list result = []
        cdef object value, text
        cdef Py_ssize_t length = 0
        cdef bint grows = self._op in (REPLACE, URL_ENCODE, BASE64_ENCODE)
        for value in values:
            text = self._text(<str>value, old, new)
            if text is not None:
                result.append(text)
                length += PyUnicode_GET_LENGTH(<str>text)
                if grows and length > _MAX_RESULT:
                    _limits.check(1, length)
        return result or None


cdef tuple _alternatives(str pattern):
    """One matcher for each part of *pattern* between bars."""
    if PyUnicode_GET_LENGTH(pattern) > _MAX_LIKE:
        raise _limits.too_many("characters in a pattern of fn:filter", len(pattern), _MAX_LIKE)
    return tuple([Wildcard(part) for part in pattern.split("|")])


cdef str _joined(list values, str delimiter):
    cdef object value
    cdef Py_ssize_t length = len(delimiter) * (len(values) - 1)
    for value in values:
        length += PyUnicode_GET_LENGTH(<str>value)
    _limits.check(1, length)
    return delimiter.join(values)


cdef list _formatted(list values, object plan):
    """Each JSON object written out; the empty text if there is none."""
    cdef list result = []
    cdef object value, document
    cdef Py_ssize_t length = 0
    for value in values:
        document = _texts.json_object(value)
        if document is not None:
            for text in plan.render(document):
                length += PyUnicode_GET_LENGTH(<str>text)
                result.append(text)
            _limits.check(len(result), length)
    return result or [""]
