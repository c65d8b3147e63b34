"""A port's binding as one record, from Neutron's port or from nova's record of it. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from vifplug.errors import InvalidDocument, Problem
from vifplug.model.codec import FrozenMap, described

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


@dataclass(frozen=True)
class Binding:
    """A bound port. Unknown keys are ignored: a port has many that do not concern the host."""

    id: str
    mac: str
    vif_type: str
    vnic_type: str
    #: binding:vif_details as given
    details: Mapping[str, Any]
    #: binding:profile as given
    profile: Mapping[str, Any]
    #: the network as nova keeps it, as given
    network: Mapping[str, Any]
    #: the whole port
    port: Mapping[str, Any]

    @property
    def name(self) -> str:
        """Return the device's name on the host: ``devname``, or the one that nova would generate."""
        return str(self.port.get("devname") or f"nic{self.id}"[:_NAME_BYTES])

    def named(self, prefix: str) -> str:
        """Return a conventional name: ``qbr``, ``vhu`` ... and the beginning of the id."""
        return (prefix + self.id)[:_NAME_BYTES]

    @property
    def interface_id(self) -> str:
        """Return the id by which Open vSwitch and its controllers know the port."""
        return str(self.port.get("ovs_interfaceid") or self.id)

    @property
    def bridge(self) -> str:
        """Return the bridge: the network's, else the binding's, else nova's default for the type."""
        if given := self.network.get("bridge") or self.details.get("bridge_name"):
            return str(given)[:_NAME_BYTES]
        if self.vif_type == "bridge" and (network := self.network.get("id") or self.port.get("network_id")):
            return f"brq{network}"[:_NAME_BYTES]
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
                return str(found)
        found = self.network.get("interface") or self._meta.get("interface")
        return str(found) if found else None

    @property
    def vlan(self) -> Any:
        """Return the VLAN that the host has to set; None for a flat network, which Neutron writes as 0."""
        found = self.details.get("vlan")
        return None if str(found) in ("0", "None") else _number(found)

    def says(self, detail: str) -> bool:
        """Return whether a detail is switched on."""
        return truth(self.details.get(detail))

    @property
    def _meta(self) -> Mapping[str, Any]:
        meta = self.network.get("meta")
        return meta if isinstance(meta, Mapping) else {}


def read(port: object) -> Binding:
    """Return the binding of a port. Raises InvalidDocument with every missing or wrong value."""
    if not isinstance(port, Mapping):
        raise InvalidDocument([Problem("$.port", f"expected an object, got {described(port)}")])
    problems: list[Problem] = []
    found = Binding(
        id=_text(port, "id", problems),
        mac=_text(port, "mac", problems),
        vif_type=_text(port, "vif_type", problems),
        vnic_type=str(_get(port, "vnic_type") or "normal"),
        details=_mapping(port, "details", problems),
        profile=_mapping(port, "profile", problems),
        network=_mapping(port, "network", problems),
        port=FrozenMap(port),
    )
    if problems:
        raise InvalidDocument(problems, f"port {found.id}" if found.id else "")
    return found


def truth(value: object) -> bool:
    """Return whether oslo.utils would read a value as true."""
    return value is True or str(value).strip().lower() in _TRUE


def missing(place: str, keys: Iterable[tuple[str, object]]) -> list[Problem]:
    """Return a problem for each key without a value, in a part of the port."""
    return [Problem(f"$.port.binding:{place}.{key}", "is missing") for key, value in keys if not value]


def _number(value: object) -> object:
    """Return the integer that a string spells, or the value itself."""
    return int(value) if isinstance(value, str) and value.isascii() and value.isdigit() else value


def _get(port: Mapping[str, Any], name: str) -> Any:
    return next((port[key] for key in _KEYS[name] if port.get(key) is not None), None)


def _text(port: Mapping[str, Any], name: str, problems: list[Problem]) -> str:
    value = _get(port, name)
    if not isinstance(value, str) or not value:
        message = "is missing" if value is None else f"expected a string, got {described(value)}"
        problems.append(Problem(f"$.port.{_KEYS[name][0]}", message))
        return ""
    return value


def _mapping(port: Mapping[str, Any], name: str, problems: list[Problem]) -> Mapping[str, Any]:
    value = _get(port, name)
    if value is not None and not isinstance(value, Mapping):
        problems.append(Problem(f"$.port.{_KEYS[name][0]}", f"expected an object, got {described(value)}"))
        return FrozenMap()
    return FrozenMap(value or {})
