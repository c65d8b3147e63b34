"""The changes to one interface, and how they are made in its text, be it in the devices or in the metadata."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from vifplug.errors import InvalidDocument, InvalidRequest, Problem
from vifplug.guest import parts, write
from vifplug.guest.domain.patch import Patch
from vifplug.guest.domain.retype import retype, unsupported
from vifplug.guest.domain.spans import Element
from vifplug.model.codec import Model, model
from vifplug.model.guestxml import quoted
from vifplug.model.names import DeviceName, Word
from vifplug.model.virtualport import OPENVSWITCH, PARAMETERS, VirtualPort
from vifplug.model.vlan import Vlan

if TYPE_CHECKING:
    from lxml.etree import _Element

    from vifplug.guest.domain.metadata import DescribedVif

#: the attributes of <source> that are configuration
_SOURCE = {"bridge": ("bridge",), "network": ("network", "portgroup")}


@model
class InterfaceEdit(Model):
    """The changes to an interface; what is not given stays.

    A network or portgroup removes the interface's own VLAN, unless ``vlan`` gives one: libvirt would use it instead of
    the network's.
    """

    #: the network that it is connected to
    network: Word | None = None
    #: a portgroup of ``network``, or of the interface's present network if ``network`` is not given
    portgroup: Word | None = None
    #: the bridge that it is connected to
    bridge: DeviceName | None = None
    #: ``none`` removes the element
    virtualport: Literal["openvswitch", "none"] | None = None
    vlan: Vlan | None = None
    #: remove the VLAN
    no_vlan: bool = False

    def rules(self) -> Iterator[Problem]:
        if self.bridge and (self.network or self.portgroup):
            yield Problem("$.bridge", "cannot be combined with network or portgroup: an interface has one connection")
        if self.vlan and self.no_vlan:
            yield Problem("$.vlan", "cannot be combined with no_vlan")
        if not any((self.network, self.portgroup, self.bridge, self.virtualport, self.vlan, self.no_vlan)):
            yield Problem("$", "expected something to change, got nothing")


@dataclass(frozen=True, kw_only=True)
class Edited:
    """A text with one interface changed."""

    text: bytes
    #: what was removed although the change does not name it, a sentence each
    removed: tuple[str, ...] = ()
    #: the VIF of the guest's metadata that was changed instead of the interface; None if there is none
    described: DescribedVif | None = None


def type_of(interface: Element) -> str:
    return interface.attributes.get("type", "user")  # libvirt's default


def apply(patch: Patch, change: InterfaceEdit) -> list[str]:
    """Change an interface, and return what was removed although the change does not name it, a sentence each."""
    removed = _connect(patch, change)
    _set_virtualport(patch, change.virtualport)
    if _set_vlan(patch, change):
        removed.append("removed <vlan>: it would override the VLAN of the network")
    return removed


def _connect(patch: Patch, change: InterfaceEdit) -> list[str]:
    """Set type and source, and remove what the new type does not support."""
    kind = "bridge" if change.bridge else "network"
    if not (desired := _source(patch, change)):
        return []
    found = patch.child("source")
    has = {name: value for name, value in found.attributes.items() if name in _SOURCE[kind]} if found else {}
    was = type_of(patch.root)
    gone = retype(patch, kind) if was != kind else []
    if was != kind or has != desired:
        attributes = "".join(f" {name}='{quoted(value)}'" for name, value in desired.items())
        patch.put("source", f"  <source{attributes}/>\n", ("mac",))
    if was == "vdpa" != kind and patch.child("model") is None:  # of libvirt's types, only vdpa is virtio by itself
        patch.put("model", "  <model type='virtio'/>\n", ("target", "virtualport", "vlan", "source", "mac"))
    if (target := patch.child("target")) and target.attributes.get("managed") == "no":
        patch.drop_attribute(target, "managed")
        gone.append("managed='no' of <target>")
    return [unsupported(gone, kind)] if gone else []


def _source(patch: Patch, change: InterfaceEdit) -> dict[str, str]:
    """Return the attributes of the source; empty if the connection stays as it is."""
    if change.bridge:
        return {"bridge": change.bridge}
    network = change.network
    if change.portgroup and not network:
        source = patch.child("source")
        network = source.attributes.get("network") if source else None
        if not network:
            raise needs_network(type_of(patch.root))
    return parts.given(network=network, portgroup=change.portgroup)


def needs_network(kind: str) -> InvalidRequest:
    return InvalidRequest(f"--portgroup is for an interface of a network, got type {kind}: add --network")


def _set_virtualport(patch: Patch, desired: str | None) -> None:
    if desired == "none":
        patch.remove("virtualport")
    elif desired:
        found = patch.child("virtualport")
        kind = found and found.attributes.get("type")
        if kind != desired:
            ids = _ids(found) if found and not kind else {}
            port = VirtualPort.from_data({"type": desired, **ids})
            patch.put("virtualport", write.virtualport_element(port), ("vlan", "source", "mac"))


def _ids(untyped: Element) -> dict[str, str]:
    """Return Open vSwitch's parameters of a virtualport that leaves its type to the network."""
    given = {name: value for each in untyped.all("parameters") for name, value in each.attributes.items()}
    return {name: given[name] for name in PARAMETERS[OPENVSWITCH] if name in given}


def _set_vlan(patch: Patch, change: InterfaceEdit) -> bool:
    """Set or remove the VLAN; return whether one was removed because of the network."""
    if change.vlan:
        if _vlan(patch) != change.vlan:
            patch.put("vlan", write.vlan_element(change.vlan), ("source", "mac"))
        return False
    there = patch.child("vlan") is not None
    if change.no_vlan or change.network or change.portgroup:
        patch.remove("vlan")
    return there and not change.no_vlan and bool(change.network or change.portgroup)


def _vlan(patch: Patch) -> Vlan | None:
    """Return the VLAN that the interface has; None also for an invalid one, which will be replaced."""
    if (found := patch.child("vlan")) is None:
        return None
    problems: list[str] = []
    try:
        vlan = Vlan.from_data(parts.vlan(_parsed(found), "$", lambda _, message: problems.append(message)))
    except InvalidDocument:
        return None
    return None if problems else vlan


def _parsed(element: Element) -> _Element:
    """Return the element without its namespace and text."""
    from lxml import etree

    made = etree.Element(element.tag, element.attributes)
    made.extend(map(_parsed, element.children))
    return made
