"""The laws of a VIF type: functions of the type and one VIF that yield a sentence for each violation.

`vifplug.testing.conformance` makes tests of them; any other test framework can do so too.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TypeVar

from vifplug.errors import InvalidDocument, InvalidRequest
from vifplug.guest import write
from vifplug.guest.interface import Interface
from vifplug.model.codec import joined
from vifplug.model.names import IFNAME_BYTES
from vifplug.model.vif import VIF
from vifplug.plan import registry
from vifplug.plan.registry import Device, LowerDevice, Macvtap, OvsBridge, OvsPort, Ownership, Resource, Tap
from vifplug.plugins import bound
from vifplug.testing import sandbox, schema
from vifplug.types.base import Context, VIFType

T = TypeVar("T")

#: the id of another VIF
OTHER = "f0e1d2c3-b4a5-4697-8879-6a5b4c3d2e1f"


class LawBroken(Exception):
    """A law is broken so that the rest cannot be checked; ``str()`` is the sentence."""


def called(name: str, call: Callable[[], T]) -> T:
    """Return the result of a type's method. Raises LawBroken with what the method raised."""
    try:
        return call()
    except InvalidDocument as error:
        raise LawBroken(f"{name} created an invalid object: {error}") from error
    except Exception as error:  # any exception of a type is the result
        raise LawBroken(f"{name} raised {type(error).__name__}: {error}") from error


def desired(kind: VIFType, vif: VIF, context: Context) -> list[Resource]:
    """Return the resources that ``desired`` gives. Raises LawBroken."""
    found = called("desired", lambda: kind.desired(vif, context))
    if not isinstance(found, Iterable):
        raise LawBroken(f"desired must return resources, but returned {found!r}")
    listed = called("desired", lambda: list(found))
    if others := [each for each in listed if not isinstance(each, Resource)]:
        raise LawBroken(f"desired must return resources of vifplug.plan.registry, but returned {others[0]!r}")
    return listed


def interface(kind: VIFType, vif: VIF, context: Context) -> Interface:
    """Return the record that ``interface`` gives. Raises LawBroken."""
    found = called("interface", lambda: kind.interface(vif, context))
    if not isinstance(found, Interface):
        raise LawBroken(f"interface must return a vifplug.guest.interface.Interface, but returned {found!r}")
    return found


def accepted(kind: VIFType, vif: VIF, context: Context) -> Iterator[str]:
    """Check that the type does not refuse an example."""
    try:
        kind.validate(vif, context)
    except InvalidRequest as error:
        yield f"the example is refused: {error}"


def round_trip(kind: VIFType, vif: VIF, context: Context) -> Iterator[str]:
    """Check that a VIF and its resources survive writing and reading."""
    again = bound(VIF.from_json(vif.to_json()), kind)
    if again != vif:
        yield f"the VIF does not survive JSON: expected {vif!r}, got {again!r}"
    found = desired(kind, vif, context)
    if unread := called("writing and reading the resources", lambda: unlike(found)):
        yield f"the resources do not survive JSON: expected {found}, got {unread}"


def deterministic(kind: VIFType, vif: VIF, context: Context) -> Iterator[str]:
    """Check that the same VIF gives the same answer every time, from every instance of the type."""
    for name, ask in (("interface", interface), ("desired", desired)):
        answers = [ask(each, vif, context) for each in (kind, kind, type(kind)())]
        if any(answer != answers[0] for answer in answers):
            other = next(answer for answer in answers if answer != answers[0])
            yield f"{name} gives another answer each time: {answers[0]} and {other}"


def pure(kind: VIFType, vif: VIF, context: Context) -> Iterator[str]:
    """Check that a type opens no file, socket or process. It gets facts about the host from ``context.facts``."""
    for name, ask in (("check", _checked), ("interface", interface), ("desired", desired)):
        try:
            with sandbox.enforced():
                ask(kind, vif, context)
        except sandbox.Impure as error:
            yield f"{name} touches the machine: {error}; use context.facts, or make it a resource"


def known_kinds(
    kind: VIFType, vif: VIF, context: Context, kinds: Mapping[str, type[Resource]], broken: Mapping[str, str]
) -> Iterator[str]:
    """Check that each resource is of a kind that has a backend, and names its owner unless it is shared.

    ``broken``: kinds whose backend cannot be used, and why.
    """
    for resource in desired(kind, vif, context):
        if reason := broken.get(resource.kind):
            yield f"{resource} is of a kind whose backend cannot be used: {reason}"
        elif kinds.get(resource.kind) is not type(resource):
            yield (
                f"{resource} has no backend for its kind (expected one of: {joined(sorted(kinds))}); "
                "a kind of your own needs a backend, in the entry points vifplug.resources"
            )
        if resource.owner != vif.id and resource.ownership is not Ownership.SHARED:
            yield f"{resource} has owner {resource.owner!r}; expected the VIF's id: owner=vif.id"


