from datetime import datetime
from typing import final

from streamproc.lang.plan import Source

@final
class Moment:
    def __new__(cls, now: datetime | None = None) -> Moment: ...

@final
class Place:
    @property
    def several(self) -> bool: ...
    def __new__(cls, source: Source) -> Place: ...

# Doors for other kernels.
__pyx_capi__: dict[str, object]
