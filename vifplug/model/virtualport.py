"""virtualport: how the port is made known to the switch, and the parameters that each kind of switch takes.

Rules and limits are libvirt's (netdev_vport_profile_conf.c, 9.0 and 11.3), which match the attributes of IEEE
802.1Qbg (VDP), of Cisco's VM-FEX (802.1Qbh), of Open vSwitch and of MidoNet.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from vifplug.errors import Problem
from vifplug.model.codec import Model, described, joined
from vifplug.model.names import Uuid, between, parse_c_number, parse_profile_id

OPENVSWITCH, QBG, QBH, MIDONET = "openvswitch", "802.1Qbg", "802.1Qbh", "midonet"

#: the parameters that each type takes, in libvirt's order, and those that it can't do without
PARAMETERS: dict[str | None, tuple[str, ...]] = {
    QBG: ("managerid", "typeid", "typeidversion", "instanceid"),
    QBH: ("profileid",),
    OPENVSWITCH: ("interfaceid", "profileid"),
    MIDONET: ("interfaceid",),
    None: ("managerid", "typeid", "typeidversion", "instanceid", "interfaceid", "profileid"),
}
REQUIRED = {QBG: ("managerid", "typeid", "typeidversion"), QBH: ("profileid",), MIDONET: ("interfaceid",)}


def _number(value: Any) -> int:
    """An integer, or its text in C's notation."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, str):
        return parse_c_number(value)
    raise ValueError(f"expected an integer, got {described(value)}")


Byte = Annotated[Any, _number, between(0, 0xFF)]
ThreeBytes = Annotated[Any, _number, between(0, 0xFFFFFF)]
ProfileId = Annotated[str, parse_profile_id]


@dataclass(frozen=True, kw_only=True)
class VirtualPort(Model):
    """A port profile. ``type`` may be left out where a network will give it (``type`` ``network`` only)."""

    type: Literal["openvswitch", "802.1Qbg", "802.1Qbh", "midonet"] | None = None
    managerid: Byte | None = None
    typeid: ThreeBytes | None = None
    typeidversion: Byte | None = None
    instanceid: Uuid | None = None
    interfaceid: Uuid | None = None
    profileid: ProfileId | None = None

    @property
    def parameters(self) -> dict[str, Any]:
        """The parameters that are given, in libvirt's order."""
        return {name: value for name in PARAMETERS[self.type] if (value := getattr(self, name)) is not None}

    def rules(self) -> Iterator[Problem]:
        taken = PARAMETERS[self.type]
        for name in PARAMETERS[None]:
            if name not in taken and getattr(self, name) is not None:
                yield Problem(f"$.{name}", f"is not known to virtualport type {self.type}; it takes {joined(taken)}")

    def missing(self) -> Iterator[Problem]:
        """What has to be there unless a network gives it (``type`` ``network``: merged when it is resolved)."""
        if self.type is None:
            yield Problem("$.type", "is missing; only type network may leave it to the network")
        for name in REQUIRED.get(self.type or "", ()):
            if getattr(self, name) is None:
                yield Problem(f"$.{name}", f"is missing; virtualport type {self.type} needs it")

    def completed(self, vif_id: str) -> VirtualPort:
        """With the id that a switch wants and the document may leave out: the VIF's own, so it is stable.

        libvirt makes up a new one at each start (9.0: networkAllocatePort), which cuts a controller's memory.
        """
        if self.type == OPENVSWITCH and self.interfaceid is None:
            return self.replace(interfaceid=vif_id)
        if self.type == QBG and self.instanceid is None:
            return self.replace(instanceid=vif_id)
        return self
