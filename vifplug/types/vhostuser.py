"""vhostuser: a NIC whose rings are shared with a userspace switch through a UNIX socket."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Iterator

from vifplug.errors import Problem
from vifplug.guest.interface import Interface
from vifplug.model.codec import FrozenMap
from vifplug.model.nic import NOT_ISOLATED
from vifplug.model.source import VhostUserSource
from vifplug.model.vif import VIF
from vifplug.plan.registry import OvsPort, Resource, VhostSocket
from vifplug.types import adopted, openvswitch
from vifplug.types.base import COLUMNS, NO_VF, Context, Option, VIFType, nic_problems

#: what a vhost-user VIF without a model gets: it has no other frontend
_MODEL = "virtio"

_DIRECTORY = (
    "the directory of the sockets that QEMU creates, if vifplug creates the directory. An existing directory is never "
    "changed; if it differs, the VIF is refused."
)


class VhostUserType(VIFType):
    """A vhost-user NIC. With ``source.bridge`` the other end is an Open vSwitch bridge with a DPDK datapath."""

    name = "vhostuser"
    source = VhostUserSource
    refuses = {
        "bandwidth": "no kernel device carries the traffic, so there is nothing to shape",
        "filterref": "no kernel device carries the traffic, so nwfilter cannot see it",
        "mtu": "libvirt would set it on a kernel device and not start the guest; set source.port_mtu instead",
        "tap_owner": "it has no tap",
        "vf": NO_VF,
    }
    options = (
        Option(name="socket_dir_user", kind="user", help=f"Owner of {_DIRECTORY}"),
        Option(name="socket_dir_group", kind="group", help=f"Group of {_DIRECTORY}"),
        Option(name="socket_dir_mode", kind="mode", help=f"Mode of {_DIRECTORY}"),
    )

    def problems(self, vif: VIF, context: Context) -> Iterator[Problem]:
        yield from nic_problems(vif, _MODEL)
        yield from openvswitch.switched_problems(vif)
        yield from _port_problems(vif) if vif.source.bridge else ()

    def interface(self, vif: VIF, context: Context) -> Interface:
        source = {"type": "unix", "path": vif.source.path, "mode": vif.source.mode}
        return Interface.of(
            vif,
            "vhostuser",
            source,
            reconnect=vif.source.reconnect,
            target=vif.target,
            model=vif.model or _MODEL,
        )

    def desired(self, vif: VIF, context: Context) -> Iterable[Resource]:
        if vif.source.adopted:
            yield from [adopted.vhostuser_port(vif, _port_name(vif))] if vif.source.bridge else []
            return
        if vif.source.mode == "server":
            yield _socket(vif, context)
        if vif.source.bridge:
            yield openvswitch.bridge(vif, context)
            yield _port(vif, context)


def _port_problems(vif: VIF) -> Iterator[Problem]:
    for key in ("virtualport", "port", *COLUMNS) if vif.source.adopted else ():
        if getattr(vif, key) not in (None, FrozenMap(), NOT_ISOLATED):
            yield Problem(f"$.{key}", "not supported with source.adopted: the ids of the port are its maker's")
    if vif.source.mode == "client" and vif.target not in (None, _basename(vif)):
        yield Problem(
            "$.target",
            f"expected {_basename(vif)}: Open vSwitch names its own socket after the port, got {vif.target}",
        )


def _port_name(vif: VIF) -> str:
    return vif.device if vif.source.mode == "server" else _basename(vif)


def _basename(vif: VIF) -> str:
    path: str = vif.source.path
    return posixpath.basename(path)


def _socket(vif: VIF, context: Context) -> VhostSocket:
    user, group, mode = (context.options.get(f"socket_dir_{name}") for name in ("user", "group", "mode"))
    return VhostSocket(
        name=vif.source.path,
        owner=vif.id,
        user=user,
        group=group,
        mode=mode,
        socket_dirs=context.settings.socket_dirs,
    )


def _port(vif: VIF, context: Context) -> OvsPort:
    """Open vSwitch takes the role that QEMU does not: dpdkvhostuserclient for a QEMU that is the server."""
    server = vif.source.mode == "server"
    kind, options = ("dpdkvhostuserclient", {"vhost-server-path": vif.source.path}) if server else ("dpdkvhostuser", {})
    return openvswitch.dpdk_port(vif, context, _port_name(vif), kind, options)
