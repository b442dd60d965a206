from typing import final

from streamproc.lang.plan import Argument, Call, Pipeline

@final
class Slot:
    def __new__(cls, argument: Argument) -> Slot: ...

@final
class Step:
    @property
    def several(self) -> bool: ...
    @property
    def deletes(self) -> bool: ...
    def __new__(cls, call: Call) -> Step: ...

@final
class Pipe:
    @property
    def several(self) -> bool: ...
    @property
    def deletes(self) -> bool: ...
    def __new__(cls, pipeline: Pipeline) -> Pipe: ...

# Doors for other kernels.
__pyx_capi__: dict[str, object]
