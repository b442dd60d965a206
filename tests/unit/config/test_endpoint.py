"""What a connection says about its endpoint wins over what its service says."""

from __future__ import annotations

import pytest

from streamproc.config.annotation import options
from streamproc.config.connection import Connection
from streamproc.config.endpoint import EndpointOptions, EndpointRules
from streamproc.config.options import options_of
from streamproc.config.service import Breaker, Retry, Service

SERVICE = Service(retry=Retry(max_attempts=7), breaker=Breaker(window_s=5.0))


def rules(**specific: object) -> EndpointRules:
    connection = Connection(id="c", connection_type="http-push", specific_config=specific)
    found = options_of(connection)
    assert isinstance(found, EndpointOptions)
    return EndpointRules.of(SERVICE, found)


def test_without_a_word_of_its_own_the_service_holds() -> None:
    found = rules()
    assert found.retry == SERVICE.retry
    assert found.breaker == SERVICE.breaker
    assert found.max_rate is None
    assert not found.adaptive


@pytest.mark.parametrize("section", ["retry", "breaker"])
def test_every_option_of_the_service_can_be_set_for_a_connection(section: str) -> None:
    for option in options(type(getattr(SERVICE, section))):
        key = section + option.encode_name[0].upper() + option.encode_name[1:]
        value = "off" if option.name == "mode" else 1
        found = getattr(rules(**{key: str(value)}), section)
        assert getattr(found, option.name) == value
        for other in options(type(found)):
            if other.name != option.name:
                assert getattr(found, other.name) == getattr(getattr(SERVICE, section), other.name)


def test_texts_are_read_as_ditto_writes_them() -> None:
    found = rules(maxRate="12.5", adaptive="TRUE", breakerMode=" Off ")
    assert found.max_rate == 12.5
    assert found.adaptive
    assert found.breaker.mode == "off"
