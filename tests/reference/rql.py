"""What an RQL filter means, slowly and obviously: the twin of ``streamproc.kernels.rql``."""

from __future__ import annotations

import copy
import re
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from streamproc.kernels.signal import ABSENT, Signal
from streamproc.lang import pointer as pointers
from streamproc.lang.rql_plan import Empty, Exists, Expression, In, Logical, Plan, Property
from streamproc.lang.timeexpr import TimePlan
from tests.reference import pointer

BREAKS = "\n\r\x85\u2028\u2029"


def matches(plan: Plan, signals: list[Signal], now: datetime | None = None) -> list[bool]:
    clock = now or datetime.now(UTC)
    return [holds(plan.root, signal, thing_of(signal), clock) for signal in signals]


def matches_things(
    plan: Plan, things: list[dict[str, Any]], now: datetime | None = None
) -> list[bool]:
    clock = now or datetime.now(UTC)
    return [holds(plan.root, Signal(None, ""), thing, clock) for thing in things]


def may_match(
    plan: Plan, signals: list[Signal], covered: tuple[str, ...], now: datetime | None = None
) -> list[int]:
    clock = now or datetime.now(UTC)
    return [could(plan.root, signal, thing_of(signal), covered, clock) for signal in signals]


def holds(node: Expression, signal: Signal, thing: dict[str, Any], now: datetime) -> bool:
    if isinstance(node, Logical):
        parts = [holds(part, signal, thing, now) for part in node.parts]
        return {"and": all(parts), "or": any(parts), "not": not parts[0]}[node.operator]
    value = look_up(node.property, signal, thing, now)
    if isinstance(node, Exists):
        return value is not ABSENT
    if isinstance(node, Empty):
        return is_empty(node.property, value)
    if isinstance(node, In):
        return any(equal(one, literal(v, now)) for one in candidates(value) for v in node.values)
    wanted = literal(node.value, now)
    if node.operator == "eq":
        return any(equal(one, wanted) for one in candidates(value))
    if node.operator == "ne":
        return not any(equal(one, wanted) for one in candidates(value))
    if node.operator in ("like", "ilike"):
        return any(like(one, wanted, node.operator == "ilike") for one in candidates(value))
    return any(ordered(node.operator, one, wanted) for one in candidates(value))


def could(
    node: Expression, signal: Signal, thing: dict[str, Any], covered: tuple[str, ...], now: datetime
) -> int:
    """0 no, 1 yes, 2 unknown."""
    if not isinstance(node, Logical):
        keys = getattr(node.property, "keys", None)
        if keys is not None and any(near(keys, each) for each in covered):
            return 2
        return int(holds(node, signal, thing, now))
    parts = [could(part, signal, thing, covered, now) for part in node.parts]
    if node.operator == "not":
        return {0: 1, 1: 0, 2: 2}[parts[0]]
    if node.operator == "and":
        return 0 if 0 in parts else 2 if 2 in parts else 1
    return 1 if 1 in parts else 2 if 2 in parts else 0


def near(keys: tuple[str, ...], text: str) -> bool:
    """Whether one of the two lies at or below the other."""
    for mine, theirs in zip(keys, text.strip("/").split("/") if text != "/" else (), strict=False):
        if "{{" in theirs:
            return True
        if theirs not in ("*", mine.replace("~", "~0")):
            return False
    return True


def look_up(place: Property, signal: Signal, thing: dict[str, Any], now: datetime) -> Any:
    keys = getattr(place, "keys", None)
    if keys == ("_namespace",):
        own = thing.get("_namespace")
        if own is None and isinstance(thing.get("thingId"), str) and ":" in thing["thingId"]:
            own = thing["thingId"].split(":", 1)[0]
        return ABSENT if own is None else own
    if keys is not None:
        return pointer.get_flat(thing, keys)
    if place.time is not None:
        return place.time.resolve(now)
    value = beside(place.prefix, place.name, signal)
    return ABSENT if value is None else value


def beside(prefix: str, name: str, signal: Signal) -> str | None:
    topic = signal.topic
    if prefix in ("entity", "thing"):
        entity = signal.entity_id
        if entity is None or (prefix == "thing" and topic is not None and topic.group != "things"):
            return None
        if name == "id":
            return entity
        if ":" not in entity:
            return None
        return entity.split(":", 1)[0 if name == "namespace" else 1]
    if prefix == "feature":
        return feature_id(signal)
    if prefix == "resource" and name == "path":
        return signal.path or None
    if prefix == "resource":
        if signal.resource_type is not None:
            return signal.resource_type
        if topic is None:
            return None
        if topic.criterion == "messages":
            return "message"
        return {"things": "thing", "policies": "policy", "connections": "connection"}[topic.group]
    if topic is None:
        return None
    if name == "action-subject":
        return topic.subject if topic.subject is not None else topic.action
    attribute = {"entityName": "name"}.get(name, name)
    return getattr(topic, attribute)


def feature_id(signal: Signal) -> str | None:
    keys = [key for key in signal.path.split("/") if key]
    if keys[:1] == ["features"] and len(keys) > 1:
        return keys[1].replace("~0", "~")
    features = None
    if keys == ["features"]:
        features = signal.value
    elif signal.path == "/" and isinstance(signal.value, dict):
        features = signal.value.get("features")
    return next(iter(features), None) if isinstance(features, dict) else None


