"""``streamproc parked``: the dead-letter store, listed, shown, sent again and dropped by hand."""

from __future__ import annotations

import argparse
import base64
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson

from streamproc.cli import replay
from streamproc.config.duration import seconds
from streamproc.config.load import load
from streamproc.config.service import Service
from streamproc.errors import ConfigError
from streamproc.store.environment import DATA_FILE
from streamproc.store.parked import Parked, ParkedStore, parked_folder, parked_store
from streamproc.telemetry.redact import Text, mask, secrets_of, text_filter

EXIT_FAILED = 1
EXIT_REFUSED = 2
DROPPED_AT_ONCE = 500

_EXAMPLES = """\
examples:
  streamproc parked list --config service.yaml --connection push --since 2h
  streamproc parked show 42 --config service.yaml
  streamproc parked replay --config service.yaml --reason delivery_refused --rate 50/s
  streamproc parked replay 42 43 --config service.yaml
  streamproc parked drop --config service.yaml --before 2026-01-31 --yes

list, show and drop read the store itself, whether the service runs or not. replay asks the
running service: a message leaves the store when its target has it (or the queue on disk in front
of it), and stays, with the new reason, when it fails again.
"""


def main(argv: list[str]) -> int:
    """Run one of the four; 0 when all that was asked for is done."""
    parser = _parser()
    options = parser.parse_args(argv)
    if options.action in ("replay", "drop"):
        by_filter = any(getattr(options, name) is not None for name in _FILTERS)
        if sum((bool(options.ids), by_filter, options.all)) != 1:
            parser.error("expected ids, or a filter, or --all, and one of these alone")
    service = _service(options)
    # Looking must not make folders where none are.
    if not (parked_folder(service) / DATA_FILE).is_file():
        print(f"nothing was ever parked in {service.data_dir}", file=sys.stderr)
        return 0 if options.action == "list" else EXIT_FAILED
    store = parked_store(service)
    try:
        run: Callable[[argparse.Namespace, Service, ParkedStore], int] = options.run
        return run(options, service, store)
    finally:
        store.close()


def _list(options: argparse.Namespace, service: Service, store: ParkedStore) -> int:
    shown, last = 0, options.after
    hidden = text_filter(secrets_of(service.connections, service))
    for number, entry in store.select(_filter(options), after=options.after):
        if shown == options.limit:
            print(f"there are more: --after {last}, or a larger --limit", file=sys.stderr)
            break
        if options.json:
            _write(orjson.dumps(_as_json(number, entry, hidden)) + b"\n")
        else:
            if not shown:
                print(_ROW.format(*_HEADS).rstrip())
            print(_ROW.format(*_cells(number, entry, hidden)).rstrip())
        shown += 1
        last = number
    if not options.json:
        messages, size, _oldest = store.totals()
        print(f"{shown} shown; {messages} parked, {size} bytes", file=sys.stderr)
    return 0


def _show(options: argparse.Namespace, service: Service, store: ParkedStore) -> int:
    entry = store.get(options.id)
    if entry is None:
        print(f"there is no parked message {options.id}", file=sys.stderr)
        return EXIT_FAILED
    if options.payload:
        _write(entry.payload)
        return 0
    hidden = text_filter(secrets_of(service.connections, service))
    shown = _as_json(options.id, entry, hidden) | _payload(entry.payload)
    _write(orjson.dumps(shown, option=orjson.OPT_INDENT_2) + b"\n")
    return 0


def _replay(options: argparse.Namespace, service: Service, store: ParkedStore) -> int:
    numbers, without_target = [], 0
    for number, entry in _selected(options, store):
        if entry.target < 0:
            without_target += 1
        else:
            numbers.append(number)
    if without_target:
        print(
            f"{without_target} were parked before they were for any target, and cannot be "
            "replayed: give them to their source again",
            file=sys.stderr,
        )
    url = options.url or replay.management_url(service, options.runtime_dir)
    done = replay.replay(numbers, replay.poster(url), rate=options.rate, wait_s=options.wait)
    return 0 if done and not without_target else EXIT_FAILED


def _drop(options: argparse.Namespace, _: Service, store: ParkedStore) -> int:
    numbers = [number for number, _ in _selected(options, store)]
    if numbers and not options.yes:
        if not sys.stdin.isatty():
            print(f"would drop {len(numbers)}: say --yes to do so", file=sys.stderr)
            return EXIT_REFUSED
        if input(f"drop {len(numbers)} parked messages for good? [y/N] ").strip() != "y":
            return EXIT_REFUSED
    dropped = 0
    for start in range(0, len(numbers), DROPPED_AT_ONCE):
        dropped += store.drop(numbers[start : start + DROPPED_AT_ONCE])
    print(f"dropped {dropped}")
    return 0


def _selected(options: argparse.Namespace, store: ParkedStore) -> Iterator[tuple[int, Parked]]:
    """By id, or by what is asked for; oldest first."""
    if not options.ids:
        yield from store.select(_filter(options))
        return
    for number in sorted(set(options.ids)):
        entry = store.get(number)
        if entry is None:
            print(f"there is no parked message {number}", file=sys.stderr)
        else:
            yield number, entry


def _filter(options: argparse.Namespace) -> Callable[[Parked], bool]:
    def wanted(entry: Parked) -> bool:
        return (
            options.connection in (None, entry.connection)
            and options.reason in (None, entry.reason)
            and options.key in (None, entry.key)
            and (options.since is None or entry.time >= options.since)
            and (options.before is None or entry.time < options.before)
        )

    return wanted


# What is shown.

