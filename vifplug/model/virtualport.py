"""Port profiles: how a switch identifies the port, and the parameters of each kind of switch.

Rules and limits are libvirt's (netdev_vport_profile_conf.c, 9.0 and 11.3). They match the attributes of IEEE 802.1Qbg
(VDP), Cisco VM-FEX (802.1Qbh), Open vSwitch and MidoNet.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal

from vifplug.errors import Problem
from vifplug.model.codec import Model, described, joined, model
from vifplug.model.names import Uuid, between, parse_c_number, parse_profile_id

OPENVSWITCH, QBG, QBH, MIDONET = "openvswitch", "802.1Qbg", "802.1Qbh", "midonet"

#: the parameters that each type takes, in libvirt's order, and those that it requires
PARAMETERS: dict[str | None, tuple[str, ...]] = {
    QBG: ("managerid", "typeid", "typeidversion", "instanceid"),
    QBH: ("profileid",),
    OPENVSWITCH: ("interfaceid", "profileid"),
    MIDONET: ("interfaceid",),
    None: ("managerid", "typeid", "typeidversion", "instanceid", "interfaceid", "profileid"),
}
REQUIRED = {QBG: ("managerid", "typeid", "typeidversion"), QBH: ("profileid",), MIDONET: ("interfaceid",)}


def _number(value: Any) -> int:
    """Return an integer that is given as a number or in C's notation."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, str):
        return parse_c_number(value)
    raise ValueError(f"expected an integer, got {described(value)}")


Byte = Annotated[Any, _number, between(0, 0xFF)]
ThreeBytes = Annotated[Any, _number, between(0, 0xFFFFFF)]
ProfileId = Annotated[str, parse_profile_id]


@model
class VirtualPort(Model):
    """A port profile: libvirt's ``<virtualport>``."""

    #: kind of switch; None only for a VIF of type network, which takes it from the network
    type: Literal["openvswitch", "802.1Qbg", "802.1Qbh", "midonet"] | None = None
    #: 802.1Qbg: VSI manager, 0 to 255
    managerid: Byte | None = None
    #: 802.1Qbg: VSI type, 0 to 16777215
    typeid: ThreeBytes | None = None
    #: 802.1Qbg: version of the VSI type, 0 to 255
    typeidversion: Byte | None = None
    #: 802.1Qbg: VSI instance; None: the VIF's id
    instanceid: Uuid | None = None
    #: openvswitch and midonet: ``iface-id`` of the port; None: the VIF's id (openvswitch)
    interfaceid: Uuid | None = None
    #: 802.1Qbh and openvswitch: name of the port profile, 1 to 39 bytes
    profileid: ProfileId | None = None

    @property
    def parameters(self) -> dict[str, Any]:
        """The parameters that are set, in libvirt's order."""
        return {name: value for name in PARAMETERS[self.type] if (value := getattr(self, name)) is not None}

    def rules(self) -> Iterator[Problem]:
        taken = PARAMETERS[self.type]
        for name in PARAMETERS[None]:
            if name not in taken and getattr(self, name) is not None:
                yield Problem(f"$.{name}", f"unknown to virtualport type {self.type} (expected {joined(taken)})")

    def missing(self) -> Iterator[Problem]:
        """Yield a problem for each missing parameter. A VIF of type network gets it from the network when resolved."""
        if self.type is None:
            yield Problem("$.type", "is missing: only a VIF of type network can take it from the network")
        for name in REQUIRED.get(self.type or "", ()):
            if getattr(self, name) is None:
                yield Problem(f"$.{name}", f"is missing: virtualport type {self.type} requires it")

    def completed(self, vif_id: str) -> VirtualPort:
        """Return the profile with the id of the VIF as the default of interfaceid or instanceid.

        libvirt generates a new id at each start (9.0: networkAllocatePort), and a controller then sees a new port.
        """
        if self.type == OPENVSWITCH and self.interfaceid is None:
            return self.replace(interfaceid=vif_id)
        if self.type == QBG and self.instanceid is None:
            return self.replace(instanceid=vif_id)
        return self
