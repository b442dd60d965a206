"""What a connection may say about its endpoint, and the rules in force for it.

Every retry and breaker option of the service can be set for one connection as well: under the
section's name and its own, as ``retryMaxAttempts``, flat, since Ditto keeps specificConfig flat.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal, TypeVar

import msgspec
from msgspec import Meta

from streamproc.config.section import Section
from streamproc.config.service import Breaker, Retry, Service
from streamproc.config.statuses import Meaning

S = TypeVar("S", Retry, Breaker)


class EndpointOptions(Section, frozen=True, kw_only=True):
    """Options of connections that push to an endpoint. null: as the service says."""

    retry_first_delay_s: Annotated[
        Annotated[float, Meta(gt=0)] | None, Meta(description="`retry.firstDelayS`.")
    ] = None
    retry_max_delay_s: Annotated[
        Annotated[float, Meta(gt=0)] | None, Meta(description="`retry.maxDelayS`.")
    ] = None
    retry_max_attempts: Annotated[
        Annotated[int, Meta(ge=1)] | None, Meta(description="`retry.maxAttempts`.")
    ] = None
    retry_max_age_s: Annotated[
        Annotated[float, Meta(gt=0)] | None, Meta(description="`retry.maxAgeS`.")
    ] = None
    retry_max_retry_after_s: Annotated[
        Annotated[float, Meta(ge=0)] | None, Meta(description="`retry.maxRetryAfterS`.")
    ] = None
    retry_budget_ratio: Annotated[
        Annotated[float, Meta(ge=0, le=1)] | None, Meta(description="`retry.budgetRatio`.")
    ] = None
    retry_budget_per_s: Annotated[
        Annotated[float, Meta(gt=0)] | None, Meta(description="`retry.budgetPerS`.")
    ] = None
    breaker_mode: Annotated[Literal["on", "off"] | None, Meta(description="`breaker.mode`.")] = None
    breaker_failure_ratio: Annotated[
        Annotated[float, Meta(gt=0, le=1)] | None, Meta(description="`breaker.failureRatio`.")
    ] = None
    breaker_min_requests: Annotated[
        Annotated[int, Meta(ge=1)] | None, Meta(description="`breaker.minRequests`.")
    ] = None
    breaker_window_s: Annotated[
        Annotated[float, Meta(gt=0)] | None, Meta(description="`breaker.windowS`.")
    ] = None
    breaker_first_open_s: Annotated[
        Annotated[float, Meta(gt=0)] | None, Meta(description="`breaker.firstOpenS`.")
    ] = None
    breaker_max_open_s: Annotated[
        Annotated[float, Meta(gt=0)] | None, Meta(description="`breaker.maxOpenS`.")
    ] = None
    breaker_probes: Annotated[
        Annotated[int, Meta(ge=1)] | None, Meta(description="`breaker.probes`.")
    ] = None
    retry_in_doubt: Annotated[
        bool,
        Meta(
            description="Send a message again when its request was not answered, so that the "
            "endpoint may get it twice. false: requests that are not idempotent (POST and PATCH "
            "without an `idempotency-key` header) are parked then."
        ),
    ] = True
    success_status: Annotated[
        str | list[str], Meta(description="Statuses that mean that the endpoint has the message.")
    ] = "2xx"
    retry_status: Annotated[
        str | list[str],
        Meta(
            description="Statuses after which a message is tried again.",
            examples=["408,425,429,5xx", "429,502-504"],
        ),
    ] = "408,425,429,5xx"
    permanent_status: Annotated[
        str | list[str],
        Meta(
            description="Statuses after which a message is parked at once. So is it after any "
            "that no other list has; what is named here beats a class elsewhere."
        ),
    ] = "501,505"
    stop_status: Annotated[
        str | list[str],
        Meta(
            description="Statuses after which nothing is sent to the endpoint, and all is kept, "
            "until a person acts. Empty: none."
        ),
    ] = "410"
    max_rate: Annotated[
        Annotated[float, Meta(gt=0)] | None,
        Meta(description="Most messages a second, shared by the connection's clients; null: any."),
    ] = None
    adaptive: Annotated[
        bool,
        Meta(
            description="Find out how many requests at once the endpoint bears, up to as many as "
            "there may be, from how long its answers take."
        ),
    ] = False

    @property
    def statuses(self) -> dict[Meaning, str | list[str]]:
        """The four sets of statuses, as written."""
        return {
            "success": self.success_status,
            "retry": self.retry_status,
            "permanent": self.permanent_status,
            "stop": self.stop_status,
        }


@dataclass(frozen=True, kw_only=True)
class EndpointRules:
    """What is in force: the connection's word, else the service's."""

    retry: Retry
    breaker: Breaker
    max_rate: float | None
    adaptive: bool

    @classmethod
    def of(cls, service: Service, options: EndpointOptions) -> EndpointRules:
        return cls(
            retry=_overridden("retry", service.retry, options),
            breaker=_overridden("breaker", service.breaker, options),
            max_rate=options.max_rate,
            adaptive=options.adaptive,
        )


def _overridden(name: str, section: S, options: EndpointOptions) -> S:
    given = {
        field: value
        for field in section.__struct_fields__
        if (value := getattr(options, f"{name}_{field}")) is not None
    }
    return msgspec.structs.replace(section, **given)
