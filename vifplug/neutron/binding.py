"""A port's binding as one record, from Neutron's port or from nova's record of it. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from vifplug.errors import InvalidDocument, Problem
from vifplug.model.codec import MAX_DIGITS, FrozenMap, Model, described, model

#: NIC_NAME_LEN of nova and Neutron: one less than the kernel's limit
_NAME_BYTES: Final = 14
#: [neutron] ovs_bridge of nova
_INTEGRATION_BRIDGE: Final = "br-int"
#: the strings that oslo.utils reads as true (strutils.TRUE_STRINGS)
_TRUE: Final = ("1", "t", "true", "on", "y", "yes")

#: field -> its key in Neutron's port, and in nova's VIF (network_info)
_KEYS: Final = {
    "id": ("id",),
    "mac": ("mac_address", "address"),
    "vif_type": ("binding:vif_type", "type"),
    "vnic_type": ("binding:vnic_type", "vnic_type"),
    "details": ("binding:vif_details", "details"),
    "profile": ("binding:profile", "profile"),
    "network": ("network",),
}


@model
class Binding(Model):
    """A bound port. Unknown keys are ignored: a port has many that do not concern the host."""

    id: str
    mac: str
    vif_type: str
    vnic_type: str = "normal"
    #: binding:vif_details as given
    details: FrozenMap[str, Any] = FrozenMap()
    #: binding:profile as given
    profile: FrozenMap[str, Any] = FrozenMap()
    #: the network as nova keeps it, as given
    network: FrozenMap[str, Any] = FrozenMap()
    #: the whole port
    port: FrozenMap[str, Any]

    @property
    def name(self) -> str:
        """Return the device's name on the host: ``devname``, or the one that nova would generate."""
        return text("devname", self.port.get("devname") or f"nic{self.id}"[:_NAME_BYTES])

    def named(self, prefix: str) -> str:
        """Return a conventional name: ``qbr``, ``vhu`` ... and the beginning of the id."""
        return (prefix + self.id)[:_NAME_BYTES]

    @property
    def interface_id(self) -> str:
        """Return the id by which Open vSwitch and its controllers know the port."""
        return text("ovs_interfaceid", self.port.get("ovs_interfaceid") or self.id)

    @property
    def bridge(self) -> str:
        """Return the bridge: the network's, else the binding's, else nova's default for the type."""
        if given := self.network.get("bridge") or self.details.get("bridge_name"):
            return text("binding:vif_details.bridge_name", given)[:_NAME_BYTES]
        if self.vif_type == "bridge" and (network := self.network.get("id") or self.port.get("network_id")):
            return f"brq{text('network_id', network)}"[:_NAME_BYTES]
        return _INTEGRATION_BRIDGE

    @property
    def mtu(self) -> int | None:
        found: int | None = self.network.get("mtu") or self._meta.get("mtu")
        return found

    @property
    def physical_interface(self) -> str | None:
        """Return the host's device of an 802.1Qbg port."""
        for place in (self.details, self.port):
            if found := place.get("physical_interface") or place.get("phys_interface"):
                return text("physical_interface", found)
        found = self.network.get("interface") or self._meta.get("interface")
        return text("physical_interface", found) if found else None

    @property
    def vlan(self) -> Any:
        """Return the VLAN that the host has to set; None for a flat network, which Neutron writes as 0."""
        found = self.details.get("vlan")
        return None if str(found) in ("0", "None") else number(found)

    def says(self, detail: str) -> bool:
        """Return whether a detail is switched on."""
        return truth(self.details.get(detail))

    @property
    def _meta(self) -> Mapping[str, Any]:
        meta = self.network.get("meta")
        return meta if isinstance(meta, Mapping) else {}


def fields(port: object) -> object:
    """Return the fields of the Binding of a port, as plain data; anything but an object is returned as it is."""
    if not isinstance(port, Mapping):
        return port
    given = {name: [port[key] for key in keys if port.get(key) is not None] for name, keys in _KEYS.items()}
    return {**{name: values[0] for name, values in given.items() if values}, "port": port}


def in_port(problem: Problem) -> Problem:
    """Return a problem of a Binding with the path of the port's own key."""
    for name, (key, *_) in _KEYS.items():
        if (problem.path + ".").startswith(f"$.port.{name}."):
            return Problem(problem.path.replace(name, key, 1), problem.message)
    return problem


def text(key: str, value: object) -> str:
    """Return a string or number of the port as a string. Raises InvalidDocument for anything else."""
    if isinstance(value, (str, int)) and not isinstance(value, bool):
        return str(value) if isinstance(value, str) else described(value)
    raise InvalidDocument([Problem(f"$.port.{key}", f"expected a string, got {described(value)}")])


def truth(value: object) -> bool:
    """Return whether oslo.utils would read a value as true."""
    return value is True or str(value).strip().lower() in _TRUE


def missing(place: str, keys: Iterable[tuple[str, object]]) -> list[Problem]:
    """Return a problem for each key without a value, in a part of the port."""
    return [Problem(f"$.port.binding:{place}.{key}", "is missing") for key, value in keys if not value]


def number(value: object) -> object:
    """Return the integer that a string spells, or the value itself."""
    text = value.strip() if isinstance(value, str) else ""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= MAX_DIGITS else value
