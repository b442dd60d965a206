"""Everything that the service has to say: one function per event.

Lines are for changes of state and for failures, with counts, never for single messages that
went well: those are counted in slots, by who handles them. ERROR means that a person must
act, WARNING that something was refused, lost or tried again, INFO is life cycle, DEBUG is for
developers. ``configure`` is called once by each process before anything happens.
"""

from __future__ import annotations

import signal
from collections.abc import Iterable, Mapping
from typing import Any

import structlog

from streamproc.config.service import Log
from streamproc.errors import StreamprocError
from streamproc.telemetry.logs import Output, standard

_log = structlog.get_logger()
_output: list[Output] = []


def configure(log: Log, process: str) -> None:
    """Write the log of *process* (``master``, ``worker 3``) as *log* says, from now on.

    Called again with the same words it does nothing; what was hidden stays hidden.
    """
    before = _output[:]
    if before and before[0].made_of == (log, process):
        return
    _output[:] = [standard(log, process)]
    for output in before:
        hide(output.secrets)


def hide(secrets: Iterable[str]) -> None:
    """Values that no line may show (``redact.secrets_of``)."""
    for output in _output:
        output.hide(secrets)


def masked(value: object) -> object:
    """*value*, a JSON-like tree, as it may be shown to anyone."""
    for output in _output:
        return output.masked(value)
    return value


def flush() -> None:
    """Tell what was held back by the rate limit. Call it every few seconds."""
    for output in _output:
        output.flush()


# The service


def service_started(version: str, workers: int, connections: int, runtime_dir: str) -> None:
    """The master runs; workers are being started."""
    _log.info(
        "service_started",
        version=version,
        workers=workers,
        connections=connections,
        runtime_dir=runtime_dir,
    )


def service_stopping(cause: str, drain_s: float) -> None:
    """Sources stop; what is under way has *drain_s* to arrive."""
    _log.info("service_stopping", cause=cause, drain_s=drain_s)


def service_stopped(reason: str, *, clean: bool) -> None:
    """The last line. Not clean: something was killed, or left unsettled for its broker."""
    (_log.info if clean else _log.error)("service_stopped", reason=reason, clean=clean)


def management_listening(url: str) -> None:
    """Where /status and /metrics are."""
    _log.info("management_listening", url=url)


def listener_opened(name: str, address: str) -> None:
    """A socket for http-ingest connections listens."""
    _log.info("listener_opened", name=name, address=address)


def listener_closed(name: str) -> None:
    """No connection wants it any more."""
    _log.info("listener_closed", name=name)


def config_loaded(
    generation: int, added: list[str], changed: list[str], removed: list[str]
) -> None:
    """A configuration was taken; only these connections are touched."""
    _log.info("config_loaded", generation=generation, added=added, changed=changed, removed=removed)


def config_refused(problems: list[str]) -> None:
    """A reload failed; the service goes on as before."""
    _log.error("config_refused", problems=problems)


def config_warned(warning: str) -> None:
    """Something in the configuration works, and not as it may seem."""
    _log.warning("config_warned", warning=warning)


def setting_needs_restart(setting: str) -> None:
    """A reload changed what only a new start can change."""
    _log.warning("setting_needs_restart", setting=setting)


# Workers


def worker_started(worker: int, pid: int) -> None:
    """A process was started."""
    _log.info("worker_started", worker=worker, pid=pid)


def worker_ready(worker: int, pid: int, seconds: float) -> None:
    """It can take clients, *seconds* after its start."""
    _log.info("worker_ready", worker=worker, pid=pid, seconds=round(seconds, 3))


def worker_ended(worker: int, pid: int, left: int | None) -> None:
    """It ended as asked. *left*: messages it had not settled; None when it did not say."""
    (_log.warning if left else _log.info)("worker_ended", worker=worker, pid=pid, left=left)


def worker_died(
    worker: int, pid: int, exit_code: int, crashes: int, messages: float, deliveries: float
) -> None:
    """Nobody asked it to. The *messages* it had will come again from their brokers."""
    _log.error(
        "worker_died",
        worker=worker,
        pid=pid,
        cause=exit_cause(exit_code),
        crashes=crashes,
        messages_returned=int(messages),
        deliveries_returned=int(deliveries),
    )


def worker_restart_scheduled(worker: int, delay_s: float) -> None:
    """It died again soon, so its next start waits."""
    _log.warning("worker_restart_scheduled", worker=worker, delay_s=round(delay_s, 3))


def worker_barred(worker: int) -> None:
    """It said that no restart can help, so it gets none."""
    _log.error("worker_barred", worker=worker)


def worker_start_failed(worker: int, error: str) -> None:
    """The operating system would not start the process."""
    _log.error("worker_start_failed", worker=worker, error=error)


def worker_terminated(worker: int, pid: int, reason: str) -> None:
    """It does not answer, or not sensibly, and was told to end."""
    _log.error("worker_terminated", worker=worker, pid=pid, reason=reason)


def worker_killed(worker: int, pid: int, reason: str) -> None:
    """It did not end in time."""
    _log.error("worker_killed", worker=worker, pid=pid, reason=reason)


def crash_limit_reached(worker: int, crashes: int) -> None:
    """One worker died so often in a row that the service gives up."""
    _log.error("crash_limit_reached", worker=worker, crashes=crashes)


def master_lost(worker: int) -> None:
    """Said by a worker: the master is gone, so it drains and ends."""
    _log.error("master_lost", worker=worker)


# Clients and links


def client_assigned(connection: str, client: int, worker: int) -> None:
    """A worker was told to run it."""
    _log.info("client_assigned", connection=connection, client=client, worker=worker)


