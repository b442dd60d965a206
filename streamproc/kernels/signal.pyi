from typing import Any, Final, final

class _Absent:
    def __bool__(self) -> bool: ...

ABSENT: Final[_Absent]

@final
class Topic:
    event: Topic | None
    @property
    def kind(self) -> str: ...
    @property
    def full(self) -> str: ...
    @property
    def namespace(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def group(self) -> str: ...
    @property
    def channel(self) -> str: ...
    @property
    def criterion(self) -> str: ...
    @property
    def action(self) -> str | None: ...
    @property
    def subject(self) -> str | None: ...
    @property
    def entity_id(self) -> str | None: ...
    def __new__(
        cls,
        full: str,
        namespace: str,
        name: str,
        group: str,
        channel: str,
        criterion: str,
        action: str | None = None,
        subject: str | None = None,
    ) -> Topic: ...
    def __eq__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...

@final
class Signal:
    topic: Topic | None
    path: str
    headers: dict[str, str]
    value: Any
    extra: dict[str, Any] | None
    status: int | None
    revision: int | None
    timestamp: str | None
    fields: str | None
    metadata: Any
    subjects: tuple[str, ...]
    entity_id: str | None
    policy_id: str | None
    resource_type: str | None
    thing: dict[str, Any] | None
    def __new__(
        cls,
        topic: Topic | None,
        path: str = "/",
        headers: dict[str, str] | None = None,
        value: Any = ...,
        extra: dict[str, Any] | None = None,
        status: int | None = None,
        revision: int | None = None,
        timestamp: str | None = None,
        fields: str | None = None,
        metadata: Any = None,
    ) -> Signal: ...
