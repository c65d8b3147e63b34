"""ethernet: a tap that another program connects."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from vifplug.errors import Problem
from vifplug.guest.interface import Interface
from vifplug.model.names import host_mac
from vifplug.model.source import EthernetSource
from vifplug.model.vif import VIF
from vifplug.plan.registry import Resource, Tap
from vifplug.types.base import NO_VF, Context, Rule, VIFType, broken, nic_problems, target_problems


class EthernetType(VIFType):
    """A tap that vifplug (persistently) or libvirt creates, and that another program connects."""

    name = "ethernet"
    source = EthernetSource
    tap_owner = "vifplug"
    refuses = {
        "vlan": "vifplug does not manage the switch that the tap is connected to; set it there, or use type bridge",
        "virtualport": "libvirt has none for it; use type bridge",
        "port": "its settings are those of a bridge's port; use type bridge",
        "vf": NO_VF,
        "external_ids": "it has no Open vSwitch port",
    }

    def problems(self, vif: VIF, context: Context) -> Iterator[Problem]:
        owner = self.owner(vif, context)
        yield from nic_problems(vif)
        yield from target_problems(vif, owner)
        yield from broken(host_mac_rule(vif, owner), queue_rule(vif, owner == "vifplug"))

    def interface(self, vif: VIF, context: Context) -> Interface:
        return tap_interface(vif, self.owner(vif, context), bandwidth=vif.bandwidth)

    def desired(self, vif: VIF, context: Context) -> Iterable[Resource]:
        if self.owner(vif, context) == "vifplug":
            yield tap(vif, context)


def host_mac_rule(vif: VIF, owner: str | None) -> Rule:
    """Return the rule that vifplug sets no MAC on a tap that libvirt creates."""
    message = "libvirt creates the tap, with a MAC that it derives from the guest's"
    return (owner == "libvirt" and vif.source.host_mac, "$.source.host_mac", message)


def queue_rule(vif: VIF, sets: object) -> Rule:
    """Return the rule that vifplug sets the length of the queue of its own taps only, and of those it waits for."""
    message = "libvirt creates the tap, with the kernel's length; set tap_owner to vifplug"
    return (vif.txqueuelen and not sets, "$.txqueuelen", message)


def tap(vif: VIF, context: Context) -> Tap:
    """Return the tap of ``vif``, with the settings of all taps that vifplug creates.

    Its MAC cannot become a bridge's. It always has an owner, because any local user may open a tap without one. It is
    multi-queue if the element has several queues, because libvirt could not open it otherwise.
    """
    return Tap(
        name=vif.device,
        owner=vif.id,
        mac=getattr(vif.source, "host_mac", None) or host_mac(vif.mac),  # a key of types ethernet and bridge
        mtu=vif.mtu,
        txqueuelen=vif.txqueuelen,
        multi_queue=vif.queues > 1,
        user=context.settings.tap_user,
        group=context.settings.tap_group,
    )


def tap_interface(vif: VIF, owner: str | None, **changes: object) -> Interface:
    """Return ``<interface type='ethernet'>`` on a tap, with managed='no' if vifplug owns the tap.

    Without managed='no', libvirt deletes an existing tap, or its port (9.0: qemuInterfaceEthernetConnect).

    Args:
        vif: the VIF.
        owner: who creates the tap: ``vifplug`` or ``libvirt``.
        changes: further fields of the Interface.
    """
    managed = False if owner == "vifplug" else None
    return Interface.of(vif, "ethernet", None, target=vif.target, target_managed=managed, **changes)
