"""Options of the generator. Imports nothing but msgspec, so lint and docs need no client."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from streamproc.config.section import Section


class GeneratorOptions(Section, frozen=True, kw_only=True):
    """Plays devices that send Ditto-protocol modify commands, from a seed."""

    seed: Annotated[int, Meta(description="Same seed, same messages.")] = 1
    namespace: Annotated[str, Meta(description="Namespace of the things.")] = "org.example"
    devices: Annotated[int, Meta(description="How many things.", ge=1)] = 1000
    rate: Annotated[
        float, Meta(description="Messages a second per consumer; 0: as fast as they are taken.")
    ] = 0.0
    count: Annotated[int, Meta(description="Messages before the source ends; 0: no end.", ge=0)] = 0
    payload_bytes: Annotated[
        int, Meta(description="Smallest size of a payload; padded.", ge=0, le=1 << 20)
    ] = 0
    intruders: Annotated[
        float,
        Meta(description="Share of messages that claim another device's thing.", ge=0, le=1),
    ] = 0.0
    zipf: Annotated[
        float,
        Meta(description="Exponent of the devices' popularity; 0: all alike.", ge=0, le=4),
    ] = 0.0
