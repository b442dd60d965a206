"""RQL text becomes its plan, or an error that says where and what instead."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import event, given
from hypothesis import strategies as st

from streamproc.errors import ExpressionError
from streamproc.lang import rql, timeexpr
from streamproc.lang.rql_plan import (
    COMPARISONS,
    Compare,
    Empty,
    Exists,
    Expression,
    Field,
    In,
    Logical,
    Placeholder,
)

BLANKS = st.text(" \n\r\t\f", max_size=2)
# Texts that need escapes, and every character but half surrogate pairs.
TEXTS = st.text("\"'\\/\b\f\n\r\t,() a😀", max_size=6) | st.text(max_size=6)

places = st.builds(
    lambda keys: Field("/".join(keys), tuple(keys)),
    st.lists(st.text("\"\\,)(ab/'é😀", min_size=1, max_size=4), min_size=1, max_size=2)
    .map(lambda keys: ["attributes", *(key.replace("/", "") or "x" for key in keys)])
    .filter(lambda keys: all(keys)),
) | st.sampled_from(
    [
        Field("thingId", ("thingId",)),
        Field("/_revision", ("_revision",)),
        Field("features/f/properties/p", ("features", "f", "properties", "p")),
        Placeholder("topic:action", "topic", "action"),
        Placeholder("feature:id", "feature", "id"),
        Placeholder("time:now-1h", "time", "now-1h", timeexpr.parse("now-1h")),
    ]
)
literals = st.one_of(
    st.sampled_from([None, True, False]),
    TEXTS,
    st.integers(-(2**63), 2**63 - 1),
    st.floats(-1e15, 1e15, allow_nan=False).filter(lambda real: "e" not in repr(real)),
    st.sampled_from(["now", "now-2d[h]", "now_epoch_millis"]).map(timeexpr.parse),
)
expressions: st.SearchStrategy[Expression] = st.recursive(
    st.builds(Compare, st.sampled_from(COMPARISONS[:6]), places, literals)
    | st.builds(Compare, st.sampled_from(COMPARISONS[6:]), places, TEXTS)
    | st.builds(In, places, st.lists(literals, min_size=1, max_size=3).map(tuple))
    | st.builds(Exists, places)
    | st.builds(Empty, places),
    lambda inner: (
        st.builds(
            Logical,
            st.sampled_from(["and", "or"]),
            st.lists(inner, min_size=1, max_size=3).map(tuple),
        )
        | st.builds(Logical, st.just("not"), st.tuples(inner))
    ),
    max_leaves=4,
)


def written(node: Expression, draw: Any) -> str:
    """*node* as text, with blanks and escapes wherever they are possible."""
    if isinstance(node, Logical):
        commas = "," + draw(BLANKS)
        return f"{node.operator}({commas.join(written(part, draw) for part in node.parts)})"
    place = escaped(node.property.text, '"\\', ",)", draw)
    if isinstance(node, (Exists, Empty)):
        return f"{type(node).__name__.lower()}({place})"
    values = node.values if isinstance(node, In) else (node.value,)
    operator = "in" if isinstance(node, In) else node.operator
    return f"{operator}({place},{','.join(literal(value, draw) for value in values)})"


def literal(value: Any, draw: Any) -> str:
    if isinstance(value, timeexpr.TimePlan):
        text = f"time:{value.text}"
    elif isinstance(value, str):
        quote = draw(st.sampled_from("\"'"))
        text = quote + escaped(value, quote + "\\", "", draw) + quote
    elif value is None or isinstance(value, bool):
        text = str(value).lower().replace("none", "null")
    else:
        text = draw(st.sampled_from(["", "+"])) * (value >= 0 and str(value)[0] != "-") + repr(
            value
        )
    return text + draw(BLANKS)


def escaped(text: str, must: str, by_code: str, draw: Any) -> str:
    result = ""
    for each in text:
        short = {"\b": "b", "\f": "f", "\n": "n", "\r": "r", "\t": "t"}.get(each)
        if each in by_code:
            result += f"\\u{ord(each):04X}"
        elif each in must:
            result += "\\" + each
        elif draw(st.integers(0, 5)) == 0:
            units = each.encode("utf-16-be")
            codes = [units[at : at + 2].hex() for at in range(0, len(units), 2)]
            result += f"\\{short}" if short else "".join(f"\\u{code}" for code in codes)
        else:
            result += each
    return result


@given(node=expressions, before=BLANKS, data=st.data())
def test_what_is_written_is_parsed_again(
    node: Expression, before: str, data: st.DataObject
) -> None:
    text = before + written(node, data.draw)
    event(f"length {len(text) // 50 * 50}")
    plan = rql.parse(text)
    assert plan.root == node
    assert plan.text == text
    assert plan.root.span == (len(before), len(text))


@given(st.text("eqinandortlike(),\"'\\attributes/x05.-+ time:now", max_size=40) | st.text())
def test_any_text_gives_a_plan_or_an_error_with_its_place(text: str) -> None:
    code, position = "rql.expression.invalid", 0
    try:
        rql.parse(text)
    except ExpressionError as error:
        code, position = error.code, -1 if error.position is None else error.position
    assert code == "rql.expression.invalid"
    assert 0 <= position <= len(text)


@given(node=expressions, data=st.data())
def test_a_filter_cut_short_is_an_error(node: Expression, data: st.DataObject) -> None:
    text = written(node, data.draw)
    cut = data.draw(st.integers(0, len(text) - 1))
    with pytest.raises(ExpressionError) as caught:
        rql.parse(text[:cut])
    assert caught.value.position is not None
    assert caught.value.position <= cut


@pytest.mark.parametrize(
    ("text", "position", "hint"),
    [
        ("", 0, "operators are"),
        ("eaq(attributes/a,1)", 0, "did you mean eq?"),
        ("EQ(attributes/a,1)", 0, "did you mean eq?"),
        ("attributes/a==1", 0, "write eq(attributes/a,1), not a=1"),
        ("eq (attributes/a,1)", 2, "no blank allowed here"),
        ("eq( attributes/a,1)", 3, "no blank allowed here"),
        ("eq(attributes/a, 1)", 16, "no blank allowed here"),
        ("eq(attributes/a,1) ", 18, "no blank allowed here"),
        ("and( eq(thingId,1))", 4, "no blank allowed here"),
        ("and(eq(thingId,1) ,eq(thingId,2))", 17, "no blank allowed here"),
        ("in(thingId,1, 2)", 13, "no blank allowed here"),
        ("eq(attributes/a,x)", 16, 'texts are in quotes: "x"'),
        ("eq(attributes/a,True)", 16, "did you mean true?"),
        ("eq(attributes/a,-0)", 16, "write 0"),
        ("eq(attributes/a,01)", 17, "no leading zero"),
        ("eq(attributes/a,1e5)", 17, "no exponent"),
        ("eq(attributes/a,1.)", 17, "1.0 not 1."),
        ("eq(attributes/a,9223372036854775808)", 16, "the largest is 9223372036854775807"),
        ("eq(attributes/a," + "9" * 5000 + ")", 16, "the largest is"),
        ("eq(attributes/a," + "9" * 400 + ".0)", 16, ""),
        ('eq(attributes/a,"x', 16, ""),
        ('eq(attributes/a,"\\x")', 17, '\\"'),
        ("eq(attributes/a,'\\\"')", 17, "\\'"),
        ('eq(attributes/a,"\\ud83d")', 17, "write both"),
        ('eq("attributes/a",1)', 3, "without quotes"),
        ("eq(attributes\\x/a,1)", 13, "\\uXXXX"),
        ("eq(attributes/a)", 15, ""),
        ("eq(attributes/a,1,2)", 17, ""),
        ("exists(attributes/a,1)", 19, ""),
        ("not(exists(thingId),exists(policyId))", 19, "write not(or(...,...))"),
        ("and()", 4, "operators are"),
        ("and(exists(thingId),)", 20, "operators are"),
        ("exists(thingId)exists(policyId)", 15, ""),
        ("eq(attributes/a,time:)", 21, "write time:now"),
        ("eq(attributes/a,time:now-1x)", 26, "write one of"),
        ("eq(attributes/a,time:then)", 21, "time:now"),
        ("like(attributes/a,5)", 18, "in quotes"),
        ("ilike(attributes/a,null)", 19, "in quotes"),
        ("like(attributes/a,time:now)", 18, "in quotes"),
        ("eq(attribute/a,1)", 3, "did you mean attributes?"),
        ("eq(attributes,1)", 3, "add a path"),
        ("eq(attributes//a,1)", 3, "leave one slash out"),
        ("eq(//attributes/a,1)", 3, "leave one slash out"),
        ("eq(features/f,1)", 3, "compare features/<id>/properties/<path>"),
        ("eq(features/f/properties,1)", 3, "compare features/<id>/properties/<path>"),
        ("exists(features)", 7, "write features/<id>"),
        ("exists(features/f/definition/x)", 7, "write features/<id>"),
        ("eq(namespace,1)", 3, "did you mean _namespace?"),
        ("eq(revision,1)", 3, "did you mean _revision?"),
        ("eq(thingid,1)", 3, "did you mean thingId?"),
        ("eq(zzz,1)", 3, "possible are"),
        ("eq(topic:actoin,1)", 3, "did you mean topic:action?"),
        ("eq(topic:zzz,1)", 3, "topic: has"),
        ("eq(header:x,1)", 3, "placeholders possible here"),
        ("eq(time:now+,1)", 3, "write a number"),
        ("and(exists(thingId),\n  eq(zzz,1))", 26, "possible are"),
        ("eq(attributes/\ud800,1)", 14, ""),
    ],
)
def test_an_error_says_where_and_what_instead(text: str, position: int, hint: str) -> None:
    with pytest.raises(ExpressionError) as caught:
        rql.parse(text)
    assert caught.value.code == "rql.expression.invalid"
    assert caught.value.status == 400
    assert caught.value.position == position
    assert hint in caught.value.hint
    assert bool(hint) == bool(caught.value.hint)


@pytest.mark.parametrize(
    "text",
    [
        *("eq(thingId,1)", "eq(/thingId,1)", "eq(attributes/a/b,1)", "eq(attributes/,1)"),
        *("eq(attributes/a:b,1)", "eq(attributes/a(b,1)", "eq(_metadata/x,1)", "eq(_metadata,1)"),
        *(
            "eq(features/f/definition,1)",
            "eq(features/f/definition/,1)",
            "eq(features/*/properties/p,1)",
        ),
        *(
            "eq(features/f/properties/p/q,1)",
            "exists(features/f)",
            "exists(features/f/properties/)",
        ),
        *("empty(features/f/desiredProperties)", "exists(topic:full)", "eq(/topic:action,1)"),
        *("eq(resource:path,1)", "eq(entity:id,1)", "eq(thing:name,1)", "eq(time:now[d],1)"),
    ],
)
def test_properties_that_filters_may_name(text: str) -> None:
    assert rql.parse(text).text == text


def test_without_the_check_any_property_and_any_like_will_do() -> None:
    for text in (
        "eq(username,1)",
        "eq(,1)",
        "exists()",
        "like(a,1)",
        "eq(a,time:foo)",
        "eq(a//b,1)",
    ):
        assert rql.parse(text, check_properties=False).text == text


def test_numbers_keep_their_kind() -> None:
    values = rql.parse("in(thingId,5,+5,-5,0,+0,5.0,-0.0,1.50,9223372036854775807)").root
    assert isinstance(values, In)
    assert repr(values.values) == "(5, 5, -5, 0, 0, 5.0, -0.0, 1.5, 9223372036854775807)"


def nested(depth: int) -> str:
    return "not(" * (depth - 1) + "exists(thingId)" + ")" * (depth - 1)


@pytest.mark.parametrize(
    ("fits", "breaks", "what"),
    [
        (nested(rql.MAX_DEPTH), nested(rql.MAX_DEPTH + 1), "inside each other"),
        (nested(rql.MAX_DEPTH), nested(5_000), "inside each other"),
        (
            f"in(thingId{',1' * (rql.MAX_NODES - 1)})",
            f"in(thingId{',1' * rql.MAX_NODES})",
            "expressions and values",
        ),
        (
            f'like(thingId,"{"a" * rql.MAX_PATTERN}")',
            f'like(thingId,"{"a" * (rql.MAX_PATTERN + 1)}")',
            "characters",
        ),
        (
            f'eq(thingId,"{"a" * (rql.MAX_LENGTH - 14)}")',
            f'eq(thingId,"{"a" * (rql.MAX_LENGTH - 13)}")',
            "characters",
        ),
    ],
)
def test_a_filter_up_to_a_limit_is_parsed_and_above_it_refused(
    fits: str, breaks: str, what: str
) -> None:
    rql.parse(fits)
    with pytest.raises(ExpressionError, match=what):
        rql.parse(breaks)
