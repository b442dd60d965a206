"""Every function does what its examples say, and the table fits the kernel."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from streamproc.evaluate.template import template
from streamproc.lang.functions import FUNCTIONS
from streamproc.lang.scopes import PLACEHOLDERS, Scope

EXAMPLES = [
    pytest.param(example, id=f"{name}-{i}")
    for name, function in FUNCTIONS.items()
    for i, example in enumerate(function.examples)
]


@pytest.mark.parametrize("example", EXAMPLES)
def test_examples(example):
    context = {"headers": dict(example.headers), "subjects": list(example.subjects)}
    result = template({"template": example.template, "context": context})
    expected = example.expect
    if isinstance(expected, Mapping):
        expected = dict(expected)
    assert result == (list(expected) if isinstance(expected, tuple) else expected)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_function_is_explained_and_shown(name):
    function = FUNCTIONS[name]
    assert function.name == name
    assert function.summary.endswith(".")
    assert any(f"fn:{name}(" in example.template for example in function.examples)
    optional = [parameter.optional for parameter in function.parameters]
    assert optional == sorted(optional), "what may be left out comes last"


def test_a_signature_reads_as_it_is_written():
    assert FUNCTIONS["replace"].signature == "fn:replace(from, to)"
    assert FUNCTIONS["filter"].signature == "fn:filter(tested, operator, [compared])"


@pytest.mark.parametrize("prefix", PLACEHOLDERS)
def test_every_placeholder_has_an_example_that_parses_somewhere(prefix):
    row = PLACEHOLDERS[prefix]
    assert f"{prefix}:" in row.example
    scopes = [scope for scope in vars(Scope).values() if isinstance(scope, Scope)]
    assert any(prefix in scope.prefixes for scope in scopes)
    result = template({"template": row.example, "context": {
        "sourceAddress": "a", "withPolicyPrefix": True, "connectionId": "c"}})  # fmt: skip
    assert result == {"unresolved": True} or isinstance(result, str)
