"""Change one ``<interface>`` in the text of a libvirt domain, and keep every other byte.

The result is read back and validated: as far as the text alone can tell, libvirt starts a guest with it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from vifplug.errors import InvalidDocument, InvalidRequest, Problem
from vifplug.guest import capabilities, parts, read, write, xml
from vifplug.guest.domain import spans
from vifplug.guest.domain.patch import Patch
from vifplug.guest.domain.spans import Element
from vifplug.guest.interface import in_element
from vifplug.model.codec import Model, joined
from vifplug.model.guestxml import quoted
from vifplug.model.names import DeviceName, Word
from vifplug.model.virtualport import OPENVSWITCH, PARAMETERS, VirtualPort
from vifplug.model.vlan import Vlan

#: the path of interfaces, by the root element of the document
_PATHS = {"domain": ("devices", "interface"), "interface": ()}
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


def edited(text: bytes, mac: str, change: InterfaceEdit) -> bytes:
    """Return the text of a ``<domain>``, or of an ``<interface>`` alone, with the interface of that MAC changed.

    If the interface is as requested already, the text is unchanged.

    Raises:
        InvalidRequest: the text is neither; no interface has the MAC, or several have it; or libvirt would refuse or
            drop something of the result.
    """
    found = _find(spans.read(text), mac)
    patch = Patch(text[found.start : found.end], spans.line_indent(text, found.start) or b"")
    _refuse_running(found)
    _connect(patch, change)
    _set_virtualport(patch, change.virtualport)
    _set_vlan(patch, change)
    _check(patch)
    return text[: found.start] + patch.text + text[found.end :]


# -- which interface ----------------------------------------------------------------------------------------------


def _find(root: Element, mac: str) -> Element:
    if root.name not in _PATHS:
        raise InvalidRequest(f"expected a <domain> or one <interface>, got <{root.name[:40]}>")
    found = [root]
    for name in _PATHS[root.name]:
        found = [child for each in found for child in each.all(name)]
    interfaces = [(_mac(each), each) for each in found]
    found = [each for its, each in interfaces if its == mac.lower()]
    if len(found) > 1:
        raise InvalidRequest(f"expected one interface with MAC {mac}, got {len(found)}: give the <interface> alone")
    if not found:
        there = joined(dict.fromkeys(its for its, _ in interfaces if its), "and")
        raise InvalidRequest(f"expected an interface with MAC {mac}, got {there}")
    return found[0]


def _mac(interface: Element) -> str:
    return next((each.attributes.get("address", "").lower() for each in interface.all("mac")), "")


def _refuse_running(interface: Element) -> None:
    """Raise InvalidRequest for an element that shows what a network has become for a running guest."""
    if _type(interface) != "network" and any("network" in each.attributes for each in interface.all("source")):
        raise InvalidRequest(f"the interface {read.RUNNING}")


def _type(interface: Element) -> str:
    return interface.attributes.get("type", "user")  # libvirt's default


# -- the changes --------------------------------------------------------------------------------------------------


def _connect(patch: Patch, change: InterfaceEdit) -> None:
    """Set type and source, and remove what only the old type can have."""
    kind = "bridge" if change.bridge else "network"
    if not (desired := _source(patch, change)):
        return
    found = patch.child("source")
    has = {name: value for name, value in found.attributes.items() if name in _SOURCE[kind]} if found else {}
    was = _type(patch.root)
    if was != kind:
        patch.set_type(kind)
        _drop_leftovers(patch, was, kind)
    if was != kind or has != desired:
        attributes = "".join(f" {name}='{quoted(value)}'" for name, value in desired.items())
        patch.put("source", f"  <source{attributes}/>\n", ("mac",))
    target = patch.child("target")
    if target and target.attributes.get("managed") == "no":
        patch.drop_attribute(target, "managed")


def _drop_leftovers(patch: Patch, was: str, kind: str) -> None:
    """Remove what only the old type can have (`vifplug.guest.capabilities`)."""
    patch.drop_attribute(patch.root, "managed")
    for each in reversed(patch.root.children):  # from the end, so that the positions of the others stay
        if capabilities.is_leftover(each.name, each.attributes, was, kind):
            patch.cut(each)
    if was == "hostdev":
        patch.drop_attribute(patch.child("driver"), "name")
        patch.drop_attribute(patch.child("driver"), "model")
        driver = patch.child("driver")
        if driver and not driver.attributes and not driver.children:
            patch.cut(driver)


def _source(patch: Patch, change: InterfaceEdit) -> dict[str, str]:
    """Return the attributes of the source; empty if the connection stays as it is."""
    if change.bridge:
        return {"bridge": change.bridge}
    network = change.network
    if change.portgroup and not network:
        source = patch.child("source")
        network = source.attributes.get("network") if source else None
        if not network:
            kind = _type(patch.root)
            raise InvalidRequest(f"--portgroup is for an interface of a network, got type {kind}: add --network")
    return parts.given(network=network, portgroup=change.portgroup)


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


def _set_vlan(patch: Patch, change: InterfaceEdit) -> None:
    if change.vlan:
        if _vlan(patch) != change.vlan:
            patch.put("vlan", write.vlan_element(change.vlan), ("source", "mac"))
    elif change.no_vlan or change.network or change.portgroup:
        patch.remove("vlan")


def _vlan(patch: Patch) -> Vlan | None:
    """Return the VLAN that the interface has; None also for an invalid one, which will be replaced."""
    if (found := patch.child("vlan")) is None:
        return None
    problems: list[str] = []
    try:
        element = xml.parse(patch.text[found.start : found.end], "vlan")
        vlan = Vlan.from_data(parts.vlan(element, "$", lambda _, message: problems.append(message)))
    except InvalidDocument:
        return None
    return None if problems else vlan


# -- what comes of it ---------------------------------------------------------------------------------------------


def _check(patch: Patch) -> None:
    """Raise InvalidRequest if the result cannot be read back, or if libvirt would refuse or drop a part of it."""
    kind = _type(patch.root)
    if patch.child("vlan") and not capabilities.takes("$.vlan", kind):
        raise InvalidRequest(f"libvirt does not start a guest with a VLAN on type {kind}: {_INSTEAD['vlan']}")
    try:
        interface = read.interface(patch.text)
    except InvalidDocument as error:
        raise InvalidRequest("; ".join(map(in_element, error.problems))) from None
    if problems := [_advised(problem) for problem in capabilities.refused_at_start(interface)]:
        raise InvalidRequest(f"libvirt does not start a guest with it: {'; '.join(problems)}")


def _advised(problem: Problem) -> str:
    """Return the problem with its remedy."""
    key = problem.path.removeprefix("$.").partition(".")[0]
    return f"{in_element(problem)}: {_INSTEAD.get(key, 'remove it')}"