def named(kind: VIFType, vif: VIF, context: Context) -> Iterator[str]:
    """Check that the kernel accepts the names of devices, and that two VIFs get different names."""
    found = desired(kind, vif, context)
    for resource in found:
        if isinstance(resource, OvsPort) and resource.type in ("", "internal") and _too_long(resource.name):
            yield f"{resource} has a name of more than {IFNAME_BYTES} bytes, which no device can have"
    data = {key: value for key, value in vif.to_data().items() if key != "target"} | {"id": OTHER}
    other = desired(kind, bound(VIF.from_data(data), kind), context)
    given = json.dumps(data)
    for name in sorted(_names(found) & _names(other)):
        if name not in given:
            yield f"VIFs {vif.id} and {OTHER} both get the device {name}: make the name from vif.device or vif.id"


def hardened(kind: VIFType, vif: VIF, context: Context) -> Iterator[str]:
    """Check that new devices have disable_ipv6 set before they are up, so that the host ignores guests' RAs."""
    for resource in desired(kind, vif, context):
        if isinstance(resource, Device) and not resource.sysctls.items() >= registry.HARDENED.items():
            yield (
                f"{resource} is not hardened: its sysctls are {dict(resource.sysctls)}; "
                "add to vifplug.plan.registry.HARDENED, do not replace it"
            )


def ordered(kind: VIFType, vif: VIF, context: Context) -> Iterator[str]:
    """Check that resources are in the order of creation, each identity once."""
    found = desired(kind, vif, context)
    identities = [resource.identity for resource in found]
    for repeated in sorted({each for each in identities if identities.count(each) > 1}):
        yield f"{' '.join(repeated)} is returned more than once: one identity has one resource"
    made = {name: index for index, resource in enumerate(found) for name in _made_by(resource)}
    for index, resource in enumerate(found):
        for need in sorted(need for need in _named_in(resource) if made.get(need, -1) > index):
            yield f"{resource} needs {need}, which comes after it: what is needed comes first"


def element(kind: VIFType, vif: VIF, context: Context) -> Iterator[str]:
    """Check that libvirt accepts the element, that it is for this guest, and that it fits the resources."""
    found = interface(kind, vif, context)
    if found.mac != vif.mac:
        yield f"the element has MAC {found.mac}, expected {vif.mac}"
    if schema.installed() and (complaint := schema.complaint(write.element(found))):
        yield f"libvirt's schema refuses the element: {complaint}; it is {write.element(found)}"
    for resource in desired(kind, vif, context):
        if isinstance(resource, (Tap, Macvtap)):
            yield from _fits(found, resource)


# -- helpers ------------------------------------------------------------------------------------------------------


def _checked(kind: VIFType, vif: VIF, context: Context) -> None:
    with contextlib.suppress(InvalidRequest):  # `accepted` says so
        kind.validate(vif, context)


def unlike(found: Sequence[Resource]) -> list[Resource]:
    """Return the resources as they are read after they were written; none if they are the same."""
    kinds = {resource.kind: type(resource) for resource in found}
    again = registry.from_json(registry.to_json(found), kinds)
    return [] if again == found else again


def _too_long(name: str) -> bool:
    return len(name.encode()) > IFNAME_BYTES


def _made_by(resource: Resource) -> list[str]:
    """Return the devices and bridges that a resource makes."""
    if isinstance(resource, OvsBridge):
        return [resource.name]
    return list(resource.links) if isinstance(resource, Device) else []


def _names(found: Iterable[Resource]) -> set[str]:
    """Return the names of a VIF's own devices: not of those that existed before, such as a VF's representor, and not
    of shared ones.
    """
    listed = [each for each in found if each.ownership is not Ownership.SHARED]
    ports = {each.name for each in listed if isinstance(each, OvsPort)}
    there = {each.name for each in listed if isinstance(each, LowerDevice)}
    return ports.union(*map(_made_by, listed)) - there


def _named_in(resource: Resource) -> set[str]:
    """Return all strings in a resource; one that is the name of another device is a device that it needs."""
    values = (getattr(resource, each.name) for each in dataclasses.fields(resource) if each.name != "owner")
    return {value for value in values if isinstance(value, str)}


def _fits(found: Interface, tap: Tap | Macvtap) -> Iterator[str]:
    """Check the one form in which libvirt >= 9.0 takes an existing device without deleting it: managed='no'."""
    if found.type != "ethernet":
        yield f"the element has type {found.type}, and libvirt accepts an existing device, {tap}, as ethernet only"
    elif found.target_managed is not False:
        yield f"the element must say managed='no' (target_managed=False), or libvirt deletes {tap}"
    if found.target != tap.name:
        yield f"the element has target {found.target}, and {tap} is created"
    queues = (found.driver and found.driver.queues) or 1
    if isinstance(tap, Tap) and tap.multi_queue != (queues > 1):
        yield f"{tap} has multi_queue={tap.multi_queue} and the element {queues} queues: libvirt could not open it"
