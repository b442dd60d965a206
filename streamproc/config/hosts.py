"""Which hosts a connection may reach (spec: Ditto 1.6).

With no rule set nothing is looked up. With one, a name is resolved, within a deadline, and
every address it has must pass. Ditto switches all rules off while its list of blocked names
is empty, so that subnets and the pattern then do nothing; here each rule works by itself.
"""

from __future__ import annotations

import ipaddress
import re
import socket
import threading
from collections.abc import Callable, Sequence

from streamproc.config.service import Hosts

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Resolver = Callable[[str, float], Sequence[str]]
"""Host name and seconds to the addresses it has; OSError where it has none in that time."""

_SITE_LOCAL: list[ipaddress.IPv4Network | ipaddress.IPv6Network] = [
    ipaddress.ip_network(n)
    for n in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fec0::/10", "fc00::/7")
]
_KINDS: tuple[tuple[str, Callable[[Address], bool]], ...] = (
    ("a wildcard address", lambda a: a.is_unspecified),
    ("a loopback address", lambda a: a.is_loopback),
    ("a multicast address", lambda a: a.is_multicast),
    ("a link-local address", lambda a: a.is_link_local),
    # What Java calls site-local. 192.0.2.0/24 and the like are private to Python alone.
    ("a private address", lambda a: any(a in n for n in _SITE_LOCAL if n.version == a.version)),
)


def system_resolver(host: str, within_s: float) -> Sequence[str]:
    """What the system's resolver says, in a thread of its own as it knows no deadline."""
    answer: list[Sequence[str]] = []

    def ask() -> None:
        try:
            found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError):
            answer.append(())
        else:
            answer.append(sorted({str(entry[4][0]) for entry in found}))

    thread = threading.Thread(target=ask, name=f"resolve {host}", daemon=True)
    thread.start()
    thread.join(within_s)
    if not answer:
        raise TimeoutError(f"no answer within {within_s} s")
    if not answer[0]:
        raise OSError("it has no address")
    return answer[0]


class HostCheck:
    """The rules, made ready once. Looks each name up once."""

    def __init__(self, rules: Hosts, resolve: Resolver = system_resolver) -> None:
        self._within_s = rules.resolve_within_s
        self._resolve = resolve
        self._addresses: dict[str, Sequence[Address] | str] = {}
        self._allowed = {_plain(name) for name in rules.allowed}
        self._blocked = {_plain(name) for name in rules.blocked if name.strip()}
        self._subnets = [
            network for text in rules.blocked_subnets if (network := subnet(text)) is not None
        ]
        self._regex = pattern(rules.blocked_regex)
        self.active = bool(self._blocked or self._subnets or self._regex)
        self._blocked_addresses: set[Address] | None = None

    def refusal(self, host: str) -> str:
        """Why *host* may not be reached, or nothing."""
        name = _plain(host)
        if not self.active or name in self._allowed:
            return ""
        if name in self._blocked:
            return "a host that is blocked"
        if self._regex is not None and self._regex.fullmatch(name):
            return "a host that is blocked by pattern"
        found = self._lookup(name)
        if isinstance(found, str):
            return f"a host that cannot be resolved: {found}"
        for address in found:
            if reason := self._refused(address):
                return f"a host that has {reason}"
        return ""

    def _refused(self, address: Address) -> str:
        for kind, is_of in _KINDS:
            if is_of(address):
                return kind
        if any(address in n for n in self._subnets if n.version == address.version):
            return "an address in a blocked subnet"
        if self._blocked_addresses is None:
            found = [self._lookup(name) for name in sorted(self._blocked)]
            self._blocked_addresses = {
                a for each in found if not isinstance(each, str) for a in each
            }
        return "a blocked address" if address in self._blocked_addresses else ""

    def _lookup(self, name: str) -> Sequence[Address] | str:
        if name not in self._addresses:
            self._addresses[name] = self._looked_up(name)
        return self._addresses[name]

    def _looked_up(self, name: str) -> Sequence[Address] | str:
        if (literal := _address(name)) is not None:
            return [literal]
        try:
            texts = self._resolve(name, self._within_s)
        except OSError as error:
            return str(error)
        return [address for text in texts if (address := _address(text)) is not None]


def subnet(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    """A network written as CIDR, or None."""
    try:
        return ipaddress.ip_network(text.strip(), strict=False)
    except ValueError:
        return None


def pattern(text: str) -> re.Pattern[str] | None:
    """The expression, or None where there is none or it cannot be compiled."""
    try:
        return re.compile(text) if text else None
    except re.error:
        return None


def _plain(host: str) -> str:
    return host.strip().strip("[]").removesuffix(".").lower()


def _address(text: str) -> Address | None:
    """An address; one of IPv4 that is written as IPv6 is taken for what it reaches."""
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address
