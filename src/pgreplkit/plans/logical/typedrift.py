"""How the types of two columns differ: enum labels, domain constraints, composite attributes."""

from __future__ import annotations

from collections.abc import Iterator

import attrs

from pgreplkit._text import quote_literal
from pgreplkit.catalog.logical.types import DomainCheck, TypeAttribute, Types, TypeShape
from pgreplkit.values.finding import Severity
from pgreplkit.values.tablename import quoted


@attrs.frozen
class TypeDifference:
    """One difference between a type of the publisher and that of the subscriber."""

    severity: Severity
    found: str
    ddl: tuple[str, ...] = ()
    """The DDL that aligns the subscriber; empty if the decision is yours."""


def type_differences(there: int, theirs: Types, here: int, ours: Types) -> Iterator[TypeDifference]:
    """Yield the differences between two types, and between all types that they are made of.

    ``there`` and ``here`` are the OIDs on the publisher and on the subscriber. Types with different
    names are not compared further: the column or the attribute has another type then.
    """
    # Types may refer to each other, directly or through arrays.
    waiting, seen = [(there, here)], {(there, here)}
    while waiting:
        own, other = waiting.pop(0)
        if own not in theirs or other not in ours:
            continue
        yield from _differences(theirs[own], ours[other])
        for pair in _parts(theirs[own], ours[other]):
            if pair not in seen:
                seen.add(pair)
                waiting.append(pair)


def _parts(there: TypeShape, here: TypeShape) -> Iterator[tuple[int, int]]:
    if there.element is not None and here.element is not None:
        yield there.element, here.element
    for own, other in zip(there.attributes, here.attributes, strict=False):
        yield own.type_oid, other.type_oid


_KINDS = {"e": "an enum", "d": "a domain", "c": "a composite type", "r": "a range", "t": "a table"}


def _differences(there: TypeShape, here: TypeShape) -> Iterator[TypeDifference]:
    if there.kind != here.kind:
        if there.name == here.name:
            kinds = [_KINDS.get(shape.kind, "a base type") for shape in (here, there)]
            found = f"type {here.name} is {kinds[0]}, on the publisher {kinds[1]}"
            yield TypeDifference(Severity.WARNING, found)
        return
    # The definitions of other types are compared by their parts.
    if there.definition != here.definition and there.name == here.name:
        found = f"{_KINDS[here.kind][2:]} {here.name} is over {here.definition}"
        yield TypeDifference(Severity.WARNING, f"{found}, on the publisher over {there.definition}")
    match there.kind:
        case "e":
            yield from _labels(there, here)
        case "d":
            yield from _domain(there, here)
        case "c" | "t":
            yield from _attributes(there, here)


def _labels(there: TypeShape, here: TypeShape) -> Iterator[TypeDifference]:
    for place, label in enumerate(there.labels):
        if label not in here.labels:
            yield TypeDifference(
                Severity.CRITICAL,
                f"enum {here.name} lacks the label {quote_literal(label)}, so that a row with it"
                " cannot be applied",
                (_adding_label(there, here, place),),
            )
    if extra := [label for label in here.labels if label not in there.labels]:
        which = ", ".join(map(quote_literal, extra))
        yield TypeDifference(
            Severity.INFO, f"only the subscriber's enum {here.name} has the labels {which}"
        )
    common = [label for label in there.labels if label in here.labels]
    if common != [label for label in here.labels if label in there.labels]:
        yield TypeDifference(
            Severity.WARNING, f"enum {here.name} has its labels in another order, and sorts by it"
        )


def _adding_label(there: TypeShape, here: TypeShape, place: int) -> str:
    """Return the statement that adds a label in its place; those before it were added before."""
    statement = (
        f"ALTER TYPE {here.name} ADD VALUE IF NOT EXISTS {quote_literal(there.labels[place])}"
    )
    if place:
        # The order of labels is the order in which values sort.
        return f"{statement} AFTER {quote_literal(there.labels[place - 1])}"
    return f"{statement} BEFORE {quote_literal(here.labels[0])}" if here.labels else statement


def _domain(there: TypeShape, here: TypeShape) -> Iterator[TypeDifference]:
    if here.not_null and not there.not_null:
        yield TypeDifference(
            Severity.CRITICAL,
            f"domain {here.name} is NOT NULL, which it is not on the publisher",
            (f"ALTER DOMAIN {here.name} DROP NOT NULL",),
        )
    elif there.not_null and not here.not_null:
        yield TypeDifference(
            Severity.WARNING,
            f"domain {here.name} may be NULL, which it may not on the publisher",
            (f"ALTER DOMAIN {here.name} SET NOT NULL",),
        )
    for check in _only_in(here, there):
        yield TypeDifference(
            Severity.WARNING,
            f"only the subscriber's domain {here.name} has {check.definition}, which may refuse"
            " what the publisher takes",
        )
    for check in _only_in(there, here):
        name = quoted(check.name)
        yield TypeDifference(
            Severity.WARNING,
            f"domain {here.name} lacks {check.definition}",
            (
                f"ALTER DOMAIN {here.name} ADD CONSTRAINT {name} {check.definition} NOT VALID",
                f"ALTER DOMAIN {here.name} VALIDATE CONSTRAINT {name}",
            )
            if not check.definition.endswith("NOT VALID")
            else (f"ALTER DOMAIN {here.name} ADD CONSTRAINT {name} {check.definition}",),
        )


def _only_in(one: TypeShape, other: TypeShape) -> Iterator[DomainCheck]:
    # The names of constraints do not matter.
    rules = {check.rule for check in other.checks}
    return (check for check in one.checks if check.rule not in rules)


def _attributes(there: TypeShape, here: TypeShape) -> Iterator[TypeDifference]:
    own = [(a.name, a.type) for a in there.attributes]
    other = [(a.name, a.type) for a in here.attributes]
    if own == other:
        return
    # A value is sent as a row of texts, one for each attribute in its place.
    is_shorter = len(other) < len(own) and own[: len(other)] == other
    names, other_names = [name for name, _ in own], [name for name, _ in other]
    is_moved = names != other_names and sorted(names) == sorted(other_names)
    # Only attributes at the end can be added in place.
    added = there.attributes[len(other) :] if is_shorter and here.kind == "c" else ()
    yield TypeDifference(
        Severity.CRITICAL if len(own) != len(other) or is_moved else Severity.WARNING,
        f"composite type {here.name} has {_listed(here.attributes)}; the publisher's has"
        f" {_listed(there.attributes)}",
        tuple(
            f"ALTER TYPE {here.name} ADD ATTRIBUTE {quoted(attribute.name)} {attribute.type}"
            for attribute in added
        ),
    )


def _listed(attributes: tuple[TypeAttribute, ...]) -> str:
    return f"({', '.join(f'{quoted(a.name)} {a.type}' for a in attributes)})"
