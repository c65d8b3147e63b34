"""hostdev: an SR-IOV virtual function given to the guest."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from vifplug.errors import Problem
from vifplug.guest import capabilities
from vifplug.guest.interface import Interface
from vifplug.model.codec import FrozenMap
from vifplug.model.names import short_id
from vifplug.model.nic import NOT_ISOLATED, VfSettings
from vifplug.model.source import HostDeviceSource
from vifplug.model.vif import VIF
from vifplug.model.virtualport import OPENVSWITCH, QBH
from vifplug.plan.facts import VirtualFunctionFacts
from vifplug.plan.registry import PciFunction, Resource, VirtualFunction
from vifplug.types import openvswitch, representor
from vifplug.types.base import COLUMNS, Context, Rule, VIFType, broken, refused

_PORTLESS = "needs source.bridge: it is a setting of the representor's port"


class HostDeviceType(VIFType):
    """A VF by its PCI address. MAC and VLAN are set through its physical function, before the guest has it."""

    name = "hostdev"
    source = HostDeviceSource
    refuses = {
        "bandwidth": "libvirt has none for it; use vf.max_tx_rate",
        "filterref": "the traffic passes no kernel device of the host",
        "mtu": "libvirt has none for it; the guest sets its own",
        "tap_owner": "it has no tap",
    }

    def problems(self, vif: VIF, context: Context) -> Iterator[Problem]:
        yield from capabilities.driver_problems(vif.driver, vif.model, "hostdev")
        profile = vif.virtualport and vif.virtualport.type
        if vif.source.bridge and profile not in (None, OPENVSWITCH):
            yield Problem("$.virtualport.type", f"expected openvswitch with source.bridge, got {profile}")
        elif vif.source.bridge is None and (message := capabilities.profile_problem(vif.virtualport, "hostdev")):
            yield Problem("$.virtualport.type", message)
        if vif.source.remote or vif.source.whole:
            yield from _untouched_problems(vif)
        elif vif.source.bridge:
            yield from _switched_problems(vif)
            yield from openvswitch.port_problems(vif)
        else:
            yield from vf_vlan_problems(vif)
            yield from refused(vif, self.name, dict.fromkeys(("port", "external_ids"), _PORTLESS))

    def interface(self, vif: VIF, context: Context) -> Interface:
        own = {} if vif.source.bridge else {"vlan": vif.vlan, "virtualport": vif.virtualport}
        return Interface.of(
            vif,
            "hostdev",
            {},
            managed=vif.source.managed,
            whole=vif.source.whole,
            target=vif.target,
            address=vif.source.address,
            **own,
        )

    def desired(self, vif: VIF, context: Context) -> Iterable[Resource]:
        if vif.source.remote or vif.source.whole:
            yield PciFunction(name=vif.source.address, owner=vif.id, taking="function")
            return
        if vif.source.polled:
            yield from _polled(vif, context)
            return
        facts = context.facts.virtual_function(vif.source.address)
        profiled = vif.virtualport is not None and vif.virtualport.type == QBH
        mac = None if profiled else vif.mac
        function = virtual_function(vif, facts, mac=mac, with_vlan=vif.source.bridge is None)
        yield function.replace(taking="function")
        if vif.source.bridge:
            yield from representor.plugged(vif, context, facts)


def _polled(vif: VIF, context: Context) -> Iterator[Resource]:
    """Yield the representor as a DPDK port (dpdk.org: Ethdev port representors; OVS: topics/dpdk/phy.rst)."""
    physical, number = context.facts.physical_function(vif.source.address)
    yield PciFunction(name=vif.source.address, owner=vif.id, taking="function")
    yield openvswitch.bridge(vif, context)
    options = {"dpdk-devargs": f"{physical},representor=[{number}]"}
    yield openvswitch.dpdk_port(vif, context, f"vfr{short_id(vif.id)}", "dpdk", options)


def virtual_function(vif: VIF, facts: VirtualFunctionFacts, *, mac: str | None, with_vlan: bool) -> VirtualFunction:
    """Return the VF's settings. Without a VLAN in the document, the VF keeps its own: unset is not 0."""
    vlan = vif.vlan.access if vif.vlan and with_vlan else None
    return VirtualFunction(
        name=facts.address,
        owner=vif.id,
        pf=facts.pf,
        number=facts.number,
        mac=mac,
        vlan=vlan,
        **vars(vif.vf or VfSettings()),
    )


def vf_vlan_problems(vif: VIF) -> Iterator[Problem]:
    """Yield what is not supported in the VLAN settings of a VF, or of the device below a macvtap."""
    mode = getattr(vif.source, "mode", None)
    refusal = capabilities.vlan_problem(vif.vlan, vif.type, mode=mode, port=vif.virtualport)
    return broken((True, "$.vlan", refusal), *_vlan_rules(vif, "" if vif.vlan else "needs a vlan"))


def _vlan_rules(vif: VIF, message: str) -> Iterator[Rule]:
    """Yield the rules for the settings of the VF's own VLAN."""
    given = ((key, getattr(vif.vf, key, None)) for key in ("vlan_qos", "vlan_proto"))
    return ((value is not None, f"$.vf.{key}", message) for key, value in given)


def _switched_problems(vif: VIF) -> Iterator[Problem]:
    polled = "cannot be set with datapath_type netdev: DPDK has the physical function, not the kernel"
    switched = "needs a VLAN on the VF itself: with source.bridge, the representor's port has it"
    return broken((vif.source.polled and vif.vf, "$.vf", polled), *_vlan_rules(vif, switched))


def _untouched_problems(vif: VIF) -> Iterator[Problem]:
    """Yield what vifplug would have to set on a function that it does not touch."""
    reason = "source.remote: the card's switch sets it" if vif.source.remote else "source.whole: nothing is set on it"
    message = f"not supported with {reason}"
    ours = ("target", "link_state", "trust_guest_rx_filters") if vif.source.whole else ()
    given = ((key, getattr(vif, key)) for key in ("vlan", "vf", "virtualport", "port", *COLUMNS, *ours))
    return broken(*((value not in (None, FrozenMap(), NOT_ISOLATED), f"$.{key}", message) for key, value in given))
