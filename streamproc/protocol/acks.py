"""Acknowledgements: which are asked for, what the answers amount to, what the source is told."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, Literal, NamedTuple

import orjson

from streamproc.errors import SignalError, StreamprocError
from streamproc.kernels.signal import ABSENT
from streamproc.protocol.errors import shown
from streamproc.protocol.headers import CHECKED

NO_CONTENT: Final = 204
WEAK: Final = 200
TIMEOUT: Final = 408
MIXED: Final = 424
"""The status of an aggregate whose acknowledgements do not agree."""
PRECONDITION_FAILED: Final = 412
MAX_TIMEOUT_MS: Final = 65_000
"""How long a connection waits for acknowledgements: unless asked for less, and at most."""
MAX_PAYLOAD_BYTES: Final = 100_000

Channel = Literal["twin", "live"]
_IMPLICIT: Final[dict[Channel, str]] = {"twin": "twin-persisted", "live": "live-response"}
# Labels of the other channel, which a command of this one cannot get.
_FOREIGN: Final[dict[Channel, frozenset[str]]] = {
    "twin": frozenset({"live-response"}),
    "live": frozenset({"twin-persisted", "search-persisted"}),
}


class Acknowledgement(NamedTuple):
    """What one label has come to. ``payload`` is a JSON value, or ABSENT."""

    label: str
    status: int
    payload: Any = ABSENT

    @property
    def successful(self) -> bool:
        return 200 <= self.status <= 299


class Wanted:
    """The acknowledgement that a delivery is to bring. Its target, or who gives up on it, fills
    ``answer``; where nobody does, its receipt alone is the answer. ``kept``: it was parked, so
    nothing is gained by sending its message again.
    """

    __slots__ = ("answer", "kept", "label", "max_bytes")

    def __init__(self, label: str, max_bytes: int) -> None:
        self.label = label
        self.max_bytes = max_bytes  # of the payload
        self.answer: Acknowledgement | None = None
        self.kept = False

    def answered(self, status: int, payload: Any = ABSENT) -> None:
        """What the target says. A payload that does not fit is left out, and that is said."""
        if payload is not ABSENT and len(orjson.dumps(payload)) > self.max_bytes:
            payload = {"message": f"the answer has more than {self.max_bytes} bytes"}
        self.answer = Acknowledgement(self.label, status, payload)

    def refused(self, error: Exception) -> None:
        """It is parked because of *error*: what the endpoint answered last, if that was it."""
        self.kept = True
        details = error.details if isinstance(error, StreamprocError) else {}
        status = details.get("status")
        if isinstance(status, int):
            if self.answer is None or self.answer.status != status:
                self.answered(status, {"message": str(error)})
        else:
            found = of_error(self.label, error)
            self.answered(found.status if found.status >= 400 else 500, found.payload)

    def forget(self) -> None:
        """Its delivery is made anew."""
        self.answer, self.kept = None, False

    def receipt(self) -> Acknowledgement:
        """What it has come to, once it has its receipt."""
        return self.answer or Acknowledgement(self.label, NO_CONTENT)


class Aggregate(NamedTuple):
    """All requested labels, in the order of the request."""

    acks: tuple[Acknowledgement, ...]
    complete: bool  # each has been answered

    @property
    def status(self) -> int:
        """That of a single acknowledgement; else 200 when all succeeded, and 424."""
        if len(self.acks) == 1:
            return self.acks[0].status
        return 200 if all(ack.successful for ack in self.acks) else MIXED

    @property
    def successful(self) -> bool:
        return self.complete and all(ack.successful for ack in self.acks)

    def value(self) -> dict[str, dict[str, Any]]:
        """The value of the aggregated message; headers of the parts are not among it."""
        return {
            ack.label: {"status": ack.status}
            | ({} if ack.payload is ABSENT else {"payload": ack.payload})
            for ack in self.acks
        }


def aggregate(
    requested: Iterable[str], received: Iterable[Acknowledgement], timeout_ms: int
) -> Aggregate:
    """The first answer to each requested label; one that has none timed out."""
    found: dict[str, Acknowledgement | None] = dict.fromkeys(requested)
    for ack in received:
        if ack.label in found and found[ack.label] is None:
            found[ack.label] = ack
    acks = tuple(
        timed_out(label, timeout_ms) if ack is None else ack for label, ack in found.items()
    )
    return Aggregate(acks, complete=None not in found.values())


def timed_out(label: str, timeout_ms: int) -> Acknowledgement:
    """What stands for an acknowledgement that did not come in time."""
    error = {
        "status": TIMEOUT,
        "error": "acknowledgement:request.timeout",
        "message": f"The acknowledgement request reached the specified timeout of "
        f"{timeout_ms:,}ms.",
        "description": "Try increasing the timeout and make sure that the requested "
        "acknowledgement is sent back in time.",
    }
    return Acknowledgement(label, TIMEOUT, error)


# How a consumed message is settled.


class Answer(NamedTuple):
    """A response to a signal of a consumed message. ``parts`` are the statuses inside an
    aggregate; ``live`` is true of responses to live commands and messages.
    """

    status: int
    parts: tuple[int, ...] = ()
    live: bool = False

    @property
    def failed(self) -> bool:
        """Who answers a live command may choose any status: only silence is a failure."""
        return self.status == TIMEOUT if self.live else self.status >= 400


class Settlement(NamedTuple):
    """Accept, or reject with or without redelivery. ``redeliver`` is false when settled."""

    settled: bool
    redeliver: bool


SETTLED: Final = Settlement(settled=True, redeliver=False)


def settlement(answers: Sequence[Answer], expected: int) -> Settlement:
    """*expected*: how many signals of the message asked for an answer."""
    failed = [answer for answer in answers if answer.failed]
    if not failed:
        return SETTLED if len(answers) >= expected else Settlement(False, redeliver=True)
    statuses = [status for answer in failed for status in answer.parts or (answer.status,)]
    return Settlement(False, redeliver=any(map(_may_pass_later, statuses)))


def settlement_of_failure(status: int | None) -> Settlement:
    """An error came instead of an answer. *status*: of a Ditto error, None: of any other."""
    if status == PRECONDITION_FAILED:
        return SETTLED
    return Settlement(False, redeliver=status is None or _may_pass_later(status))


def _may_pass_later(status: int) -> bool:
    return status in (TIMEOUT, MIXED) or status >= 500


# Which acknowledgements are asked for.


def requested(
    asked: Sequence[str] | None,
    includes: Iterable[str],
    condition: Callable[[str | None], str | None] | None,
) -> list[str] | None:
    """``requested-acks`` of a signal that came through a source; None: not set.

    *asked* is what the signal says itself, None where it says nothing. *condition* is the
    source's filter, given the text it begins with (None: nothing), and gives what remains,
    or None. Raises SignalError when that is no array of labels.
    """
    wanted: list[str] | None = None if asked is None else list(asked)
    if wanted != [] and (more := list(includes)):
        wanted = list(dict.fromkeys([*(wanted or []), *more]))
    if condition is None:
        return wanted
    left = condition(json.dumps(wanted or [], separators=(",", ":")))
    if not left:
        return []
    if wanted is None:
        alone = condition(None)
        return None if alone is None else _labels(alone)
    return _labels(left)


def _labels(text: str) -> list[str]:
    if not text.lstrip().startswith("["):
        raise SignalError(
            "header.invalid",
            f"the filter of acknowledgement requests gives {shown(text)}, expected a JSON array",
            description="let the filter keep, drop or replace the text of the array",
        )
    labels: list[str] = json.loads(CHECKED["requested-acks"]("requested-acks", text))
    return labels


class Request(NamedTuple):
    """What the sender of a command is to get: ``labels`` within ``timeout_ms``."""

    labels: tuple[str, ...]
    response_required: bool
    timeout_ms: int


def request(
    channel: Channel,
    asked: Sequence[str] | None,
    response_required: bool | None,
    timeout_ms: int | None,
) -> Request:
    """How ``requested-acks``, ``response-required`` and ``timeout`` go together; None: not
    set. Raises SignalError where there is no time to wait for what is asked.
    """
    required = timeout_ms != 0 if response_required is None else response_required
    if asked is None:
        labels = [_IMPLICIT[channel]] if required and timeout_ms != 0 else []
    else:
        labels = [label for label in dict.fromkeys(asked) if label not in _FOREIGN[channel]]
        if channel == "live" and asked:
            if not required:
                labels = [label for label in labels if label != "live-response"]
            elif "live-response" not in labels:
                labels.append("live-response")
    if timeout_ms == 0 and (required or labels):
        raise SignalError(
            "header.invalid",
            "the header 'timeout' is 0, expected time for the response or acknowledgements "
            "that are asked for",
            description="raise the timeout, or set response-required to false and "
            "requested-acks to []",
        )
    wait_ms = MAX_TIMEOUT_MS if timeout_ms is None else min(timeout_ms, MAX_TIMEOUT_MS)
    return Request(tuple(labels), required, wait_ms)


# What an endpoint's answer acknowledges.

_JSON_TYPE = re.compile(r"application/(?:.+\+)?json\Z")
_TEXT_TYPE = re.compile(r"text/.*\Z|application/(?:.+\+)?(?:java|ecma)script\Z")
MERGE_PATCH: Final = "application/merge-patch+json"
"""Not parsed: null means something else in it."""
_CHARSET = re.compile(r';\s*charset\s*=\s*"?([^";\s]+)', re.IGNORECASE)
NO_TYPE: Final = "application/octet-stream"
"""What an answer is that does not say what it is."""


def of_http(label: str, status: int, content_type: str | None, body: bytes) -> Acknowledgement:
    """The acknowledgement that an HTTP answer is, whatever its status.

    Raises SignalError when *status* is none of HTTP's, or the body is too long to carry.
    """
    if not 100 <= status <= 599:
        raise SignalError(
            "connectivity:message.sending.failed",
            f"the endpoint answered with the status {status}, expected 100 to 599",
        )
    if len(body) > MAX_PAYLOAD_BYTES:
        raise SignalError(
            "connectivity:message.sending.failed",
            f"the answer of the endpoint has {len(body)} bytes, at most {MAX_PAYLOAD_BYTES} "
            "fit an acknowledgement",
        )
    return Acknowledgement(label, status, payload_of(content_type, body))


def payload_of(content_type: str | None, body: bytes) -> Any:
    """A body as a JSON value: JSON as it is, text as a string, all else as base64."""
    stated = content_type or NO_TYPE
    media = stated.partition(";")[0].strip().lower()
    if media == MERGE_PATCH or _TEXT_TYPE.match(media):
        return _text(stated, body)
    if _JSON_TYPE.match(media):
        text = _text(stated, body)
        try:
            return orjson.loads(text)
        except orjson.JSONDecodeError:
            return text
    return base64.b64encode(body).decode()


def _text(content_type: str, body: bytes) -> str:
    return body.decode(charset_of(content_type), "replace")


def charset_of(content_type: str) -> str:
    """The charset that a content type names, UTF-8 where that is none, or nobody knows it."""
    charset = _CHARSET.search(content_type)
    if charset is None:
        return "utf-8"
    try:
        "".encode(charset[1])
    except (LookupError, ValueError):
        return "utf-8"
    return charset[1]


def of_error(label: str, error: Exception) -> Acknowledgement:
    """What is acknowledged when nothing could be sent, or no answer came.

    The status is that of an error about this message; of any other it is 500.
    """
    status = error.status if isinstance(error, StreamprocError) else 500
    payload = {"message": str(error)}
    details: Mapping[str, object] = error.details if isinstance(error, StreamprocError) else {}
    if isinstance(description := details.get("description"), str):
        payload["description"] = description
    return Acknowledgement(label, status, payload)