_HEADS = ("id", "parked at", "connection", "reason", "tries", "bytes", "key", "why")
_ROW = "{:<6}  {:<20}  {:<16}  {:<18}  {:>5}  {:>7}  {:<24}  {}"


def _cells(number: int, entry: Parked, hidden: Text) -> Sequence[object]:
    where = entry.connection if entry.target < 0 else f"{entry.connection}/{entry.target}"
    return (
        number,
        _iso(entry.time),
        _printable(where),
        _printable(entry.reason),
        entry.attempts,
        len(entry.payload),
        _printable(entry.key),
        _printable(hidden(entry.message))[:100],
    )


def _as_json(number: int, entry: Parked, hidden: Text) -> dict[str, Any]:
    """Without the secrets that were made for its target; the payload is the message itself."""
    return {
        "id": number,
        "time": _iso(entry.time),
        "connection": entry.connection,
        "target": entry.target if entry.target >= 0 else None,
        "reason": entry.reason,
        "message": hidden(entry.message),
        "attempts": entry.attempts,
        "address": hidden(entry.address),
        "key": entry.key,
        "headers": mask(entry.headers, hidden),
        "bytes": len(entry.payload),
    }


def _payload(payload: bytes) -> dict[str, Any]:
    """As JSON where it is JSON, as text where it is text."""
    try:
        return {"payload": orjson.loads(payload)}
    except orjson.JSONDecodeError:
        pass
    try:
        return {"payload": payload.decode()}
    except UnicodeDecodeError:
        return {"payloadBase64": base64.b64encode(payload).decode()}


def _iso(epoch: float) -> str:
    return datetime.fromtimestamp(epoch, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _printable(text: str) -> str:
    """What others wrote must not steer a terminal."""
    return "".join(c if c.isprintable() else "?" for c in text)


def _write(data: bytes) -> None:
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()


# Where the store is, and what is asked for.


def _service(options: argparse.Namespace) -> Service:
    """As far as the store and the management port need it; the rest may be wrong."""
    if options.data_dir is not None:
        return Service(data_dir=str(options.data_dir))
    loaded = load(options.config, os.environ)
    for problem in loaded.problems:
        if problem.path == "$" or problem.path.startswith(_NEEDED):
            raise ConfigError(str(problem))
    return loaded.read


_NEEDED = ("$.dataDir", "$.limits", "$.management")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="streamproc parked",
        description="Messages that a target refused for good, with the reason.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")

    def action(
        name: str, run: Callable[[argparse.Namespace, Service, ParkedStore], int], text: str
    ) -> argparse.ArgumentParser:
        made = actions.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
        made.set_defaults(run=run)
        place = made.add_mutually_exclusive_group(required=True)
        place.add_argument("--config", type=Path, metavar="FILE", help="the service's YAML file")
        place.add_argument("--data-dir", type=Path, metavar="DIR", help="its data directory")
        return made

    listing = action("list", _list, "list what is parked, oldest first")
    _add_filter(listing)
    listing.add_argument("--limit", type=_count, default=100, metavar="N", help="default: 100")
    listing.add_argument("--after", type=int, default=0, metavar="ID", help="only later ones")
    listing.add_argument("--json", action="store_true", help="one JSON object a line")

    showing = action("show", _show, "show one of them, with headers and payload")
    showing.add_argument("id", type=_count, metavar="ID")
    showing.add_argument("--payload", action="store_true", help="the payload alone, as it is")

    replaying = action("replay", _replay, "have the running service send them again")
    _add_selection(replaying)
    replaying.add_argument("--rate", type=_rate, metavar="N/s", help="at most so many a second")
    replaying.add_argument(
        "--wait",
        type=float,
        default=60.0,
        metavar="S",
        help="give up when nothing has happened for so long; default: 60",
    )
    replaying.add_argument("--url", help="of the management port; default: as in FILE")
    replaying.add_argument(
        "--runtime-dir", type=Path, metavar="DIR", help="that of the service, to find the port"
    )

    dropping = action("drop", _drop, "forget them for good")
    _add_selection(dropping)
    dropping.add_argument("--yes", action="store_true", help="do not ask")
    return parser


_FILTERS = ("connection", "reason", "key", "since", "before")


def _add_filter(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--connection", metavar="C", help="those for this connection")
    parser.add_argument("--reason", metavar="R", help="those with this code")
    parser.add_argument("--key", metavar="K", help="those with this ordering key: a thing's id")
    parser.add_argument(
        "--since", type=_moment, metavar="T", help="parked since then: 2h ago as 2h, or ISO 8601"
    )
    parser.add_argument("--before", type=_moment, metavar="T", help="parked before then")


def _add_selection(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("ids", nargs="*", type=_count, metavar="ID")
    _add_filter(parser)
    parser.add_argument("--all", action="store_true", help="all that is parked")


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 0 < int(text) < 1 << 63):
        raise argparse.ArgumentTypeError(f"expected a whole number above 0, found {text!r}")
    return int(text)


def _rate(text: str) -> float:
    try:
        rate = float(text.removesuffix("/s"))
    except ValueError:
        rate = 0.0
    if not 0 < rate < 1e6:
        raise argparse.ArgumentTypeError(f"expected a rate such as 50/s, found {text!r}")
    return rate


def _moment(text: str) -> float:
    """Epoch seconds."""
    ago_s = seconds(text) if text[-1:].isalpha() else None
    if ago_s is not None:
        return datetime.now(UTC).timestamp() - ago_s
    try:
        return datetime.fromisoformat(text).timestamp()  # without a zone: local time
    except (ValueError, OverflowError):
        raise argparse.ArgumentTypeError(
            f"expected a time such as 2h, 2026-01-31 or 2026-01-31T12:00:00Z, found {text!r}"
        ) from None
