"""How large a template and what comes out of it may be; beyond that there is an error.

A few bytes in a header can ask for gigabytes (``fn:replace`` of the empty text, products of
lists), so every step that makes values longer or more is bounded before it is taken.
"""

from __future__ import annotations

from typing import Final

from streamproc.errors import SignalError

MAX_TEMPLATE: Final = 16_384  # characters
MAX_PIPELINES: Final = 64  # placeholders in one template
MAX_FUNCTIONS: Final = 10  # after the head of a pipeline
MAX_VALUES: Final = 10_000  # that one template has
MAX_RESULT: Final = 1 << 20  # characters, all values together
MAX_PAIRS: Final = 1 << 20  # that one fn:filter compares
MAX_LIKE: Final = 1024  # characters of a pattern of fn:filter


def too_many(what: str, found: int, limit: int) -> SignalError:
    """A message that makes a template exceed a limit."""
    return SignalError(
        "placeholder:function.too.complex", f"{found} {what}, at most {limit} are allowed"
    )


def check(count: int, length: int) -> None:
    """Raise SignalError for *count* values of *length* characters together, if that is too much."""
    if count > MAX_VALUES:
        raise too_many("values of a template", count, MAX_VALUES)
    if length > MAX_RESULT:
        raise too_many("characters out of a template", length, MAX_RESULT)


def product(columns: list[list[str]]) -> list[str]:
    """One text for each choice of a text from each column; the last column varies fastest."""
    count = 1
    for column in columns:
        count *= len(column)
    length = sum(sum(map(len, column)) * (count // len(column)) for column in columns if column)
    check(count, length)
    texts = [""]
    for column in columns:
        texts = [text + each for text in texts for each in column]
    return texts
