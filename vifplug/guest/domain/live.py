"""Read a running guest (``virsh dumpxml``): what each of its interfaces became on its host."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING

from vifplug.errors import InvalidRequest
from vifplug.guest import read, xml
from vifplug.guest.interface import GUEST_FIELDS
from vifplug.model.vif import VIF, Instance

if TYPE_CHECKING:
    from lxml.etree import _Element

#: types of interface that libvirt plugs; others connect the taps of type ethernet
_PLUGGED = ("bridge", "direct", "hostdev", "vhostuser", "network")

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
    """A guest that runs. ``wrong``: why others of its interfaces cannot be read, a sentence each."""

    instance: Instance
    interfaces: tuple[Running, ...] = ()
    wrong: tuple[str, ...] = ()


def guest(text: str | bytes) -> RunningGuest:
    """Return the guest of a live ``<domain>``. Raises InvalidDocument if the document is not one."""
    root = xml.parse(text, "domain")
    found, wrong = read.each_interface(root, _running)
    instance = Instance(uuid=root.findtext("uuid", ""), name=root.findtext("name"))
    return RunningGuest(instance=instance, interfaces=tuple(found), wrong=tuple(wrong))


def _on_libvirts_own(element: _Element) -> bool:
    """Return whether it is on a network that libvirt runs itself (nat, route, open, isolated): libvirt keeps its tap.

    Such an interface still has type network while the guest runs, and its source has the bridge.
    """
    if element.get("type") != "network":
        return False
    return any(element.find(f"source[@{name}]") is not None for name in ("bridge", "portid"))


def _running(element: _Element) -> Running | None:
    if element.get("type") not in _PLUGGED or _on_libvirts_own(element):
        return None
    if element.get("type") == "network":
        raise InvalidRequest("names only its network: pass the output of `virsh dumpxml` for the running guest")
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
