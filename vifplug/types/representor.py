"""The representor of a virtual function (its netdev in the NIC's switch), as a port of an Open vSwitch bridge."""

from __future__ import annotations

from collections.abc import Iterator

from vifplug.errors import Missing
from vifplug.model.vif import VIF
from vifplug.plan.facts import VirtualFunctionFacts
from vifplug.plan.registry import HARDENED, LowerDevice, Resource
from vifplug.types import openvswitch
from vifplug.types.base import Context


def plugged(vif: VIF, context: Context, facts: VirtualFunctionFacts) -> Iterator[Resource]:
    """Yield the VF's representor, up, and its port on ``vif.source.bridge``.

    Raises:
        Missing: the VF has no representor.
    """
    name = _name(vif, facts)
    yield LowerDevice(name=name, owner=vif.id, sysctls=HARDENED, taking="port")
    yield openvswitch.bridge(vif, context)
    yield openvswitch.port(vif, context, name)


def _name(vif: VIF, facts: VirtualFunctionFacts) -> str:
    if facts.representor is None:
        raise Missing(
            f"VF {facts.address} has no representor to plug into bridge {vif.source.bridge}: "
            f"put the eswitch of {facts.pf} into switchdev mode, or leave source.bridge out",
            resource=f"VF {facts.address}",
        )
    return facts.representor
