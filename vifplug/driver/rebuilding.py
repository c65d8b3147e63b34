"""Read a VIF from what carries its mark, for the record that was lost. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from vifplug.errors import Missing
from vifplug.model.names import default_target
from vifplug.model.vif import VIF, Instance
from vifplug.plan.plan import DEFAULT_MTU
from vifplug.plan.registry import BridgePort, BridgeVlan, Macvtap, OvsPort, OvsVlan, Resource, Tap, VethPair

R = TypeVar("R", bound=Resource)

#: the first byte of a guest's MAC, by the next two: of libvirt, and of OpenStack ([DEFAULT] base_mac of Neutron). The
#: tap of a Linux bridge has another first byte: see `vifplug.model.names.host_mac`
_FIRST_BYTES = {"54:00": "52", "16:3e": "fa"}
#: the flags of a port, as the kernel gives them to a new one (net/bridge/br_if.c, new_nbp)
_FLAGS = {"isolated": False, "hairpin": False, "learning": True, "flood": True}
#: of a multi-queue tap: no mark has the number of its queues
_QUEUES = 2


def vif_of(vif_id: str, found: Sequence[Resource]) -> tuple[VIF, Instance | None]:
    """Return a VIF as far as its devices and ports tell it, and its guest.

    Args:
        vif_id: the id of the VIF, which the marks name.
        found: what carries the mark, as observed, with the places of its taps in Linux bridges.

    Raises:
        Missing: they do not tell enough.
    """
    taps, macvtaps, ports = _all(found, Tap), _all(found, Macvtap), _all(found, OvsPort)
    if macvtaps:
        fields = _direct(macvtaps[0])
    elif ports and not any(port.type not in ("", "patch") for port in ports):
        fields = _switched(ports, taps, hybrid=bool(_all(found, VethPair)))
    elif taps:
        fields = _plain(taps[0], _all(found, BridgePort))
    else:
        raise Missing("no mark tells its type")
    if fields["mac"] is None:
        raise Missing("no mark tells the guest's MAC")
    guest = next((port.external_ids["vm-uuid"] for port in ports if port.external_ids.get("vm-uuid")), None)
    named = {key: value for key, value in fields.items() if value is not None and value != default_target(vif_id)}
    return VIF.from_data({"id": vif_id, **named}), Instance(uuid=guest) if guest else None


def place_of(tap: Tap) -> BridgePort:
    """Return what to observe for the Linux bridge that a tap is in."""
    return BridgePort(name=tap.name, owner=tap.owner, bridge=tap.name, vlans=())


def check_complete(desired: Iterable[Resource], found: Iterable[Resource]) -> None:
    """Raise Missing if a VIF that was read from its marks does not desire all of what carries them."""
    known: set[Any] = set()
    for each in desired:
        known.update([each.identity, *each.links])
    for each in found:
        if each.identity not in known and known.isdisjoint(each.links):
            raise Missing(f"{each} has the VIF's mark too, and no mark tells why")


def _all(found: Sequence[Resource], kind: type[R]) -> list[R]:
    return [each for each in found if isinstance(each, kind)]


def _direct(macvtap: Macvtap) -> dict[str, Any]:
    return {
        "type": "direct",
        "mac": macvtap.mac,
        "target": macvtap.name,
        "tap_owner": "vifplug",
        "source": {"dev": macvtap.lower, "mode": macvtap.mode},
    }


def _switched(ports: Sequence[OvsPort], taps: Sequence[Tap], *, hybrid: bool) -> dict[str, Any]:
    """Return a VIF on Open vSwitch; with a bridge of its own, the patch to the other bridge has its identity."""
    by_role = {port.role: port for port in ports}
    port = by_role.get("integration", ports[0])
    source = {"bridge": port.bridge, "hybrid": hybrid or None, "per_port_bridge": "integration" in by_role or None}
    ids = port.external_ids
    profile = {"type": "openvswitch", "interfaceid": ids.get("iface-id"), "profileid": ids.get("port-profile")}
    owner = {"interfaceid": None} if profile["interfaceid"] == port.owner else {}
    return {
        "type": "bridge",
        "mac": ids.get("attached-mac"),
        "target": taps[0].name if taps else None if hybrid else by_role.get("", port).name,
        "tap_owner": "vifplug",
        "source": _given(source),
        "virtualport": _given(profile | owner),
        "vlan": _ovs_vlan(port.vlan or OvsVlan()),
        "port": {"isolated": True} if port.protected else None,
        **_of_tap(taps),
    }


def _plain(tap: Tap, places: Sequence[BridgePort]) -> dict[str, Any]:
    """Return a VIF on a Linux bridge, or on none."""
    first = _FIRST_BYTES.get((tap.mac or "")[3:8])
    fields = {"mac": first and f"{first}{(tap.mac or '')[2:]}", "target": tap.name, "tap_owner": "vifplug"}
    if not places:
        return {"type": "ethernet", **fields, **_of_tap([tap])}
    place = places[0]
    flags = {key: getattr(place, key) for key, usual in _FLAGS.items() if getattr(place, key) not in (None, usual)}
    return {
        "type": "bridge",
        "source": {"bridge": place.bridge},
        "vlan": _bridge_vlan(place.vlans),
        "port": flags or None,
        **fields,
        **_of_tap([tap]),
    }


def _of_tap(taps: Sequence[Tap]) -> Mapping[str, Any]:
    mtu = next((each.mtu for each in taps if each.mtu != DEFAULT_MTU), None)
    return {"mtu": mtu, "driver": {"queues": _QUEUES} if any(each.multi_queue for each in taps) else None}


def _ovs_vlan(vlan: OvsVlan) -> Any:
    """Return the VLANs of a document for those of a port: the reverse of `vifplug.types.openvswitch.vlan`."""
    if vlan.tag == 0:
        return "untagged"
    if vlan.mode == "dot1q-tunnel":
        return {"mode": vlan.mode, "tags": [{"id": vlan.tag}], "cvlans": list(vlan.cvlans)}
    if vlan.mode in (None, "access"):
        return vlan.tag
    native = vlan.tag if vlan.mode.startswith("native") else None
    return _trunk(vlan.trunks, native, vlan.mode.removeprefix("native-"))


def _bridge_vlan(vlans: Sequence[BridgeVlan] | None) -> Any:
    """Return the VLANs of a document: the reverse of `vifplug.types.bridge.bridge_vlans`."""
    if not vlans:
        return None
    native = next((each for each in vlans if each.pvid), None)
    if native and len(vlans) == 1 and native.untagged:
        return native.id
    how = "untagged" if native and native.untagged else "tagged"
    return _trunk([each.id for each in vlans], native.id if native else None, how)


def _trunk(ids: Sequence[int], native: int | None, how: str) -> dict[str, Any]:
    def tags() -> Iterator[dict[str, Any]]:
        if native is not None:
            yield {"id": native, "native_mode": how}
        yield from ({"id": each} for each in ids if each != native)

    return {"trunk": True, "tags": list(tags()), **({} if ids else {"all": True})}


def _given(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in fields.items() if value is not None}
