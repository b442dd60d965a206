"""Ditto's ``hmac`` credentials: which algorithms there are, and the signer of each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from streamproc.connectors.http_push.auth.aws4 import aws4
from streamproc.connectors.http_push.auth.azure import az_monitor, az_sasl
from streamproc.connectors.http_push.auth.signing import ParameterInvalid, Signer
from streamproc.errors import ConfigError

ALGORITHMS: dict[str, Callable[[Mapping[str, Any]], Signer]] = {
    "aws4-hmac-sha256": aws4,
    "az-monitor-2016-04-01": az_monitor,
    "az-sasl": az_sasl,
}


def hmac_signer(algorithm: object, parameters: object) -> Signer:
    """Signs as ``credentials`` say. Raises ConfigError, which repeats no secret."""
    make = ALGORITHMS.get(algorithm) if isinstance(algorithm, str) else None
    if make is None:
        raise ConfigError(f"hmac has the algorithms {', '.join(ALGORITHMS)}")
    if not isinstance(parameters, Mapping):
        raise ParameterInvalid("json.field.missing", "'parameters' is missing, expected a mapping")
    return make(parameters)
