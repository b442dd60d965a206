"""Policies decide as Ditto does; a batch decides as one message does."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from streamproc.config.problem import json_path
from streamproc.config.service import NamespacePolicy, Service
from streamproc.errors import ConfigError
from streamproc.kernels.signal import Signal
from streamproc.protocol import topic
from streamproc.twin.policy import READ, WRITE, Policies, denied
from tests.reference import policy as reference

ALL = {"grant": ["READ", "WRITE"], "revoke": []}


def service(policies: dict[str, Any], namespaces: list[tuple[str, str]] | None = None) -> Service:
    rows = [("*", next(iter(policies), "none"))] if namespaces is None else namespaces
    return Service(
        policies=policies,
        namespaces=[NamespacePolicy(namespace=name, policy=policy) for name, policy in rows],
    )


def entry(subjects: list[str], **resources: dict[str, list[str]]) -> dict[str, Any]:
    return {
        "subjects": {subject: {"type": "test"} for subject in subjects},
        "resources": {
            key.replace("__", "/").replace("_", ":/", 1): effect
            for key, effect in resources.items()
        },
    }


def one(entries: dict[str, Any]) -> Policies:
    return Policies.build(service({"p": {"entries": entries}}))


def policy(**resources: dict[str, list[str]]) -> Policies:
    return one({"e": entry(["a:1"], **resources)})


def signal(text: str, path: str = "/", value: Any = 1, **more: Any) -> Signal:
    return Signal(topic.parse(text), path, {}, value, **more)


def test_no_policy_no_access() -> None:
    nothing = Policies.build(Service())
    assert not nothing.may("org.acme", ("a:1",), "thing", "/", READ)
    assert nothing.allowed([signal("n/t/things/twin/commands/modify")], ("a:1",), WRITE) == [False]


def test_what_is_granted_above_holds_below() -> None:
    policies = policy(thing_={"grant": ["READ"]})
    assert policies.may("n", ("a:1",), "thing", "/", READ)
    assert policies.may("n", ("a:1",), "thing", "/attributes/x", READ)
    assert not policies.may("n", ("a:1",), "thing", "/", WRITE)
    assert not policies.may("n", ("b:2",), "thing", "/", READ)
    assert not policies.may("n", (), "thing", "/", READ)
    assert not policies.may("n", ("a:1",), "message", "/", READ)


def test_a_closer_word_wins_and_at_one_place_the_revoke() -> None:
    policies = policy(
        thing_={"grant": ["READ"]},
        thing_attributes={"revoke": ["READ"]},
        thing_attributes__open={"grant": ["READ"]},
        thing_features={"grant": ["READ"], "revoke": ["READ"]},
    )
    assert policies.may("n", ("a:1",), "thing", "/definition", READ)
    assert not policies.may("n", ("a:1",), "thing", "/attributes", READ)
    assert not policies.may("n", ("a:1",), "thing", "/attributes/x", READ)
    assert policies.may("n", ("a:1",), "thing", "/attributes/open", READ)
    assert policies.may("n", ("a:1",), "thing", "/attributes/open/deeper", READ)
    assert not policies.may("n", ("a:1",), "thing", "/attributes/opener", READ)
    assert not policies.may("n", ("a:1",), "thing", "/features", READ)


def test_permission_on_a_path_is_permission_on_all_below() -> None:
    policies = policy(thing_={"grant": ["WRITE"]}, thing_attributes__secret={"revoke": ["WRITE"]})
    assert not policies.may("n", ("a:1",), "thing", "/", WRITE)
    assert not policies.may("n", ("a:1",), "thing", "/attributes", WRITE)
    assert policies.may("n", ("a:1",), "thing", "/attributes/x", WRITE)
    assert not policies.may("n", ("a:1",), "thing", "/attributes/secret/x", WRITE)


def test_another_spelling_of_a_key_does_not_get_around_a_revoke() -> None:
    entries = entry(["a:1"], thing_={"grant": ["WRITE"]})
    entries["resources"]["thing:/attributes/a~0b"] = {"revoke": ["WRITE"]}
    policies = one({"e": entries})
    assert not policies.may("n", ("a:1",), "thing", "/attributes/a~0b", WRITE)
    assert not policies.may("n", ("a:1",), "thing", "/attributes/a~b", WRITE)
    assert not policies.may("n", ("a:1",), "thing", "/attributes/a~b/", WRITE)


def test_several_subjects_share_what_they_have_and_what_they_have_not() -> None:
    policies = one(
        {
            "one": entry(["a:1"], thing_={"grant": ["READ"]}),
            "two": entry(["b:2"], thing_attributes={"revoke": ["READ"]}),
        }
    )
    assert policies.may("n", ("a:1",), "thing", "/attributes", READ)
    assert not policies.may("n", ("a:1", "b:2"), "thing", "/attributes", READ)


@pytest.mark.parametrize(
    ("namespace", "expected"),
    [
        ("org.acme", "exact"),
        ("org.acme.x", "near"),
        ("org.acme.x.y", "nearest"),
        ("org.acme.xx", "near"),
        ("org.acmeX", "rest"),
        ("com", "rest"),
        ("", "rest"),
    ],
)
def test_an_exact_namespace_beats_the_longest_prefix_beats_the_rest(
    namespace: str, expected: str
) -> None:
    rows = [
        ("*", "rest"),
        ("org.acme.*", "near"),
        ("org.acme", "exact"),
        ("org.acme.x.*", "nearest"),
    ]
    policies = Policies.build(service({name: {"entries": {}} for _, name in rows}, rows))
    assert policies.policy_of(namespace) == expected


def test_a_namespace_without_a_row_has_no_policy() -> None:
    policies = Policies.build(service({"p": {"entries": {}}}, [("org.acme", "p")]))
    assert policies.policy_of("org.other") is None


PATHS = ["/", "/a", "/a/b", "/a/b/c", "/a/x", "/d", "/a~0b", "/a~b"]
SUBJECTS = ["s:1", "s:2", "s:3"]
effects = st.fixed_dictionaries(
    {},
    optional={
        "grant": st.lists(st.sampled_from(["READ", "WRITE"]), max_size=2),
        "revoke": st.lists(st.sampled_from(["READ", "WRITE"]), max_size=1),
    },
)
entries_strategy = st.dictionaries(
    st.sampled_from(["e1", "e2", "e3"]),
    st.fixed_dictionaries(
        {
            "subjects": st.sets(st.sampled_from(SUBJECTS), min_size=1).map(
                lambda names: {name: {"type": "t"} for name in sorted(names)}
            ),
            "resources": st.dictionaries(
                st.sampled_from([f"{kind}:{p}" for kind in ("thing", "message") for p in PATHS]),
                effects,
                min_size=1,
                max_size=5,
            ),
        }
    ),
    max_size=3,
)
subject_tuples = st.lists(st.sampled_from(SUBJECTS), max_size=3, unique=True).map(tuple)


@given(entries=entries_strategy, subjects=subject_tuples)
@settings(max_examples=400, deadline=None)
def test_decides_as_the_reference(entries: dict[str, Any], subjects: tuple[str, ...]) -> None:
    policies = one(entries)
    for kind in ("thing", "message"):
        for path in PATHS:
            for permission in (READ, WRITE):
                expected = reference.may({"entries": entries}, subjects, kind, path, permission)
                event("allowed" if expected else "denied")
                for _ in range(2):  # the second answer comes from the cache
                    assert policies.may("n", subjects, kind, path, permission) == expected


TOPICS = [
    "n/t/things/twin/commands/modify",
    "n/t/things/twin/commands/retrieve",
    "m/t/things/live/commands/delete",
    "n/t/things/twin/events/modified",
    "n/t/things/live/messages/s",
    "n/t/things/twin/acks/x",
    "n/t/things/twin/errors",
    "n/t/policies/commands/modify",
    "n/t/policies/announcements/subjectDeletion",
    "_/_/things/twin/commands/retrieve",
]


def allowed(
    entries: dict[str, Any], message: Signal, subjects: tuple[str, ...], permission: str
) -> bool:
    """One signal, decided by the sentences of ``Policies.allowed``."""
    about = message.topic
    assert about is not None
    answers = message.status is not None or about.criterion == "acks"
    if about.criterion == "announcements":
        return permission == READ
    if answers:
        return permission == WRITE
    if about.group != "things" or about.name == "_" or about.criterion == "errors":
        return False
    if about.namespace != "n":
        return False
    if about.action == "retrieve":
        permission = READ
    kind = "message" if about.criterion == "messages" else "thing"
    return reference.may({"entries": entries}, subjects, kind, message.path, permission)


@given(
    entries=entries_strategy,
    shared=st.none() | subject_tuples,
    rows=st.lists(
        st.tuples(
            st.sampled_from(TOPICS),
            st.sampled_from(PATHS),
            st.sampled_from([None, None, None, 200]),
            subject_tuples,
        ),
        min_size=1,
        max_size=8,
    ),
    permission=st.sampled_from([READ, WRITE]),
)
@settings(max_examples=500, deadline=None)
def test_a_batch_decides_as_each_of_its_messages(
    entries: dict[str, Any], shared: tuple[str, ...] | None, rows: list[Any], permission: str
) -> None:
    policies = Policies.build(service({"p": {"entries": entries}}, [("n", "p")]))
    signals = []
    for text, path, status, subjects in rows:
        message = signal(text, path, status=status)
        message.subjects = subjects
        signals.append(message)
    expected = [
        allowed(entries, message, message.subjects if shared is None else shared, permission)
        for message in signals
    ]
    event(f"allowed {sum(expected)} of {len(expected)}")
    assert policies.allowed(signals, shared, permission) == expected


def test_a_patch_needs_write_where_it_touches_only() -> None:
    policies = policy(thing_features__temp={"grant": ["WRITE"]})
    merge = "n/t/things/twin/commands/merge"
    modify = "n/t/things/twin/commands/modify"
    patch = {"features": {"temp": {"properties": {"value": 3}}}}
    wider = {"features": {"temp": {"properties": {"value": 3}}, "other": None}}
    pattern = {"features": {"temp": {"{{ /x/ }}": None}, "{{ /te.*/ }}": None}}
    inside = {"features": {"temp": {"{{ /x/ }}": None}}}
    signals = [
        signal(merge, "/", patch),
        signal(modify, "/", patch),
        signal(merge, "/", wider),
        signal(merge, "/features", {"temp": {}}),
        signal(merge, "/", {}),
        signal(merge, "/", None),
        signal(merge, "/", pattern),
        signal(merge, "/", inside),
    ]
    assert policies.allowed(signals, ("a:1",), WRITE) == [
        *(True, False, False, True, False, False, False, True)
    ]
    assert policies.allowed(signals, ("a:1",), READ) == [False] * 8


def test_a_pattern_in_a_patch_may_touch_anything_beside_it() -> None:
    policies = policy(
        thing_features={"grant": ["WRITE"]}, thing_features__secret={"revoke": ["WRITE"]}
    )
    merge = "n/t/things/twin/commands/merge"
    signals = [
        signal(merge, "/", {"features": {"s": None}}),
        signal(merge, "/", {"features": {"{{ /s.*/ }}": None}}),
        signal(merge, "/features", {"{{ /s.*/ }}": None}),
    ]
    assert policies.allowed(signals, ("a:1",), WRITE) == [True, False, False]


def test_neighbours_in_a_batch_do_not_share_what_is_not_theirs() -> None:
    """Each pair of signals, however little they differ, is decided as each alone."""
    entries = {
        "one": entry(["a:1"], thing_={"grant": ["READ", "WRITE"]}, thing_x={"revoke": ["WRITE"]}),
        "two": entry(["b:2"], thing_y={"grant": ["WRITE"]}, message_={"grant": ["READ"]}),
        "three": entry(["b:2"], thing_x={"grant": ["READ"]}, message_x={"grant": ["WRITE"]}),
    }
    policies = Policies.build(service({"p": {"entries": entries}}, [("n", "p")]))
    signals = []
    for text in TOPICS:
        for path in ("/x", "/y"):
            for subjects in (("a:1",), ("b:2",)):
                message = signal(text, path)
                message.subjects = subjects
                signals.append(message)
    seen = set()
    for permission in (READ, WRITE):
        alone = [allowed(entries, each, each.subjects, permission) for each in signals]
        for first, expected_first in zip(signals, alone, strict=True):
            found = [policies.allowed([first, each], None, permission) for each in signals]
            assert found == [[expected_first, expected] for expected in alone]
        seen |= set(alone)
    assert seen == {True, False}


def test_what_names_no_thing_is_allowed_to_nobody() -> None:
    policies = policy(thing_=ALL, message_=ALL)
    signals = [
        signal("_/_/things/twin/commands/retrieve"),
        signal("n/_/things/twin/commands/merge", "/", {}),
        signal("n/t/policies/commands/modify"),
        signal("n/t/policies/commands/merge", "/", {}),
        signal("_/c/connections/announcements/opened"),
    ]
    assert policies.allowed(signals, ("a:1",), WRITE) == [False] * 5
    assert policies.allowed(signals, ("a:1",), READ) == [*[False] * 4, True]


def test_caches_stay_within_their_bounds() -> None:
    policies = policy(thing_={"grant": ["READ"]}, thing_x={"revoke": ["READ"]})
    for i in range(20_000):
        assert policies.may("n", ("a:1",), "thing", f"/attributes/{i}", READ)
        assert not policies.may("n", ("b:2", f"s:{i}"), "thing", "/", READ)
    long = "/attributes/" + "x" * 10_000
    assert policies.may("n", ("a:1",), "thing", long, READ)
    assert len(policies._decisions) <= 16_384
    assert len(policies._rules) <= 1024
    assert (1, long) not in policies._decisions


def test_a_rule_made_again_does_not_take_up_old_decisions() -> None:
    policies = one(
        {
            "one": entry(["a:1"], thing_={"grant": ["READ"]}, thing_x={"revoke": ["READ"]}),
            "two": entry(["b:2"], thing_={"grant": ["READ"]}, thing_y={"revoke": ["READ"]}),
        }
    )
    assert not policies.may("n", ("a:1",), "thing", "/x", READ)
    for i in range(1100):  # push the rule out of its cache, but not its decision
        policies.may("n", (f"s:{i}",), "thing", "/x", READ)
    assert policies.may("n", ("b:2",), "thing", "/x", READ)
    assert not policies.may("n", ("a:1",), "thing", "/x", READ)


def test_who_is_refused_hears_why() -> None:
    message = signal("n/t/things/live/messages/s", "/inbox/messages/s")
    message.subjects = ("a:1",)
    assert denied(message, WRITE).code == "messages:sendnotallowed"
    assert denied(signal("n/t/things/twin/commands/create"), WRITE).code == (
        "things:thing.notcreatable"
    )
    error = denied(signal("n/t/things/twin/commands/modify", "/attributes/x"), WRITE)
    assert (error.code, error.status) == ("things:thing.notmodifiable", 403)
    assert "thing:/attributes/x" in str(error)
    assert "'n'" in str(error.details["description"])


BROKEN = {
    "entries": {
        "a label": {
            "subjects": {
                "{{ header:x }}": {"type": "t"},
                "s:1": {"expiry": "2030-01-01T00:00:00Z"},
            },
            "resources": {
                "things:/": {"grant": ["READ"]},
                "thing": {"grant": ["READ"]},
                "thing:/a": {"grants": ["READ"]},
                "thing:/b": {"grant": ["READ", "write"], "revoke": "READ"},
                "thing:/c": [],
            },
            "subject": {},
        },
        "none": 3,
        "empty": {},
    },
    "policyId": "other",
    "imports": {"org.acme:base": {}},
    "entry": {},
    "_revision": 3,
}


def test_all_problems_are_told_at_once_with_their_place() -> None:
    broken = service(
        {"org.acme:p": BROKEN, "list": [], "fine": {"entries": {}}},  # type: ignore[dict-item]
        [("org.acme", "fin"), ("org..x", "fine"), ("*", "fine"), ("*", "fine"), ("x*", "fine")],
    )
    at = "$.policies['org.acme:p']"
    e = f"{at}.entries['a label']"
    findings = {json_path(found.path): found for found in Policies.findings(broken)}
    assert list(findings) == [
        f"{at}.entry",
        f"{at}.policyId",
        f"{at}.imports",
        f"{e}.subject",
        f"{e}.subjects['{{{{ header:x }}}}']",
        f"{e}.subjects['s:1'].expiry",
        f"{e}.resources['things:/']",
        f"{e}.resources.thing",
        f"{e}.resources['thing:/a'].grants",
        f"{e}.resources['thing:/b'].grant[1]",
        f"{e}.resources['thing:/b'].revoke",
        f"{e}.resources['thing:/c']",
        f"{at}.entries.none",
        f"{at}.entries.empty.subjects",
        f"{at}.entries.empty.resources",
        "$.policies.list",
        "$.namespaces[0].policy",
        "$.namespaces[1].namespace",
        "$.namespaces[3].namespace",
        "$.namespaces[4].namespace",
    ]
    assert findings[f"{e}.resources['things:/']"].hint == "did you mean 'thing'"
    assert findings[f"{e}.subject"].hint == "did you mean 'subjects'"
    assert findings[f"{e}.resources['thing:/b'].grant[1]"].hint == "did you mean 'WRITE'"
    assert findings["$.namespaces[0].policy"].hint == "did you mean 'fine'"
    assert "org..x" in findings["$.namespaces[1].namespace"].sentence
    with pytest.raises(ConfigError) as caught:
        Policies.build(broken)
    assert all(path in str(caught.value) for path in findings)


def test_a_policy_as_ditto_shows_it_is_taken() -> None:
    shown = {
        "policyId": "org.acme:p",
        "imports": {},
        "_revision": 4,
        "_namespace": "org.acme",
        "entries": {
            "owner": {
                "subjects": {"nginx:ditto": {"type": "generated"}},
                "resources": {
                    "thing:/": {"grant": ["READ", "WRITE"], "revoke": []},
                    "policy:/": {"grant": ["READ", "WRITE"], "revoke": []},
                    "message:/": {"grant": ["READ", "WRITE"], "revoke": []},
                    "mine:/": {"grant": ["EXECUTE"], "revoke": []},
                },
                "importable": "implicit",
            }
        },
    }
    policies = Policies.build(service({"org.acme:p": shown}))
    assert policies.may("org.acme", ("nginx:ditto",), "message", "/inbox/messages/x", WRITE)


@pytest.mark.parametrize("wrong", [None, 3, [None], ["x"], [Signal(None)]])
def test_wrong_types_are_a_type_error_not_a_crash(wrong: Any) -> None:
    with pytest.raises(TypeError):
        policy(thing_=ALL).allowed(wrong, ("a:1",), READ)
