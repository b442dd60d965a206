"""Authorisation of a batch: signals of one namespace share one look at the policies.

A batch usually has one tuple of subjects and few namespaces, so a message costs a few
comparisons; in Python it is the reading of a signal's fields that costs.
"""


from streamproc.kernels.signal cimport Signal, Topic

# What decides about a signal.
cdef enum Kind:
    NEVER
    ALWAYS
    CHANGE  # WRITE, or READ where that is asked, on a thing
    RETRIEVE  # READ on a thing
    MESSAGE  # WRITE or READ on a message


def decide(
    list signals not None, tuple subjects, bint write, object find, object verdict
):
    """Whether each signal is allowed to *subjects*; None: to its own.

    ``find(namespace, subjects, resource_type, permission)`` gives a rule, with the answer
    for every path in ``everywhere``, or None there; then ``verdict(rule, path)`` decides.
    """
    cdef list results = []
    cdef dict by_path = {}  # verdicts of the current rule
    cdef object item, rule = None, everywhere = None, answer
    cdef Signal signal
    cdef Topic topic
    cdef tuple who, last_who = None
    cdef str namespace = None
    cdef Kind kind, last_kind = NEVER
    for item in signals:
        signal = <Signal?>item
        topic = <Topic?>signal.topic
        kind = _kind(topic, signal.status, write)
        if kind == NEVER or kind == ALWAYS:
            results.append(kind == ALWAYS)
            continue
        who = signal.subjects if subjects is None else subjects
        if not (
            kind == last_kind and topic.namespace == namespace
            and (who is last_who or who == last_who)
        ):
            last_kind, namespace, last_who = kind, topic.namespace, who
            rule = find(
                namespace,
                who,
                "message" if kind == MESSAGE else "thing",
                "WRITE" if write and kind != RETRIEVE else "READ",
            )
            everywhere = rule.everywhere
            if by_path:
                by_path = {}
        if everywhere is not None:
            results.append(everywhere)
            continue
        answer = by_path.get(signal.path)
        if answer is None:
            answer = by_path[signal.path] = verdict(rule, signal.path)
        results.append(answer)
    return results


cdef Kind _kind(Topic topic, object status, bint write) noexcept:
    if topic.criterion == "announcements":
        return NEVER if write else ALWAYS
    if status is not None or topic.criterion == "acks":
        return ALWAYS if write else NEVER
    if topic.group != "things" or topic.entity_id is None:
        return NEVER
    if topic.criterion == "messages":
        return MESSAGE
    if topic.criterion == "commands":
        return RETRIEVE if topic.action == "retrieve" else CHANGE
    if topic.criterion == "events":
        return CHANGE
    return NEVER
