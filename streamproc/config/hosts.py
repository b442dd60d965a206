"""Which hosts a connection may reach (spec: Ditto 1.6).

With no rule set nothing is looked up. With one, a name is resolved, within a deadline, and
every address it has must pass. Ditto switches all rules off while its list of blocked names
is empty, so that subnets and the pattern then do nothing; here each rule works by itself.

Link-local addresses and those where clouds tell their machines' secrets are refused whether or
not a rule is set. A connector that connects by itself asks again, for the very address that it
is about to connect to: ``address_refusal``.
"""

from __future__ import annotations

import ipaddress
import re
import socket
import threading
from collections.abc import Callable, Collection, Sequence

from streamproc.config.service import Hosts

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Resolver = Callable[[str, float], Sequence[str]]
"""Host name and seconds to the addresses it has; OSError where it has none in that time."""

_SITE_LOCAL: list[ipaddress.IPv4Network | ipaddress.IPv6Network] = [
    ipaddress.ip_network(n)
    for n in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fec0::/10", "fc00::/7")
]
_METADATA = frozenset(
    ipaddress.ip_address(text)
    for text in (
        *("169.254.169.254", "fd00:ec2::254", "fd20:ce::254"),  # AWS, Google and most others
        *("100.100.100.200", "192.0.0.192", "168.63.129.16"),  # Alibaba, Oracle, Azure's host
    )
)
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
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
        if name in self._allowed:
            return ""
        if (literal := address_of(name)) is not None and (reason := forbidden(literal)):
            return reason
        if not self.active:
            return ""
        if reason := self.name_refusal(name):
            return reason
        found = self._lookup(name)
        if isinstance(found, str):
            return f"a host that cannot be resolved: {found}"
        for address in found:
            if reason := self._refused(address):
                return f"a host that has {reason}"
        return ""

    def name_refusal(self, host: str) -> str:
        """Why *host* may not be reached whatever addresses it has, or nothing. Looks nothing up."""
        name = _plain(host)
        if name in self._allowed:
            return ""
        if name in self._blocked:
            return "a host that is blocked"
        if self._regex is not None and self._regex.fullmatch(name):
            return "a host that is blocked by pattern"
        return ""

    @property
    def blocked_names(self) -> list[str]:
        """Names whose addresses are refused, too."""
        return sorted(name for name in self._blocked if address_of(name) is None)

    def address_refusal(self, host: str, text: str, blocked: Collection[Address]) -> str:
        """Why an address that *host* has may not be connected to, or nothing. Looks nothing up.

        *blocked*: the addresses of ``blocked_names``.
        """
        address = address_of(text)
        if address is None:
            return "an address of an unknown kind"
        if _plain(host) in self._allowed or str(address) in self._allowed:
            return ""
        if reason := forbidden(address):
            return reason
        if not self.active:
            return ""
        if address in blocked:
            return "a blocked address"
        return self._kind_or_subnet(address)

    def _refused(self, address: Address) -> str:
        if self._blocked_addresses is None:
            found = [self._lookup(name) for name in sorted(self._blocked)]
            self._blocked_addresses = {
                a for each in found if not isinstance(each, str) for a in each
            }
        kind = self._kind_or_subnet(address)
        return kind or ("a blocked address" if address in self._blocked_addresses else "")

    def _kind_or_subnet(self, address: Address) -> str:
        for kind, is_of in _KINDS:
            if is_of(address):
                return kind
        if any(address in n for n in self._subnets if n.version == address.version):
            return "an address in a blocked subnet"
        if str(address) in self._blocked:
            return "a blocked address"
        return ""

    def _lookup(self, name: str) -> Sequence[Address] | str:
        if name not in self._addresses:
            self._addresses[name] = self._looked_up(name)
        return self._addresses[name]

    def _looked_up(self, name: str) -> Sequence[Address] | str:
        if (literal := address_of(name)) is not None:
            return [literal]
        try:
            texts = self._resolve(name, self._within_s)
        except OSError as error:
            return str(error)
        return [address for text in texts if (address := address_of(text)) is not None]


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


def forbidden(address: Address) -> str:
    """Why no connection reaches *address* unless it is allowed by name, or nothing."""
    if address in _METADATA:
        return "the address of a cloud's metadata"
    return "a link-local address" if address.is_link_local else ""


def address_of(text: str) -> Address | None:
    """An address; one of IPv4 that is written as IPv6 is taken for what it reaches."""
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return address.ipv4_mapped
        if address.sixtofour is not None:
            return address.sixtofour
        if address in _NAT64:
            return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address