def client_withdrawn(connection: str, client: int, worker: int) -> None:
    """Its worker was told to drain and close it."""
    _log.info("client_withdrawn", connection=connection, client=client, worker=worker)


def client_state_changed(
    connection: str, client: int, worker: int, state: str, error: str | None = None
) -> None:
    """All its links are up, or one is not."""
    bad = state in ("held", "failed", "misconfigured")
    (_log.warning if bad else _log.info)(
        "client_state_changed",
        connection=connection,
        client=client,
        worker=worker,
        state=state,
        **_error(error),
    )


def link_state_changed(
    connection: str, client: int, link: str, state: str, error: str | None = None
) -> None:
    """One end of a client was opened, or lost."""
    bad = state in ("held", "failed", "misconfigured")
    (_log.warning if bad else _log.info)(
        "link_state_changed",
        connection=connection,
        client=client,
        link=link,
        state=state,
        **_error(error),
    )


# Messages and deliveries, by the batch


def message_rejected(connection: str, source: str, error: StreamprocError, count: int) -> None:
    """*count* messages of a batch could not be processed; *error* is that of the first."""
    _log.warning(
        "message_rejected",
        connection=connection,
        source=source,
        cause=error.code,
        error=str(error),
        count=count,
    )


def acknowledgement_failed(
    connection: str, source: str, answers: Mapping[str, Mapping[str, Any]], count: int, again: int
) -> None:
    """*count* messages did not get the acknowledgements they asked for; those of the first are
    *answers*. Of them *again* are sent again by the source."""
    _log.warning(
        "acknowledgement_failed",
        connection=connection,
        source=source,
        statuses={label: answer["status"] for label, answer in answers.items()},
        count=count,
        redelivered=again,
    )


def source_noted(connection: str, source: str, note: str) -> None:
    """A connector found something odd that stops nothing."""
    _log.warning("source_noted", connection=connection, source=source, note=note)


def message_returned(connection: str, source: str, count: int) -> None:
    """A link was lost with *count* messages unsettled; the source sends them again."""
    _log.warning("message_returned", connection=connection, source=source, count=count)


def delivery_dropped(connection: str, target: int, cause: str, count: int) -> None:
    """The target's address did not resolve for *count* signals (Ditto's rule)."""
    _log.warning("delivery_dropped", connection=connection, target=target, cause=cause, count=count)


def delivery_retried(
    connection: str, target: int, cause: str, error: str, count: int, delay_s: float
) -> None:
    """*count* writes failed and are made again after *delay_s*."""
    _log.warning(
        "delivery_retried",
        connection=connection,
        target=target,
        cause=cause,
        error=error,
        count=count,
        delay_s=round(delay_s, 3),
    )


def delivery_parked(connection: str, target: int, cause: str, error: str, count: int) -> None:
    """*count* messages were put away for a person to look at."""
    _log.error(
        "delivery_parked",
        connection=connection,
        target=target,
        cause=cause,
        error=error,
        count=count,
    )


def place_suspected(place: str) -> None:
    """A worker died while it had messages of *place* in hand: they are handled one by one."""
    _log.warning("place_suspected", place=place)


def place_cleared(place: str) -> None:
    """What was handled one by one did no harm; batches again."""
    _log.info("place_cleared", place=place)


def message_poisoned(connection: str, source: str) -> None:
    """Workers died with this message in hand; it is parked, and was not processed."""
    _log.error("message_poisoned", connection=connection, source=source)


def poison_unknown(error: str) -> None:
    """The files that say what workers die of cannot be used."""
    _log.error("poison_unknown", error=error)


def spill_failed(error: str) -> None:
    """The disk does not take what a slow target leaves waiting; it waits in memory."""
    _log.error("spill_failed", error=error)


def spill_parked(connection: str, count: int, left: int) -> None:
    """A client is no longer configured: *count* messages it had on disk are parked; *left* found
    no room, and are on disk still.
    """
    _log.error("spill_parked", connection=connection, count=count, left=left)


def parked_expired(count: int) -> None:
    """*count* parked messages were dropped because of their age, as configured."""
    _log.warning("parked_expired", count=count)


def parking_full(messages: int, size: int) -> None:
    """No message can be parked: deliveries that should be wait in their lanes."""
    _log.error("parking_full", messages=messages, bytes_used=size)


def parking_failed(error: str) -> None:
    """The store of parked messages cannot be written; they wait in their lanes."""
    _log.error("parking_failed", error=error)


# The bus


def peer_joined(worker: int, peer: int) -> None:
    """The bus to another worker is up."""
    _log.info("peer_joined", worker=worker, peer=peer)


def peer_lost(worker: int, peer: int, reopened: int) -> None:
    """It is down; *reopened* deliveries without a receipt will be sent again."""
    _log.warning("peer_lost", worker=worker, peer=peer, reopened=reopened)


def peer_silent(worker: int, client: str, reopened: int) -> None:
    """It does not say what became of *reopened* deliveries to *client*, which has left it."""
    _log.warning("peer_silent", worker=worker, client=client, reopened=reopened)


# Bugs


def failed_unexpectedly(where: str, error: BaseException) -> None:
    """A bug of ours, with its traceback."""
    _log.error("failed_unexpectedly", where=where, exc_info=error)


def exit_cause(exit_code: int) -> str:
    """In words: how a process ended."""
    if exit_code >= 0:
        return f"exit code {exit_code}"
    name = signal.Signals(-exit_code).name
    hint = ", perhaps out of memory" if name == "SIGKILL" else ""
    return f"{name}{hint}"


def _error(error: str | None) -> dict[str, str]:
    return {} if error is None else {"error": error}
