"""Templates over batches. The reference is ``tests/reference/template.py``.

Per message in a batch of 100: ``{{ header:a }}`` and ``POST:/things/{{ thing:id }}`` run at
some tens of nanoseconds (``bench/micro/test_template.py``).
"""

cimport cython
from cpython.list cimport PyList_GET_ITEM, PyList_GET_SIZE
from cpython.object cimport PyObject
from cpython.unicode cimport PyUnicode_GET_LENGTH

from streamproc.errors import SignalError
from streamproc.kernels.pipes cimport DELETED, Pipe
from streamproc.kernels.signal cimport Signal
from streamproc.kernels.sources cimport Moment, checked_headers
from streamproc.kernels.thing cimport checked
from streamproc.lang import limits as _limits

cdef Py_ssize_t _MAX_RESULT = _limits.MAX_RESULT
cdef Py_ssize_t _MAX_VALUES = _limits.MAX_VALUES


@cython.final
cdef class Template:

    def __cinit__(self, object plan):
        cdef Pipe pipe
        self.plan = plan
        self._pieces = tuple([x if isinstance(x, str) else Pipe(x) for x in plan.pieces])
        if not plan.sources:
            self._outcome = self._compute()
            self.fixed = True
            if type(self._outcome) is tuple and len(<tuple>self._outcome) == 1:
                self.constant = (<tuple>self._outcome)[0]
        elif len(self._pieces) == 1:
            pipe = <Pipe?>self._pieces[0]
            if not pipe.several and not pipe.steps:
                self._lone = pipe.head.place
        self._single = all([isinstance(x, str) or not (
            (<Pipe>x).several or (<Pipe>x).deletes) for x in self._pieces])

    def first(self, list headers not None, list signals=None, object now=None):
        """The first value for each message, None where unresolved or deleted.

        A message that the template cannot take has a SignalError in its place.
        """
        return _run(self, headers, signals, Moment(now), False)

    def all(self, list headers not None, list signals=None, object now=None):
        """Every value for each message as a tuple, None where unresolved, () where deleted.

        A message that the template cannot take has a SignalError in its place.
        """
        return _run(self, headers, signals, Moment(now), True)

    cdef object first_of(self, dict headers, Signal signal, Moment moment):
        cdef object piece, value
        cdef str text = None
        cdef bint unresolved = False
        if self._lone is not None:
            return self._lone.one(headers, signal, moment)
        if self.constant is not None:
            return self.constant
        for piece in self._pieces:
            if type(piece) is str:
                value = piece
            elif (<Pipe>piece).several:
                value = (<Pipe>piece).all(headers, signal, moment)
                if type(value) is list:
                    value = (<list>value)[0]
            else:
                value = (<Pipe>piece).one(headers, signal, moment)
            if value is None:
                unresolved = True       # the rest may still be an error
            elif value is not DELETED:
                text = <str>value if text is None else text + <str>value
        if unresolved or text is None:
            return None
        if PyUnicode_GET_LENGTH(text) > _MAX_RESULT:
            _limits.check(1, len(text))
        return text

    cdef object all_of(self, dict headers, Signal signal, Moment moment):
        cdef object piece, value
        cdef list columns = []
        cdef bint unresolved = False
        if self.fixed and type(self._outcome) is tuple:
            return self._outcome
        if self._single and self._pieces:
            value = self.first_of(headers, signal, moment)
            return None if value is None else (value,)
        for piece in self._pieces:
            if type(piece) is str:
                columns.append([piece])
                continue
            value = (<Pipe>piece).all(headers, signal, moment)
            if value is None:
                unresolved = True
            elif value is not DELETED:
                columns.append(value)
        if unresolved:
            return None
        return _product(columns) if columns or not self._pieces else ()

    cdef object _compute(self):
        """What comes out where nothing is to be resolved; None for an error, too."""
        try:
            return self.all_of({}, None, Moment())
        except SignalError:
            return None


cdef list _run(Template template, list headers, list signals, Moment moment, bint every):
    """What *template* gives for each message: *every* value, or the first."""
    cdef list results = []
    cdef Signal signal = None
    cdef dict raw
    cdef Py_ssize_t i = 0, count = PyList_GET_SIZE(headers)
    if signals is not None and PyList_GET_SIZE(signals) != count:
        raise ValueError(f"{count} messages and {len(signals)} signals")
    while i < count:
        try:
            while i < count:
                raw = checked_headers(PyList_GET_ITEM(headers, i))
                if signals is not None:
                    signal = checked(PyList_GET_ITEM(signals, i))
                if every:
                    results.append(template.all_of(raw, signal, moment))
                else:
                    results.append(template.first_of(raw, signal, moment))
                i += 1
        except SignalError as error:
            results.append(error.with_traceback(None))  # it would keep frames alive
            i += 1
    return results


cdef tuple _product(list columns):
    """One text for each choice of a text from each column; the last column varies fastest."""
    cdef list texts = [""], longer
    cdef object column, text, each
    cdef Py_ssize_t length
    for column in columns:
        longer = []
        length = 0
        if PyList_GET_SIZE(texts) * PyList_GET_SIZE(<list>column) > _MAX_VALUES:
            _limits.check(len(texts) * len(column), 0)
        for text in texts:
            for each in <list>column:
                longer.append(<str>text + <str>each)
                length += PyUnicode_GET_LENGTH(<str>text) + PyUnicode_GET_LENGTH(<str>each)
                if length > _MAX_RESULT:
                    _limits.check(1, length)
        texts = longer
    return tuple(texts)


@cython.final
cdef class Subjects:
    """All templates of an authorization context; constant ones cost nothing per message."""

    def __cinit__(self, list plans not None, Py_ssize_t limit):
        self._limit = limit
        self._templates = [Template(plan) for plan in plans]
        fixed = [(<Template>template).constant for template in self._templates]
        if None not in fixed:
            self.constant = self._of({}, Moment())

    def expand(self, list headers not None):
        """The subjects of each message without repetition, in the order of the templates.

        A message has a SignalError in its place if a subject is unresolved or deleted, or if
        there are more than ``limit``.
        """
        cdef list results = []
        cdef Moment moment = Moment()
        cdef object each
        if self.constant is not None:
            return [self.constant] * len(headers)
        for each in headers:
            try:
                results.append(self._of(checked_headers(<PyObject*>each), moment))
            except SignalError as error:
                results.append(error.with_traceback(None))
        return results

    cdef tuple _of(self, dict headers, Moment moment):
        cdef dict subjects = {}
        cdef object template, values, subject
        for template in self._templates:
            values = (<Template>template).all_of(headers, None, moment)
            if not values:
                text = (<Template>template).plan.text
                raise SignalError(
                    "placeholder:unresolved", f"the authorization subject {text!r} is unresolved"
                )
            for subject in <tuple>values:
                subjects[subject] = None
        if len(subjects) > self._limit:
            raise SignalError(
                "headers.too.large",
                f"{len(subjects)} authorization subjects, at most {self._limit} are allowed",
            )
        return tuple(subjects)
