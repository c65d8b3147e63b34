"""Backend for PCI functions: whether one exists, and the settings of SR-IOV VFs, which are made through their PF."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import ClassVar

from vifplug import errors
from vifplug.host.links.base import NetlinkBackend
from vifplug.host.links.uses import DeviceUses
from vifplug.host.netlink.client import Netlink
from vifplug.host.netlink.messages import LINK_STATES, VLAN_PROTOCOLS, VfAttribute, VfInfo
from vifplug.host.netlink.socket import NetlinkRefused, explained, explaining
from vifplug.host.sriov.sysfs import Sysfs
from vifplug.model.codec import joined
from vifplug.plan.condition import Condition
from vifplug.plan.registry import Identity, PciFunction, Resource, VirtualFunction
from vifplug.plan.steps import Observed, compare
from vifplug.plan.uses import Use

_LINK_STATES = {word: number for number, word in LINK_STATES.items()}
_PROTOCOLS = {word: number for number, word in VLAN_PROTOCOLS.items()}
#: PCI classes of network controllers, and of InfiniBand on a serial bus (PCI Code and ID Assignment: 02h; 0Ch, 06h)
_NETWORK_CLASSES = ("0x02", "0x0c06")
#: A VF without a MAC; drivers that refuse all zeros take the second value (libvirt: virNetDevSetNetConfig)
_NO_MAC, _NO_MAC_LOCAL = "00:00:00:00:00:00", "02:00:00:00:00:00"


class VirtualFunctionBackend(NetlinkBackend):
    """VFs whose PF is in the network namespace in which it is first used."""

    resources: ClassVar[tuple[type[Resource], ...]] = (VirtualFunction, PciFunction)

    def __init__(
        self, netlink: Netlink | None = None, sysfs: Sysfs | None = None, uses: DeviceUses | None = None
    ) -> None:
        super().__init__(netlink)
        self._sysfs = sysfs or Sysfs()
        self._uses = uses or DeviceUses(self._netlink)

    def observe(self, desired: Sequence[Resource]) -> dict[Identity, Observed]:
        """See `vifplug.host.backend.Backend.observe`. Equivalent to: ip link show dev PF"""
        pfs = self._netlink.links((each.pf for each in desired if isinstance(each, VirtualFunction)), vfs=True)
        found: dict[Identity, Observed] = {}
        for each in desired:
            if not isinstance(each, VirtualFunction):
                if self._sysfs.has(each.name):
                    found[each.identity] = Observed(resource=each)
            elif (pf := pfs.get(each.pf)) and (message := pf.vfs.get(each.number)):
                condition = Condition(up=pf.up, carrier=pf.carrier)
                found[each.identity] = Observed(resource=record(each, message), condition=condition)
        for each in desired:
            if isinstance(each, PciFunction) and each.taking and each.identity in found:
                uses = tuple(self._uses_of(each.name))
                found[each.identity] = dataclasses.replace(found[each.identity], uses=uses)
        return found

    def _uses_of(self, address: str) -> Iterator[Use]:
        """Yield why the host needs the function: it is no NIC, or the host uses one of its network devices."""
        if not self._uses.allows(address):
            kind = self._sysfs.pci_class(address)
            if kind and not kind.startswith(_NETWORK_CLASSES):
                yield Use(kind="host", by=f"PCI class {kind}, which is no network controller")
            yield from self._uses.named(self._sysfs.devices_of(address))

    def make(self, after: Resource) -> None:
        """Raise Missing: vifplug creates no VF."""
        raise errors.Missing(f"{after} does not exist; create it with sriov_numvfs before VIF {after.owner} is plugged")

    def remove(self, before: Resource) -> None:
        """Do nothing: vifplug removes no VF, and a change restores its settings."""

    def change(self, before: Resource, after: Resource) -> None:
        """Write what differs. MAC and VLAN have a message each, as some drivers refuse one of them (libvirt 8.1)."""
        assert isinstance(before, VirtualFunction) and isinstance(after, VirtualFunction)
        for fields, attributes in vf_messages(before, after):
            doing = f"set its {joined(fields, 'and')} through {after.pf}"
            with explaining(after, doing, self._explained):
                self._write(after, attributes)

    def _write(self, after: VirtualFunction, attributes: Sequence[VfAttribute]) -> None:
        try:
            self._netlink.set_vf(after.pf, attributes)
        except NetlinkRefused:
            name, value = attributes[0]
            if name != "IFLA_VF_MAC" or value["mac"] != _NO_MAC:
                raise
            self._netlink.set_vf(after.pf, [(name, {**value, "mac": _NO_MAC_LOCAL})])

    def _explained(self, refused: NetlinkRefused, vf: VirtualFunction, doing: str) -> errors.VifplugError:
        pf = self._netlink.link(vf.pf)
        if pf and not pf.up:
            return errors.HostNotReady(
                f"{vf}: could not {doing}: {refused}; {vf.pf} is down, and a driver may take settings of VFs only "
                f"while it is up; set it up with 'ip link set dev {vf.pf} up'"
            )
        return explained(refused, vf, doing)


def record(desired: VirtualFunction, message: VfInfo) -> VirtualFunction:
    """Return what the PF reports of a VF, as a resource."""
    equal = {desired.mac, message["mac"]} <= {_NO_MAC, _NO_MAC_LOCAL}
    return desired.trusted(**{**message, "mac": desired.mac if equal else message["mac"]})


def vf_messages(before: VirtualFunction, after: VirtualFunction) -> list[tuple[list[str], list[VfAttribute]]]:
    """Return the fields that differ and the attributes that set them: one pair for each message to send."""
    changed = [each.path for each in compare(after, before)]
    mac = [name for name in changed if name == "mac"]
    vlan = [name for name in changed if name.startswith("vlan")]
    rest = [name for name in changed if name not in (*mac, *vlan)]
    set_mac: VfAttribute = ("IFLA_VF_MAC", {"vf": after.number, "mac": after.mac})
    groups = [(mac, [set_mac]), (vlan, [_vlan(before, after)]), (rest, _rest(rest, before, after))]
    return [(fields, attributes) for fields, attributes in groups if fields]


def _vlan(before: VirtualFunction, after: VirtualFunction) -> VfAttribute:
    """Return IFLA_VF_VLAN for 802.1Q, which every driver takes; for 802.1ad the list with a protocol (Linux 4.9)."""
    vlan, qos = _coalesce(after.vlan, before.vlan), _coalesce(after.vlan_qos, before.vlan_qos)
    value = {"vf": after.number, "vlan": vlan, "qos": qos}
    protocol = after.vlan_proto or before.vlan_proto or "802.1Q"
    if protocol == "802.1Q":
        return ("IFLA_VF_VLAN", value)
    return ("IFLA_VF_VLAN_LIST", [("IFLA_VF_VLAN_INFO", {**value, "proto": _PROTOCOLS[protocol]})])


def _rest(changed: Sequence[str], before: VirtualFunction, after: VirtualFunction) -> list[VfAttribute]:
    number = {"vf": after.number}
    attributes: list[VfAttribute] = []
    if "trust" in changed:
        attributes.append(("IFLA_VF_TRUST", {**number, "trust": int(bool(after.trust))}))
    if "spoof_check" in changed:
        attributes.append(("IFLA_VF_SPOOFCHK", {**number, "spoofchk": int(bool(after.spoof_check))}))
    if "link_state" in changed and after.link_state:
        attributes.append(("IFLA_VF_LINK_STATE", {**number, "link_state": _LINK_STATES[after.link_state]}))
    if {"min_tx_rate", "max_tx_rate"} & set(changed):
        low, high = _coalesce(after.min_tx_rate, before.min_tx_rate), _coalesce(after.max_tx_rate, before.max_tx_rate)
        attributes.append(("IFLA_VF_RATE", {**number, "min_tx_rate": low, "max_tx_rate": high}))
    return attributes


def _coalesce(first: int | None, second: int | None) -> int:
    return first if first is not None else second or 0
