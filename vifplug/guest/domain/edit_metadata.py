"""Change a VIF in the metadata of a guest whose VIFs vifplug's hook plugs; the guest's interface is only their tap."""

from __future__ import annotations

import json
from typing import Any

from vifplug.errors import InvalidDocument
from vifplug.guest import capabilities, parts, write
from vifplug.guest.domain import metadata, spans
from vifplug.guest.domain.change import Edited, InterfaceEdit, apply, needs_network
from vifplug.guest.domain.metadata import DescribedVif
from vifplug.guest.domain.patch import Patch
from vifplug.guest.domain.retype import retype, unsupported
from vifplug.model import guestxml
from vifplug.model.guestxml import NAMESPACE, escaped
from vifplug.model.nic import VF_DRIVERS
from vifplug.model.vif import VIF
from vifplug.model.virtualport import OPENVSWITCH, PARAMETERS

#: what an interface of type ethernet has no place for (formatdomain: others connect its tap)
_NOT_OF_A_TAP = ("source", "vlan", "virtualport", "port")


def find(text: bytes, place: int) -> DescribedVif | None:
    """Return the VIF that the metadata describes for the interface at a position; None if it describes none."""
    found = metadata.guest(text)
    mine = [each for each in found.described if each.place == place]
    if len(mine) == 1:
        return mine[0]
    if found.problems:  # which VIF is the interface's is not known
        raise InvalidDocument(found.problems)
    return None


def edit(text: bytes, described: DescribedVif, change: InterfaceEdit, interface: tuple[int, ...]) -> Edited:
    """Change a VIF, and make its interface, to which the path ``interface`` leads, a tap if it has to be one.

    Raises:
        InvalidRequest: the result is no valid VIF, or it does not fit the guest.
    """
    children = spans.paths(spans.read(text), ("metadata", f"{NAMESPACE} vifs", "*"))
    path, element = children[described.child]
    if element.tag == "vif":
        text, removed = _edited_document(text, path, described, change)
    else:
        patch = Patch(text, path)
        removed = apply(patch, change)
        text = patch.text
    found = _read_back(text, described.child)
    if found.vif.type == "bridge" and found.interface and found.interface.type in ("hostdev", "direct", "vhostuser"):
        text, gone = _as_tap(text, interface, found.vif.device)
        removed += gone
    else:
        text = _following(text, interface, described, found)
    return Edited(text=text, removed=tuple(removed), described=_read_back(text, described.child))


def _read_back(text: bytes, child: int) -> DescribedVif:
    found = metadata.guest(text)
    mine = [each for each in found.described if each.child == child and each.interface]
    if not mine:
        raise InvalidDocument(found.problems)
    return mine[0]


def _following(text: bytes, path: tuple[int, ...], old: DescribedVif, new: DescribedVif) -> bytes:
    """Give an interface that libvirt connects, such as a hostdev, the VLAN that its VIF got, if it had the VIF's."""
    interface = old.interface
    if interface is None or not capabilities.takes("$.vlan", interface.type) or getattr(new.vif.source, "bridge", None):
        return text
    patch = Patch(text, path)
    if interface.vlan == old.vif.vlan != new.vif.vlan:
        if new.vif.vlan:
            patch.put("vlan", write.vlan_element(new.vif.vlan), ("source", "mac"))
        else:
            patch.remove("vlan")
    if interface.virtualport == old.vif.virtualport and new.vif.virtualport is None:
        patch.remove("virtualport")
    return patch.text


def _as_tap(text: bytes, path: tuple[int, ...], device: str) -> tuple[bytes, list[str]]:
    """Make an interface the tap of a bridge port, as `vifplug xml` writes it."""
    patch = Patch(text, path)
    gone = retype(patch, "ethernet")
    for name in _NOT_OF_A_TAP:
        patch.remove(name)
    patch.put("target", f"  <target dev='{device}' managed='no'/>\n", ("mac",))
    return patch.text, [unsupported(gone, "ethernet")] if gone else []


# -- a VIF as JSON ------------------------------------------------------------------------------------------------


def _edited_document(
    text: bytes, path: tuple[int, ...], described: DescribedVif, change: InterfaceEdit
) -> tuple[bytes, list[str]]:
    document = dict(described.document)
    removed = _connect(document, change)
    if change.virtualport == "none":
        document.pop("virtualport", None)
    elif change.virtualport:
        document["virtualport"] = _openvswitch(document.get("virtualport") or {})
    if change.vlan:
        document["vlan"] = change.vlan.to_data()
    elif change.no_vlan:
        document.pop("vlan", None)
    elif (change.network or change.portgroup) and document.pop("vlan", None):
        removed.append("removed vlan: it would override the VLAN of the network")
    if VIF.from_data(document) == VIF.from_data(described.document):
        return text, removed
    element = spans.at(text, path)
    end = text.rindex(b"</", element.inside, element.end)
    written = escaped(json.dumps(document, ensure_ascii=False))
    return text[: element.inside] + written.encode() + text[end:], removed


def _connect(document: dict[str, Any], change: InterfaceEdit) -> list[str]:
    """Set type and source, and remove what the new type does not support."""
    was, source = document["type"], document.get("source") or {}
    if change.bridge:
        kind, new = "bridge", {"bridge": change.bridge}
    elif change.network or change.portgroup:
        network = change.network or source.get("network")
        if not network:
            raise needs_network(was)
        kind, new = "network", parts.given(network=network, portgroup=change.portgroup)
    else:
        return []
    if was == kind:
        kept = {name: value for name, value in source.items() if name != "portgroup"}
        document["source"] = {**kept, **new}
        return []
    document |= {"type": kind, "source": new}
    gone = [name for name in ("vf", "tap_owner") if document.pop(name, None) is not None]
    if verbatim := document.get("guest_xml"):
        document["guest_xml"] = [each for each in verbatim if not _is_for_others(each, kind)]
        gone += [f"<{guestxml.tag(each)}>" for each in verbatim if each not in document["guest_xml"]]
    driver = dict(document.get("driver") or {})
    if driver.get("name") in VF_DRIVERS or "model" in driver:
        gone.append("driver")
        driver = {name: value for name, value in driver.items() if name not in ("name", "model")}
        document["driver"] = driver or None
    return [unsupported(gone, kind)] if gone else []


def _is_for_others(element: str, kind: str) -> bool:
    return capabilities.is_for_others(guestxml.tag(element), capabilities.attributes(element), kind)


def _openvswitch(port: dict[str, Any]) -> dict[str, Any]:
    """Return an Open vSwitch port; an untyped one keeps its ids."""
    if port.get("type") == OPENVSWITCH:
        return port
    ids = {name: port[name] for name in PARAMETERS[OPENVSWITCH] if name in port} if not port.get("type") else {}
    return {"type": OPENVSWITCH, **ids}
