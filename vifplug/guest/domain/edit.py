"""Change one ``<interface>`` in the text of a libvirt domain, and keep every other byte.

The result is read back and validated: as far as the text alone can tell, libvirt starts a guest with it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from vifplug.errors import InvalidDocument, InvalidRequest, Problem, UnknownType
from vifplug.guest import capabilities, parts, read, write
from vifplug.guest.domain import spans
from vifplug.guest.domain.patch import Patch
from vifplug.guest.domain.retype import retype, unsupported
from vifplug.guest.domain.spans import Element, Placed
from vifplug.guest.interface import in_element
from vifplug.model.codec import Model, joined
from vifplug.model.guestxml import NAMESPACE, quoted
from vifplug.model.names import DeviceName, Word
from vifplug.model.virtualport import OPENVSWITCH, PARAMETERS, VirtualPort
from vifplug.model.vlan import Vlan

if TYPE_CHECKING:
    from lxml.etree import _Element

    from vifplug.guest.domain.metadata import DescribedVif

#: the path of interfaces, by the root element of the document
_PATHS = {"domain": ("devices", "interface"), "interface": ()}
#: how many interfaces with one MAC an error lists
_SHOWN = 8
#: the attributes of <source> that are configuration
_SOURCE = {"bridge": ("bridge",), "network": ("network", "portgroup")}

#: the remedy for an element with which libvirt does not start the guest
_INSTEAD = {
    "vlan": "remove it with --no-vlan, or give the interface another connection with --bridge or --network",
    "virtualport": "remove it with --virtualport none, or connect the interface with --bridge and --virtualport "
    "openvswitch",
    "filterref": "remove <filterref>, or connect the interface to a Linux bridge",
}


@dataclass(frozen=True, kw_only=True)
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


def edited(text: bytes, mac: str, change: InterfaceEdit, *, number: int | None = None) -> bytes:
    """Return the text of `edit`."""
    return edit(text, mac, change, number=number).text


def edit(text: bytes, mac: str, change: InterfaceEdit, *, number: int | None = None) -> Edited:
    """Change one interface in the text of a ``<domain>``, or of an ``<interface>`` alone.

    If the guest's metadata describes the interface for vifplug's hook, the VIF there is changed, and the interface only
    if it has to become a tap. If the interface is as requested already, the text is unchanged.

    Args:
        text: the domain or interface, in UTF-8.
        mac: the MAC address of the interface.
        change: what to change.
        number: which of the interfaces with this MAC is meant, from 1 on, if there are several.

    Raises:
        InvalidRequest: the text is neither; no interface has the MAC, or several have it and ``number`` is None; or
            libvirt would refuse or drop something of the result.
    """
    root = spans.read(text)
    if root.name not in _PATHS:
        raise InvalidRequest(f"expected a <domain> or one <interface>, got <{root.name[:40]}>")
    interfaces = spans.paths(root, _PATHS[root.name])
    place = _find(interfaces, mac, number)
    if root.name == "domain" and NAMESPACE.encode() in text:
        from vifplug.guest.domain import edit_metadata

        if described := edit_metadata.find(text, place):
            return edit_metadata.edit(text, described, change, interfaces[place][0])
    path, element = interfaces[place]
    _refuse_running(element)
    patch = Patch(text, path)
    removed = apply(patch, change)
    if patch.text != text or _type(element) in capabilities.SOURCE:
        _check(patch)
    return Edited(text=patch.text, removed=tuple(removed))


# -- which interface ----------------------------------------------------------------------------------------------


def _find(interfaces: Sequence[Placed], mac: str, number: int | None) -> int:
    """Return the position of the interface."""
    found = [position for position, (_, each) in enumerate(interfaces) if _mac(each) == mac.lower()]
    if not found:
        there = joined(dict.fromkeys(its for _, each in interfaces if (its := _mac(each))), "and")
        raise InvalidRequest(f"expected an interface with MAC {mac}, got {there}")
    if number is None and len(found) == 1:
        return found[0]
    if number is None or not 1 <= number <= len(found):
        shown = "; ".join(f"{nth}: {_shown(interfaces[each][1])}" for nth, each in enumerate(found[:_SHOWN], 1))
        expected = "one interface" if number is None else f"at least {number} interfaces"
        raise InvalidRequest(
            f"expected {expected} with MAC {mac}, got {len(found)} ({shown}): select one with --number"
        )
    return found[number - 1]


def _shown(interface: Element) -> str:
    """Return what tells an interface from another with the same MAC."""
    marks = {"source": ("network", "bridge", "dev"), "target": ("dev",), "alias": ("name",), "teaming": ("type",)}
    given = [
        f"{child.tag} {value}"
        for child in interface.children
        for name in marks.get(child.tag, ())
        if (value := child.attributes.get(name))
    ]
    return ", ".join([f"type {_type(interface)}", *given])


def _mac(interface: Element) -> str:
    return next((each.attributes.get("address", "").lower() for each in interface.all("mac")), "")


def _refuse_running(interface: Element) -> None:
    """Raise InvalidRequest for an element that shows what a network has become for a running guest."""
    if _type(interface) != "network" and any("network" in each.attributes for each in interface.all("source")):
        raise InvalidRequest(f"the interface {read.RUNNING}")


def _type(interface: Element) -> str:
    return interface.attributes.get("type", "user")  # libvirt's default


# -- the changes --------------------------------------------------------------------------------------------------


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
    was = _type(patch.root)
    gone = retype(patch, kind) if was != kind else []
    if was != kind or has != desired:
        attributes = "".join(f" {name}='{quoted(value)}'" for name, value in desired.items())
        patch.put("source", f"  <source{attributes}/>\n", ("mac",))
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
            raise needs_network(_type(patch.root))
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


# -- what comes of it ---------------------------------------------------------------------------------------------


def _check(patch: Patch) -> None:
    """Raise InvalidRequest if the result cannot be read back, or if libvirt would refuse or drop a part of it."""
    kind = _type(patch.root)
    if patch.child("vlan") and not capabilities.takes("$.vlan", kind):
        raise InvalidRequest(f"libvirt does not start a guest with a VLAN on type {kind}: {_INSTEAD['vlan']}")
    try:
        interface = read.interface(patch.element)
    except UnknownType:
        if not patch.child("virtualport"):
            return
        message = f"type {kind} has neither VLAN nor virtualport: connect the interface with --bridge or --network"
        raise InvalidRequest(message) from None
    except InvalidDocument as error:
        raise InvalidRequest("; ".join(map(_advised, error.problems))) from None
    if problems := [_advised(problem, "remove it") for problem in capabilities.refused_at_start(interface)]:
        raise InvalidRequest(f"libvirt does not start a guest with it: {'; '.join(problems)}")


def _advised(problem: Problem, otherwise: str = "") -> str:
    """Return the problem with its remedy."""
    key = problem.path.removeprefix("$.").partition(".")[0]
    remedy = _INSTEAD.get(key, otherwise)
    return f"{in_element(problem)}: {remedy}" if remedy else in_element(problem)
