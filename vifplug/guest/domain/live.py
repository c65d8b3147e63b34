"""Read a running guest (``virsh dumpxml``): what each of its interfaces became on its host."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from vifplug.errors import InvalidRequest
from vifplug.guest import parts, read, xml
from vifplug.guest.interface import GUEST_FIELDS
from vifplug.model.vif import VIF, Instance

if TYPE_CHECKING:
    from lxml.etree import _Element

#: types of interface that libvirt plugs
_PLUGGED = ("bridge", "direct", "hostdev", "vhostuser", "network")
#: why there is nothing to adopt of other types that have a device of the host
_NOT_PLUGGED = {
    "ethernet": "others than libvirt connect the tap of type ethernet",
    "vdpa": "libvirt makes no port for type vdpa",
}

#: keys that only the interface itself can request. The others may be its network's: libvirt does not say which
_OWN = {"id", "mac", "guest_xml", *GUEST_FIELDS} - {"trust_guest_rx_filters"}

#: the attributes of a ``<source>`` that name its network
_NETWORK = ("network", "portgroup", "portid")


@dataclass(frozen=True, kw_only=True)
class Running:
    """An interface of a guest that runs. ``asked``: the VIF of the named network that it came from."""

    vif: VIF
    asked: VIF | None = None


@dataclass(frozen=True, kw_only=True)
class RunningGuest:
    """A guest that runs.

    ``wrong``: why others of its interfaces cannot be read, a sentence each. ``left``: which are not for vifplug, and
    why.
    """

    instance: Instance
    interfaces: tuple[Running, ...] = ()
    wrong: tuple[str, ...] = ()
    left: tuple[str, ...] = ()


def guest(text: str | bytes) -> RunningGuest:
    """Return the guest of a live ``<domain>``. Raises InvalidDocument if the document is not one."""
    root = xml.parse(text, "domain")
    left: list[str] = []
    found, wrong = read.each_interface(root, lambda element: _running(element, left))
    instance = Instance(uuid=root.findtext("uuid", ""), name=root.findtext("name"))
    return RunningGuest(instance=instance, interfaces=_numbered(found), wrong=tuple(wrong), left=tuple(left))


def _numbered(found: list[Running]) -> tuple[Running, ...]:
    """Return the interfaces with ids of their own (`read.numbered`)."""
    vifs = read.numbered(each.vif for each in found)
    return tuple(
        Running(vif=vif, asked=each.asked and each.asked.replace(id=vif.id))
        for each, vif in zip(found, vifs, strict=True)
    )


def _left(element: _Element) -> str:
    """Return why an interface is not vifplug's to adopt; empty if it is.

    On a network that libvirt runs itself (nat, route, open, isolated), an interface still has type network while the
    guest runs, with the bridge in its source.
    """
    kind = element.get("type", "user")  # libvirt's default
    source = element.find("source")
    given: Mapping[str, str] = (
        {} if source is None else {str(name): str(value) for name, value in source.attrib.items()}
    )
    if kind == "network" and ("bridge" in given or "portid" in given):
        where = f", on {given['bridge']}" if "bridge" in given else ""
        return f"libvirt itself runs its network, {given.get('network')}{where}"
    if kind in _PLUGGED and not read.is_passt(element):
        return ""
    return _NOT_PLUGGED.get(kind, f"libvirt connects type {kind} without a port on the host")


def _running(element: _Element, left: list[str]) -> Running | None:
    if reason := _left(element):
        mac = parts.attribute(element, "mac", "address") or "without a MAC address"
        left.append(f"interface {mac} is left as it is: {reason}")
        return None
    if element.get("type") == "network":
        raise InvalidRequest("names only its network: pass the output of `virsh dumpxml` for the running guest")
    if element.get("type") == "bridge" and parts.attribute(element, "target", "dev") is None:
        raise InvalidRequest(
            "has no <target>, as in a definition: pass the output of `virsh dumpxml` for the running guest"
        )
    vif = _actual(element)
    source = element.find("source[@network]")
    return Running(vif=vif, asked=None if source is None else _asked(vif, source))


def _actual(element: _Element) -> VIF:
    """Return the VIF as it is plugged, with the name that libvirt gave its device."""
    plain = copy.deepcopy(element)
    for source in plain.iterfind("source"):
        for name in _NETWORK:
            source.attrib.pop(name, None)
    vif = read.vif(plain)
    target = plain.find("target")
    return vif if target is None else vif.replace(target=target.get("dev"))


def _asked(vif: VIF, source: _Element) -> VIF:
    """Return the VIF of a named network that became ``vif``."""
    said = vif.to_data()
    named = {"network": source.get("network"), "portgroup": source.get("portgroup")}
    return VIF.from_data({**{key: said[key] for key in _OWN if key in said}, "type": "network", "source": named})
