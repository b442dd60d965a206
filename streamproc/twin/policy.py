"""Who may do what: Ditto policies from the configuration, decided per subjects and path.

A policy grants and revokes permissions on resources to subjects. For a path, what is said
closer to it wins over what is said above it, and a revoke wins over a grant at the same
place. Permission on a path means permission on all of it: a revoke anywhere below denies
(Ditto: unrestricted permission). What no policy grants is denied.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple, Self

from lru import LRU

from streamproc.config.problem import Finding, json_path
from streamproc.config.service import Service
from streamproc.errors import ConfigError, SignalError
from streamproc.kernels.policy import decide
from streamproc.kernels.signal import Signal, Topic
from streamproc.protocol.errors import shown
from streamproc.twin.policy_reader import (
    Policy,
    Segments,
    check_namespaces,
    read_policies,
    segments,
)

READ: Final = "READ"
WRITE: Final = "WRITE"

CACHED_RULES: Final = 1024  # (policy, subjects, permission, resource type)
CACHED_DECISIONS: Final = 16_384
CACHED_LENGTH: Final = 512  # characters of a path; longer ones are decided each time


class Rule(NamedTuple):
    """What a policy says to certain subjects about one permission on one type of resource."""

    number: int
    everywhere: bool | None  # the same answer for each path, or None
    grants: tuple[Segments, ...] = ()
    revokes: tuple[Segments, ...] = ()


class Policies:
    """All policies of a service. Built once; safe to ask from one thread."""

    def __init__(self, policies: dict[str, Policy], namespaces: list[tuple[str, str]]) -> None:
        self._policies = policies
        self._exact = {pattern: policy for pattern, policy in namespaces if "*" not in pattern}
        # Prefixes with their dot, the longest first; "*" is the empty one.
        self._prefixes = sorted(
            ((pattern[:-1], policy) for pattern, policy in namespaces if "*" in pattern),
            key=lambda item: -len(item[0]),
        )
        self._rules: LRU[tuple[str, tuple[str, ...], str, str], Rule] = LRU(CACHED_RULES)
        self._decisions: LRU[tuple[int, str], bool] = LRU(CACHED_DECISIONS)
        self._numbers = 0  # of rules made; a rule that is made again gets a new one

    @classmethod
    def build(cls, service: Service) -> Self:
        """Raises ConfigError, where ``findings`` has something to say."""
        policies, found = read_policies(service.policies)
        found.extend(check_namespaces(service.namespaces, service.policies))
        if found:
            problems = [f"{json_path(each.path)}: {each.sentence}" for each in found]
            raise ConfigError("; ".join(problems), problems=problems)
        return cls(policies, [(row.namespace, row.policy) for row in service.namespaces])

    @staticmethod
    def findings(service: Service) -> list[Finding]:
        """All that is wrong with the policies of *service* and who they govern."""
        return [
            *read_policies(service.policies)[1],
            *check_namespaces(service.namespaces, service.policies),
        ]

    def policy_of(self, namespace: str) -> str | None:
        """The id of the policy that governs things of *namespace*."""
        policy = self._exact.get(namespace)
        if policy is not None:
            return policy
        for prefix, policy in self._prefixes:
            if namespace.startswith(prefix):
                return policy
        return None

    def may(
        self,
        namespace: str,
        subjects: tuple[str, ...],
        resource_type: str,
        path: str,
        permission: str,
    ) -> bool:
        """Whether *subjects* together have *permission* on all of that resource."""
        rule = self._rule(namespace, subjects, resource_type, permission)
        return self._verdict(rule, path) if rule.everywhere is None else rule.everywhere

    def allowed(
        self, signals: list[Signal], subjects_of: tuple[str, ...] | None, permission: str
    ) -> list[bool]:
        """For each signal, whether *subjects_of* - None: its own - have *permission* on it.

        WRITE is asked of those who send: to change, to signal, to message; a command that
        retrieves needs READ. READ is asked of those who receive. Announcements are for
        everybody; responses and acknowledgements may be sent by whoever was asked, and
        are not handed to subscribers.
        """
        write = permission == WRITE
        results = decide(signals, subjects_of, write, self._rule, self._verdict)
        if write and not all(results):
            for i, signal in enumerate(signals):
                if not results[i] and signal.topic is not None and signal.topic.action == "merge":
                    subjects = signal.subjects if subjects_of is None else subjects_of
                    results[i] = self._may_merge(signal, signal.topic, subjects)
        return results

    def _may_merge(self, signal: Signal, topic: Topic, subjects: tuple[str, ...]) -> bool:
        """Whether each part that a patch touches may be written, where not all of it may."""
        if topic.group != "things" or topic.entity_id is None:
            return False
        rule = self._rule(topic.namespace, subjects, "thing", WRITE)
        if rule.everywhere is not None:
            return rule.everywhere
        return all(_granted(rule, at) for at in _touched(segments(signal.path), signal.value))

    def _rule(
        self, namespace: str, subjects: tuple[str, ...], resource_type: str, permission: str
    ) -> Rule:
        policy = self.policy_of(namespace)
        if policy is None:
            return _NOBODY
        key = (policy, subjects, resource_type, permission)
        rule = self._rules.get(key)
        if rule is None:
            self._numbers += 1
            rule = self._rules[key] = _rule(self._numbers, self._policies[policy], *key[1:])
        return rule

    def _verdict(self, rule: Rule, path: str) -> bool:
        key = (rule.number, path)
        answer = self._decisions.get(key)
        if answer is None:
            answer = _granted(rule, segments(path))
            if len(path) <= CACHED_LENGTH:
                self._decisions[key] = answer
        return answer


_NOBODY: Final = Rule(0, False)


def _rule(
    number: int, policy: Policy, subjects: tuple[str, ...], resource_type: str, permission: str
) -> Rule:
    lines = [
        resource
        for entry in policy
        if not entry.subjects.isdisjoint(subjects)
        for resource in entry.resources
        if resource.type == resource_type
    ]
    grants = tuple({line.segments for line in lines if permission in line.grant})
    revokes = tuple({line.segments for line in lines if permission in line.revoke})
    if not grants:
        return Rule(number, False)
    if not revokes and () in grants:
        return Rule(number, True)
    return Rule(number, None, grants, revokes)


def _touched(at: Segments, patch: object) -> Iterator[Segments]:
    """The places that a merge patch at *at* sets or removes."""
    if not isinstance(patch, dict) or not patch:
        yield at
        return
    for key, part in patch.items():
        if key.startswith("{{"):
            yield at  # a pattern for keys: it may touch any of them
        else:
            yield from _touched((*at, key), part)


def _granted(rule: Rule, path: Segments) -> bool:
    """Whether the closest grant at or above *path* is closer than any revoke around it."""
    grant = max((len(at) for at in rule.grants if at == path[: len(at)]), default=-1)
    for at in rule.revokes:
        common = min(len(at), len(path))
        if at[:common] == path[:common] and len(at) >= grant:
            return False
    return grant >= 0


def denied(signal: Signal, permission: str) -> SignalError:
    """What the sender of a signal hears that ``allowed`` said no to."""
    topic = signal.topic
    assert topic is not None, "a message always has a topic"
    who = ", ".join(signal.subjects) or "nobody"
    if topic.criterion == "messages":
        code, resource = "messages:sendnotallowed", f"message:{signal.path}"
    elif topic.action == "create":
        code, resource = "things:thing.notcreatable", f"thing:{signal.path}"
    else:
        code, resource = "things:thing.notmodifiable", f"thing:{signal.path}"
    return SignalError(
        code,
        f"{who} may not {permission} {shown(resource)} of {shown(topic.full)}",
        description=f"the policy of namespace {shown(topic.namespace)} must grant "
        f"{permission} on the resource and revoke it nowhere below",
    )
