"""``streamproc eval``: the table of operations. Each is a function of one JSON object.

It returns the result (a JSON value) or raises StreamprocError, whose code and text become
the answer. Modules are imported on first use.
"""

from __future__ import annotations

OPS: dict[str, str] = {
    "template": "streamproc.evaluate.template:template",
    "http": "streamproc.evaluate.http:http",
    "hmac": "streamproc.evaluate.hmac:hmac",
    "header-mapping": "streamproc.evaluate.template:header_mapping",
    "enforcement": "streamproc.evaluate.template:enforcement",
    "rql": "streamproc.evaluate.rql:rql",
    "target-topic": "streamproc.evaluate.rql:target_topic",
    "pointer": "streamproc.evaluate.pointer:pointer",
    "topic-path": "streamproc.evaluate.protocol:topic_path",
    "connection": "streamproc.evaluate.connection:connection",
    "acks": "streamproc.evaluate.acks:acknowledgements",
}
