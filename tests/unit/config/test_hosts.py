"""Which hosts may be reached; names are looked up by a resolver of the test's."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import pytest

from streamproc.config import hosts
from streamproc.config.hosts import HostCheck, system_resolver
from streamproc.config.service import Hosts

NAMES = {
    "public.example": ["93.184.216.34"],
    "inner.example": ["93.184.216.34", "10.1.2.3"],
    "bad.example": ["198.51.100.7"],
    "alias.example": ["198.51.100.7"],
    "meta.example": ["169.254.169.254"],
}


class Resolver:
    def __init__(self) -> None:
        self.asked: list[str] = []

    def __call__(self, host: str, within_s: float) -> Sequence[str]:
        self.asked.append(host)
        if host not in NAMES:
            raise OSError("it has no address")
        return NAMES[host]


def refusal(host: str, **rules: object) -> str:
    return HostCheck(Hosts(**rules), Resolver()).refusal(host)  # type: ignore[arg-type]


def test_without_rules_nothing_is_refused_and_nothing_looked_up() -> None:
    resolver = Resolver()
    check = HostCheck(Hosts(allowed=["x"]), resolver)
    assert not check.refusal("127.0.0.1")
    assert not check.refusal("nowhere.example")
    assert resolver.asked == []


@pytest.mark.parametrize(
    "rules",
    [
        {"blocked": ["bad.example"]},
        {"blocked_subnets": ["198.51.100.0/24"]},
        {"blocked_regex": r".*\.forbidden"},
    ],
)
@pytest.mark.parametrize(
    ("host", "words"),
    [
        ("public.example", ""),
        ("93.184.216.34", ""),
        ("127.0.0.1", "loopback"),
        ("127.1.2.3", "loopback"),
        ("::1", "loopback"),
        ("[::1]", "loopback"),
        ("::ffff:127.0.0.1", "loopback"),
        ("0.0.0.0", "wildcard"),
        ("::", "wildcard"),
        ("224.0.0.1", "multicast"),
        ("ff02::1", "multicast"),
        ("10.0.0.1", "private"),
        ("172.31.0.1", "private"),
        ("172.32.0.1", ""),
        ("192.168.1.1", "private"),
        ("fec0::1", "private"),
        ("meta.example", "link-local"),
        ("inner.example", "private"),
        ("nowhere.example", "cannot be resolved"),
    ],
)
def test_any_one_rule_refuses_what_is_not_public(
    rules: dict[str, object], host: str, words: str
) -> None:
    found = refusal(host, **rules)
    assert words in found
    assert bool(found) == bool(words)


def test_a_blocked_name_is_refused_and_so_are_its_addresses() -> None:
    assert refusal("BAD.example.", blocked=["bad.example"]) == "a host that is blocked"
    assert "blocked address" in refusal("alias.example", blocked=["bad.example"])
    assert "blocked address" in refusal("198.51.100.7", blocked=["bad.example"])
    assert "blocked" in refusal("8.8.8.8", blocked=["8.8.8.8"])


def test_a_subnet_and_a_pattern_are_refused() -> None:
    assert "subnet" in refusal("alias.example", blocked_subnets=["198.51.100.0/24"])
    assert not refusal("public.example", blocked_subnets=["198.51.100.0/24", "2001:db8::/32"])
    assert "pattern" in refusal("a.forbidden", blocked_regex=r".*\.forbidden")
    assert "pattern" not in refusal("a.forbidden.example", blocked_regex=r".*\.forbidden")


def test_what_is_allowed_by_name_passes_everything() -> None:
    rules = {"allowed": ["Localhost", "10.1.1.1"], "blocked": ["localhost"], "blocked_regex": ".*"}
    assert not refusal("localhost", **rules)
    assert not refusal("10.1.1.1", **rules)
    assert refusal("public.example", **rules)


def test_each_name_is_looked_up_once() -> None:
    resolver = Resolver()
    check = HostCheck(Hosts(blocked=["bad.example"]), resolver)
    for _ in range(3):
        check.refusal("public.example")
    assert sorted(resolver.asked) == ["bad.example", "public.example"]


def test_a_resolver_that_does_not_answer_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    release = threading.Event()
    monkeypatch.setattr(hosts.socket, "getaddrinfo", lambda *_, **__: release.wait(60) and [])
    try:
        with pytest.raises(TimeoutError, match="no answer within"):
            system_resolver("slow.example", 0.01)
    finally:
        release.set()


def test_the_system_knows_its_own_name() -> None:
    assert "127.0.0.1" in system_resolver("127.0.0.1", 30)
    with pytest.raises(OSError, match="no address"):
        system_resolver("a..b", 30)
