"""What a Ditto policy allows, walked from the root of a thing to its leaves, subject by subject.

On the way down each subject keeps the last word said to it; several subjects together have
a permission when the closest grant to one of them is closer than each revoke to any of them.
"""

from __future__ import annotations

from typing import Any


def may(
    policy: dict[str, Any], subjects: tuple[str, ...], kind: str, path: str, permission: str
) -> bool:
    way = [key.replace("~0", "~") for key in path.split("/") if key]
    granted: dict[str, int] = {}
    revoked: dict[str, int] = {}
    for level in range(len(way) + 1):
        grants, revokes = _said(policy, kind, permission, lambda at, n=level: at == way[:n])
        for subject in grants:
            granted[subject] = level
            revoked.pop(subject, None)
        for subject in revokes:
            granted.pop(subject, None)
            revoked[subject] = level
    deeper = len(way) + 1
    below = _said(policy, kind, permission, lambda at: len(at) >= deeper and at[: len(way)] == way)[
        1
    ]
    revoked |= dict.fromkeys(below, deeper)
    grant = [granted[subject] for subject in subjects if subject in granted]
    revoke = [revoked[subject] for subject in subjects if subject in revoked]
    return bool(grant) and (not revoke or max(revoke) < max(grant))


def _said(
    policy: dict[str, Any], kind: str, permission: str, chosen: Any
) -> tuple[set[str], set[str]]:
    """Who is granted and who is revoked the permission at the chosen places."""
    grants: set[str] = set()
    revokes: set[str] = set()
    for entry in policy["entries"].values():
        for resource, effect in entry["resources"].items():
            at_kind, _, at = resource.partition(":")
            keys = [key.replace("~0", "~") for key in at.split("/") if key]
            if at_kind == kind and chosen(keys):
                if permission in effect.get("grant", []):
                    grants |= set(entry["subjects"])
                if permission in effect.get("revoke", []):
                    revokes |= set(entry["subjects"])
    return grants, revokes


def policy_of(namespaces: list[tuple[str, str]], namespace: str) -> str | None:
    exact = [policy for name, policy in namespaces if name == namespace]
    prefixes = [
        (len(name), policy)
        for name, policy in namespaces
        if name.endswith("*") and namespace.startswith(name[:-1])
    ]
    return exact[0] if exact else max(prefixes)[1] if prefixes else None
