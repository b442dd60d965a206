from typing import final

from streamproc.lang.rql_plan import Value

@final
class Constant:
    def __new__(cls, value: Value) -> Constant: ...
