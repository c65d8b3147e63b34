"""Change one ``<interface>`` in the text of a libvirt domain, and keep every other byte.

The result is read back and validated: as far as the text alone can tell, libvirt starts a guest with it.
"""

from __future__ import annotations

from collections.abc import Sequence

from vifplug.errors import InvalidDocument, InvalidRequest, Problem, UnknownType
from vifplug.guest import capabilities, read
from vifplug.guest.domain import edit_metadata, spans
from vifplug.guest.domain.change import Edited, InterfaceEdit, apply, type_of
from vifplug.guest.domain.patch import Patch
from vifplug.guest.domain.spans import Element, Placed
from vifplug.guest.interface import in_element
from vifplug.model.codec import described, joined, shortened
from vifplug.model.guestxml import NAMESPACE

#: the path of interfaces, by the root element of the document
_PATHS = {"domain": ("devices", "interface"), "interface": ()}
#: how many interfaces with one MAC an error lists
_SHOWN = 8
#: the remedy for an element with which libvirt does not start the guest
_INSTEAD = {
    "vlan": "remove it with --no-vlan, or give the interface another connection with --bridge or --network",
    "virtualport": "remove it with --virtualport none, or connect the interface with --bridge and --virtualport "
    "openvswitch",
    "filterref": "remove <filterref>, or connect the interface to a Linux bridge",
}


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
    described = edit_metadata.find(text, place) if root.name == "domain" and NAMESPACE.encode() in text else None
    if described:
        return edit_metadata.edit(text, described, change, interfaces[place][0])
    path, element = interfaces[place]
    _refuse_running(element)
    patch = Patch(text, path)
    removed = apply(patch, change)
    if patch.text != text or type_of(element) in capabilities.SOURCE:
        _check(patch)
    return Edited(text=patch.text, removed=tuple(removed))


# -- which interface ----------------------------------------------------------------------------------------------


def _find(interfaces: Sequence[Placed], mac: str, number: int | None) -> int:
    """Return the position of the interface."""
    found = [position for position, (_, each) in enumerate(interfaces) if _mac(each) == mac.lower()]
    if not found:
        macs = list(dict.fromkeys(shortened(its) for _, each in interfaces if (its := _mac(each))))
        there = joined([*macs[:_SHOWN], *(["others"] if len(macs) > _SHOWN else [])], "and")
        raise InvalidRequest(f"expected an interface with MAC {mac}, got {there}")
    if number is None and len(found) == 1:
        return found[0]
    if number is None or not 1 <= number <= len(found):
        shown = "; ".join(f"{nth}: {_shown(interfaces[each][1])}" for nth, each in enumerate(found[:_SHOWN], 1))
        expected = "one interface" if number is None else f"a number from 1 to {len(found)} for the interfaces"
        got = f"{len(found)} ({shown})" if number is None else f"{described(number)} ({shown})"
        raise InvalidRequest(f"expected {expected} with MAC {mac}, got {got}: select one with --number")
    return found[number - 1]


def _shown(interface: Element) -> str:
    """Return what tells an interface from another with the same MAC."""
    marks = {"source": ("network", "bridge", "dev"), "target": ("dev",), "alias": ("name",), "teaming": ("type",)}
    given = [
        f"{child.tag} {shortened(value)}"
        for child in interface.children
        for name in marks.get(child.tag, ())
        if (value := child.attributes.get(name))
    ]
    return ", ".join([f"type {shortened(type_of(interface))}", *given])


def _mac(interface: Element) -> str:
    return next((each.attributes.get("address", "").lower() for each in interface.all("mac")), "")


def _refuse_running(interface: Element) -> None:
    """Raise InvalidRequest for an element that shows what a network has become for a running guest."""
    if type_of(interface) != "network" and any("network" in each.attributes for each in interface.all("source")):
        raise InvalidRequest(f"the interface {read.RUNNING}")


# -- what comes of it ---------------------------------------------------------------------------------------------


def _check(patch: Patch) -> None:
    """Raise InvalidRequest if the result cannot be read back, or if libvirt would refuse or drop a part of it."""
    kind = type_of(patch.root)
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
