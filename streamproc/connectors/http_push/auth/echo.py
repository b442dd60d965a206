"""Keeps what proves who we are out of errors, where an endpoint repeats it in its answer."""

from __future__ import annotations

import re

_PROOF = re.compile(rb"\r\n(?:Proxy-)?Authorization: (?:[!-~]+ )?([^\r]{4,})", re.IGNORECASE)
MASK = b"***"


def without_proof(excerpt: bytes, head: bytes) -> bytes:
    """*excerpt* of an answer, without the credentials in the *head* of its request."""
    for proof in _PROOF.findall(head):
        excerpt = excerpt.replace(proof, MASK)
        # Cut off at the end of the excerpt, its beginning would still tell.
        for size in range(min(len(proof), len(excerpt)), 3, -1):
            if excerpt.endswith(proof[:size]):
                excerpt = excerpt[:-size] + MASK
                break
    return excerpt
