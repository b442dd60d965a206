"""The base of everything an operator writes: camelCase on the wire, unknown keys refused."""

from __future__ import annotations

import msgspec


class Section(
    msgspec.Struct, rename="camel", forbid_unknown_fields=True, frozen=True, kw_only=True
):
    """A group of options. Every field carries ``msgspec.Meta(description=...)``.

    Subclasses repeat ``frozen=True, kw_only=True``: msgspec does not inherit the second.
    """
