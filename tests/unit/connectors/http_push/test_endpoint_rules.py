"""The rules of a connection about its endpoint, on the wire."""

from __future__ import annotations

from streamproc.errors import DeliveryFailed, DeliveryRefused, EndpointGone
from tests.conformance.far_http import NO_CONTENT, Then
from tests.conformance.runner import eventually
from tests.unit.connectors.http_push.test_client import push

CONFLICT = b"HTTP/1.1 409 Conflict\r\nContent-Length: 0\r\n\r\n"
BUSY = b"HTTP/1.1 429 Busy\r\nRetry-After: 60\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
GONE = b"HTTP/1.1 410 Gone\r\nContent-Length: 0\r\n\r\n"


async def test_another_status_can_be_a_success_again_and_again() -> None:
    async with push(CONFLICT, success_status="2xx,409") as end:
        for _ in range(3):
            await end.send()
        assert len(end.tally.done) == 3
        assert len(end.server.requests) == 3


async def test_a_2xx_need_not_be_a_success() -> None:
    async with push(NO_CONTENT, success_status="200") as end:
        await end.send()
        await end.send()
        assert not end.tally.done
        assert all(isinstance(error, DeliveryRefused) for _, error in end.tally.refused)


async def test_410_is_told_as_such() -> None:
    async with push(GONE) as end:
        await end.send()
        assert isinstance(end.error, EndpointGone)


async def test_what_waits_for_a_connection_does_not_go_when_the_endpoint_asks_for_time() -> None:
    async with push(BUSY, parallelism=1) as end:
        end.write(3)
        await end.tally.all_in()
        assert len(end.server.requests) == 1
        errors = [error for _, error in end.tally.refused]
        assert all(isinstance(error, DeliveryFailed) for error in errors)
        assert [error.retry_after_s for error in errors] == [60.0] * 3
        assert sorted("unsent" in error.details for error in errors) == [False, True, True]
        assert sorted(d.attempts for d, _ in end.tally.refused) == [-1, -1, 0]
        await end.send()  # the lanes write again when the gate lets them
        assert len(end.server.requests) == 2


async def test_a_post_whose_answer_broke_is_parked_where_that_is_wanted() -> None:
    async with push([b"HTTP/1.1 200 OK\r\nContent-", Then.CLOSE], retry_in_doubt=False) as end:
        await end.send()
        assert isinstance(end.error, DeliveryRefused)
        assert "the endpoint may have it" in str(end.error)


async def test_a_post_unread_on_a_kept_connection_is_sent_once_where_that_is_wanted() -> None:
    async with push(NO_CONTENT, [Then.CLOSE], NO_CONTENT, retry_in_doubt=False) as end:
        await end.send()
        await end.send()
        await eventually(lambda: bool(end.tally.refused), "a receipt")
        assert isinstance(end.error, DeliveryRefused)
        assert len(end.server.requests) == 2
