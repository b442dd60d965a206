"""The management port: /metrics, /live, /ready, /status, /parked/replay, and a page for people.

Without authentication, and so bound to this machine unless the operator says otherwise. All but
the replay of parked messages only reads, and no web page can ask for that one. Whatever is
shown has passed the same mask as the log.
"""

from __future__ import annotations

from collections.abc import Callable
from html import escape
from typing import Annotated, Any

import msgspec
import orjson
from aiohttp import web

from streamproc.config.service import Listener
from streamproc.errors import ConfigError
from streamproc.master.listeners import host_port
from streamproc.master.replays import MAX_ENTRIES, Busy, Replays
from streamproc.master.status import View, status, unready
from streamproc.telemetry import events as tell
from streamproc.telemetry.render import Exposition

CLOSE_S = 1.0
MAX_BODY_BYTES = 64 << 10


class ReplayOrder(msgspec.Struct, forbid_unknown_fields=True):
    """The body of POST /parked/replay: ids of entries."""

    entries: Annotated[
        list[Annotated[int, msgspec.Meta(ge=1, le=(1 << 63) - 1)]],
        msgspec.Meta(min_length=1, max_length=MAX_ENTRIES),
    ]


_replay_order = msgspec.json.Decoder(ReplayOrder)


class Management:
    """The HTTP server. ``look`` gives the master at this moment, ``lag_s`` how late it is."""

    def __init__(
        self,
        look: Callable[[], View],
        exposition: Exposition,
        lag_s: Callable[[], float],
        replays: Replays,
    ) -> None:
        self._replays = replays
        self._look = look
        self._exposition = exposition
        self._lag_s = lag_s
        application = web.Application(client_max_size=MAX_BODY_BYTES)
        application.add_routes(
            [
                web.get("/", self._page),
                web.get("/metrics", self._metrics),
                web.get("/live", self._live),
                web.get("/ready", self._ready),
                web.get("/status", self._status),
                web.post("/parked/replay", self._replay),
            ]
        )
        self._runner = web.AppRunner(
            application, access_log=None, handle_signals=False, shutdown_timeout=CLOSE_S
        )

    async def start(self, listener: Listener) -> str:
        """Listen; -> ``host:port``, with the port that was taken where 0 was asked for."""
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, listener.host, listener.port).start()
        except OSError as error:
            await self._runner.cleanup()
            raise ConfigError(
                f"cannot listen on management {listener.host}:{listener.port}: "
                f"{error.strerror or error}"
            ) from error
        host, port, *_ = self._runner.addresses[0]
        return host_port(host, port)

    async def close(self) -> None:
        """Answer what was asked, then let go."""
        await self._runner.cleanup()

    async def _metrics(self, request: web.Request) -> web.Response:
        body, content_type = self._exposition.scrape(request.headers.get("Accept", ""))
        return web.Response(body=body, headers={"Content-Type": content_type})

    async def _live(self, _: web.Request) -> web.Response:
        return _json({"live": True, "lagSeconds": round(self._lag_s(), 3)})

    async def _ready(self, _: web.Request) -> web.Response:
        reasons = unready(self._look())
        return _json({"ready": not reasons, "reasons": reasons}, 503 if reasons else 200)

    async def _status(self, _: web.Request) -> web.Response:
        return _json(status(self._look()))

    async def _replay(self, request: web.Request) -> web.Response:
        """Send parked entries again; answers with their ids by outcome."""
        # A browser says where a page comes from, and asks before it sends JSON elsewhere.
        if "Origin" in request.headers or request.content_type != "application/json":
            return _refused(403, "expected application/json, and no Origin header")
        try:
            order = _replay_order.decode(await request.read())
        except msgspec.MsgspecError as error:
            return _refused(400, f"expected the ids of at most {MAX_ENTRIES} entries: {error}")
        try:
            return _json({"outcomes": await self._replays.replay(order.entries)})
        except Busy:
            return _refused(429, "too many replays at a time")

    async def _page(self, _: web.Request) -> web.Response:
        shown = tell.masked(status(self._look()))
        assert isinstance(shown, dict)
        return web.Response(text=page(shown), content_type="text/html")


def _refused(code: int, message: str) -> web.Response:
    return _json({"status": code, "error": "request.refused", "message": message}, code)


def _json(value: dict[str, Any], code: int = 200) -> web.Response:
    body = orjson.dumps(tell.masked(value), option=orjson.OPT_INDENT_2)
    return web.Response(body=body + b"\n", status=code, content_type="application/json")


def page(shown: dict[str, Any]) -> str:
    """The answer of /status as a page that keeps itself fresh."""
    service = shown["service"]
    ready = "ready" if service["ready"] else "not ready"
    workers = _table(
        ("worker", "pid", "state", "since", "restarts", "cpu s", "rss MiB"),
        [
            (
                worker["index"],
                worker["pid"],
                worker["state"],
                worker["since"],
                worker["restarts"],
                worker.get("cpuSeconds"),
                worker.get("rssBytes", 0) >> 20,
            )
            for worker in shown["workers"]
        ],
    )
    keys = ("connection", "index", "worker", "desired", "live", "since", "error")
    clients = _table(keys, [[each.get(key) for key in keys] for each in shown["clients"]])
    totals = _table(("total", "value"), list(shown["totals"].items()))
    links = " ".join(
        f'<a href="{path}">{path}</a>' for path in ("/status", "/metrics", "/ready", "/live")
    )
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta http-equiv="refresh" content="2">
<title>streamproc: {escape(ready)}</title>
<style>
body {{ font: 14px sans-serif; margin: 2em; }}
table {{ border-collapse: collapse; margin: 1em 0; }}
td, th {{ border: 1px solid #ccc; padding: 2px 8px; text-align: left; }}
</style></head>
<body><h1>streamproc {escape(str(service["version"]))}: {escape(service["state"])}, {ready}</h1>
<p>{links}</p>
{workers}
{clients}
{totals}
</body></html>
"""


def _table(heads: Any, rows: Any) -> str:
    def row(tag: str, cells: Any) -> str:
        texts = ("" if cell is None else escape(str(cell)) for cell in cells)
        return "<tr>" + "".join(f"<{tag}>{text}</{tag}>" for text in texts) + "</tr>"

    return "<table>" + row("th", heads) + "".join(row("td", cells) for cells in rows) + "</table>"