def candidates(value: Any) -> list[Any]:
    """The scalars that a comparison looks at: of arrays the elements, of objects none."""
    if value is ABSENT or isinstance(value, dict):
        return []
    if isinstance(value, list):
        return [one for element in value for one in candidates(element)]
    return [value]


def literal(value: Any, now: datetime) -> Any:
    return value.resolve(now) if isinstance(value, TimePlan) else value


def is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def spelt(text: str) -> Decimal | None:
    """The number that a text spells, by Java's rules."""
    found = re.fullmatch(r"[+-]?([0-9]+\.?([0-9]*)|\.([0-9]+))([eE]([+-]?[0-9]{1,10}))?", text)
    if found is None:
        return None
    scale = len(found[2] or found[3] or "") - int(found[5] or 0)
    return Decimal(text) if -(2**31) <= scale < 2**31 else None


def exact(number: Any) -> Decimal:
    return Decimal(repr(number))


def pair(one: Any, wanted: Any) -> tuple[Any, Any] | None:
    """Both sides, made comparable; None where they are not."""
    if one is None or wanted is None:
        return None
    if one != one:  # NaN
        return None
    if is_number(one) and is_number(wanted):
        return one, wanted
    if isinstance(one, str) and is_number(wanted) and spelt(one) is not None:
        return spelt(one), exact(wanted)
    if is_number(one) and isinstance(wanted, str) and spelt(wanted) is not None:
        return exact(one), spelt(wanted)
    if isinstance(one, bool) and isinstance(wanted, bool):
        return one, wanted
    return units(text_of(one)), units(text_of(wanted))


def units(text: str | None) -> bytes:
    assert text is not None
    return text.encode("utf-16-be", "surrogatepass")


def equal(one: Any, wanted: Any) -> bool:
    if one is None and wanted is None:
        return True
    both = pair(one, wanted)
    return both is not None and both[0] == both[1]


def ordered(operator: str, one: Any, wanted: Any) -> bool:
    both = pair(one, wanted)
    if both is None:
        return False
    left, right = both
    return {"lt": left < right, "le": left <= right, "gt": left > right, "ge": left >= right}[
        operator
    ]


def text_of(value: Any) -> str | None:
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return text_of_double(value)
    return None


def text_of_double(value: float) -> str:
    """Double.toString, then BigDecimal.toString."""
    if value != value:
        return "NaN"
    if value in (float("inf"), float("-inf")):
        return "Infinity" if value > 0 else "-Infinity"
    if value == 0:
        return "0.0"
    mantissa, exponent = f"{Decimal(repr(value)).normalize():e}".lower().split("e")
    whole, _, fraction = mantissa.partition(".")
    if 1e-3 <= abs(value) < 1e7:
        shifted = Decimal(repr(value)).normalize()
        plain = f"{shifted:f}"
        return plain if "." in plain else plain + ".0"
    return str(Decimal(f"{whole}.{fraction or '0'}E{exponent}"))


def like(one: Any, pattern: str, ignore_case: bool) -> bool:
    text = text_of(one)
    if text is None:
        return False
    return wildcard(pattern, text, ignore_case)


def wildcard(pattern: str, text: str, ignore_case: bool) -> bool:
    if ignore_case:
        pattern, text = fold(pattern), fold(text)
    translated = "".join(
        {"*": f"[^{BREAKS}]*", "?": f"[^{BREAKS}]"}.get(each, re.escape(each))
        for each in re.sub(r"\*+", "*", pattern)
    )
    return re.fullmatch(translated, text) is not None


def fold(text: str) -> str:
    return "".join(each.lower() if "A" <= each <= "Z" else each for each in text)


def is_empty(place: Property, value: Any) -> bool:
    if value is ABSENT or value is None or value in ("", [], {}):
        return True
    keys = getattr(place, "keys", ())
    if isinstance(value, dict) and len(keys) == 2 and keys[0] == "features":
        parts = ("definition", "properties", "desiredProperties")
        return all(value.get(part) is None for part in parts)
    return False


def thing_of(signal: Signal) -> dict[str, Any]:
    """What a signal says of its thing, on top of what was enriched."""
    if signal.thing is not None:
        return signal.thing
    extra = copy.deepcopy(signal.extra) if signal.extra else {}
    topic = signal.topic
    if topic is None or topic.criterion != "events" or topic.group != "things":
        return extra
    thing: dict[str, Any] = {}
    if signal.value is not ABSENT and topic.action != "deleted":
        value = copy.deepcopy(signal.value)
        if topic.action == "merged":
            value = {} if value is None else without_nulls(value)
        try:
            keys = pointers.parse(signal.path)
        except Exception:
            keys = None
        if keys == ():
            thing = value if isinstance(value, dict) else {}
        elif keys is not None:
            for key in reversed(keys):
                value = {key: value}
            thing = value
    known = {
        "thingId": signal.entity_id,
        "_namespace": topic.namespace,
        "_revision": signal.revision,
        "_modified": signal.timestamp,
    }
    thing.update({name: value for name, value in known.items() if value is not None})
    return over(thing, extra)


def without_nulls(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    return {key: without_nulls(each) for key, each in value.items() if each is not None}


def over(upper: Any, lower: Any) -> Any:
    if not isinstance(upper, dict) or not isinstance(lower, dict):
        return upper
    names = upper.keys() | lower.keys()
    return {
        name: over(upper[name], lower.get(name)) if name in upper else lower[name] for name in names
    }
