"""The VIF type ``os_vif``: an os-vif plugin does the host side, with the object that the document describes.

The module does not import os-vif. Without os-vif the type is still listed, and reports what is missing when it is used.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from vifplug.errors import Problem
from vifplug.guest.interface import Interface
from vifplug.model.codec import FrozenMap, Model, described, joined, model
from vifplug.model.names import DeviceName, Word, default_target
from vifplug.model.vif import VIF
from vifplug.model.virtualport import VirtualPort
from vifplug.plan.registry import Resource, immutable, uncompared
from vifplug.types.base import NO_VF, Context, Option, VIFType, nic_problems, refused
from vifplug.types.ethernet import tap_interface
from vifplug.types.hostdev import HostDeviceType
from vifplug.types.vhostuser import VhostUserType

#: fields that the object gets from other keys of the document
ELSEWHERE = {"id": "$.id", "address": "$.mac", "plugin": "$.source.plugin"}
RUN_DIR = "/run/vifplug/os-vif"


@model
class OsVifSource(Model):
    """``plugin`` is the name of an os-vif plugin; ``vif`` the object that it gets: ``class`` and the fields of that
    class, objects within it likewise. Its id, address and plugin are the document's own.

    ``form``: for a plugin's own class, the os-vif class that determines the guest's element.
    """

    plugin: Word
    vif: FrozenMap[Word, Any]
    form: Word | None = None

    def rules(self) -> Iterator[Problem]:
        for name in ("network", "port_profile"):
            if name in self.vif and not isinstance(self.vif[name], Mapping):
                yield Problem(f"$.vif.{name}", f"expected an object, got {described(self.vif[name])}")

    def get(self, key: str) -> Any:
        """Return a field of the object, or of an object within it (``network.bridge``); None if it is not given."""
        place, _, name = key.rpartition(".")
        return (self.vif.get(place, {}) if place else self.vif).get(name)


@model
class PluggedByOsVif(Resource):
    """The state that an os-vif plugin has created for a VIF. ``vif`` and ``instance`` are the objects, as JSON."""

    kind = "os-vif"

    plugin: str = immutable()
    vif: str = immutable()
    instance: str = immutable()
    #: whether its mark exists, and its device, if the plugin created one
    plugged: bool = True
    device: DeviceName | None = uncompared(default=None)
    run_dir: str = uncompared()
    config_file: str | None = uncompared(default=None)


class OsVifType(VIFType):
    """A VIF of an os-vif plugin."""

    name = "os_vif"
    source = OsVifSource
    tap_owner = "vifplug"
    refuses = {
        "vlan": "os-vif's objects have it in source.vif.network",
        "virtualport": "os-vif's objects have it in source.vif.port_profile",
        "port": "os-vif's objects have no field for it",
        "external_ids": "os-vif's objects have no fields for them",
        "txqueuelen": "os-vif's objects have no field for it",
        "vf": NO_VF,
        "trust_guest_rx_filters": "os-vif's objects have no macvtap that a plugin plugs",
    }
    options = (
        Option(
            name="run_dir",
            default=RUN_DIR,
            help="Directory of the marks of VIFs that os-vif plugins have plugged. A reboot must empty it, because it "
            "removes the devices.",
        ),
        Option(
            name="config_file",
            help="File with the options of the plugins, [os_vif_NAME], for processes without a configuration, such as "
            "the command vifplug. In an agent, the plugins use the configuration of the agent.",
        ),
    )

    def owner(self, vif: VIF, context: Context) -> str | None:
        """Return who makes the tap: the plugin, unless the document says otherwise. No option applies."""
        return vif.tap_owner or self.tap_owner

    def problems(self, vif: VIF, context: Context) -> Iterator[Problem]:
        yield from _object_problems(vif)
        if known := FORMS.get(form(vif.source)):
            yield from _form_problems(vif, known)

    def interface(self, vif: VIF, context: Context) -> Interface:
        """Return the element that nova writes for such an object (_set_config_VIFGeneric and so on)."""
        return FORMS[form(vif.source)].element(vif, self.owner(vif, context))

    def desired(self, vif: VIF, context: Context) -> Iterable[Resource]:
        instance = context.instance.to_data() if context.instance else {}
        yield PluggedByOsVif(
            name=vif.id,
            owner=vif.id,
            plugin=vif.source.plugin,
            vif=_json({**vif.source.vif, "id": vif.id, "address": vif.mac, "plugin": vif.source.plugin}),
            instance=_json({"class": "InstanceInfo", **instance}),
            device=vif.source.vif.get("vif_name"),
            run_dir=context.options.get("run_dir") or RUN_DIR,
            config_file=context.options.get("config_file"),
        )


def _object_problems(vif: VIF) -> Iterator[Problem]:
    given = vif.source.vif
    for key in ELSEWHERE.keys() & given.keys():
        yield Problem(f"$.source.vif.{key}", f"not allowed here: the object gets it from {ELSEWHERE[key]}")
    if form(vif.source) not in FORMS:
        message = (
            f"expected {joined(FORMS)}, got {form(vif.source)!r}: the guest's element depends on it: see source.form"
        )
        yield Problem("$.source.vif.class", message)
    if given.get("dev_type") == "generic":
        yield Problem("$.source.vif.dev_type", "expected ethernet: a generic device is no <interface>")
    if vif.target not in (None, default_target(vif.id), given.get("vif_name")):
        yield Problem("$.target", f"expected source.vif.vif_name, which is the device here, got {vif.target}")


def _form_problems(vif: VIF, known: OsVifForm) -> Iterator[Problem]:
    """Yield what is missing for the element of the object's class, and what it cannot express."""
    kind = form(vif.source)
    for key in known.needs:
        if not vif.source.get(key):
            yield Problem(f"$.source.vif.{key}", f"is missing; a {kind} needs it for the guest's element")
    if known.like:
        yield from refused(vif, known.like.name, known.like.refuses)
    elif vif.tap_owner and kind != "VIFGeneric":
        yield Problem("$.tap_owner", f"is for a VIFGeneric: for a {kind}, source.vif says who creates the tap")
    like = vif.trusted(type=known.like.name) if known.like else vif
    yield from nic_problems(like, "virtio" if known.like is VhostUserType else None)


def list_opts() -> Any:
    """Return the options of this type, for oslo-config-generator."""
    from vifplug import conf

    return conf.type_opts((OsVifType,))


def form(source: OsVifSource) -> str:
    """Return the os-vif class that the element follows."""
    return source.form or str(source.vif.get("class"))


def _ethernet(vif: VIF, owner: str | None) -> Interface:
    """Return the element for a tap that the plugin made, or libvirt's if the document says so (tap_owner)."""
    named = vif.replace(target=vif.source.vif["vif_name"])
    return tap_interface(named, owner, bandwidth=vif.bandwidth, mtu=_mtu(vif))


def _bridge(vif: VIF, owner: str | None) -> Interface:
    source = {"bridge": vif.source.vif["bridge_name"]}
    return Interface.of(vif, "bridge", source, target=_target(vif), bandwidth=vif.bandwidth, mtu=_mtu(vif))


def _openvswitch(vif: VIF, owner: str | None) -> Interface:
    """Return the element for a tap and port of the plugin, a port alone, or both of libvirt."""
    profile = vif.source.get("port_profile") or {}
    if profile.get("create_tap") or profile.get("create_port"):
        return _ethernet(vif, "vifplug" if profile.get("create_tap") else "libvirt")
    virtualport = VirtualPort(type="openvswitch", interfaceid=profile.get("interface_id") or vif.id)
    source = {"bridge": vif.source.get("network.bridge")}
    fields = {"target": _target(vif), "virtualport": virtualport, "bandwidth": vif.bandwidth, "mtu": _mtu(vif)}
    return Interface.of(vif, "bridge", source, **fields)


def _vhostuser(vif: VIF, owner: str | None) -> Interface:
    source = {"type": "unix", "path": vif.source.vif["path"], "mode": vif.source.vif["mode"]}
    return Interface.of(vif, "vhostuser", source, target=None, model=vif.model or "virtio")


def _host_device(vif: VIF, owner: str | None) -> Interface:
    return Interface.of(vif, "hostdev", {}, managed=True, address=vif.source.vif["dev_address"], target=None)


class OsVifForm(NamedTuple):
    """The guest's element for a class of os-vif."""

    #: the fields that the element needs
    needs: tuple[str, ...]
    #: makes the element; the second argument is who makes the tap
    element: Callable[[VIF, str | None], Interface]
    #: vifplug's own type with the same element: what it refuses is refused here
    like: type[VIFType] | None = None


#: classes for which nova's libvirt driver has an element (nova/virt/libvirt/vif.py, _set_config_VIF*)
FORMS: Mapping[str, OsVifForm] = {
    "VIFGeneric": OsVifForm(("vif_name",), _ethernet),
    "VIFBridge": OsVifForm(("bridge_name",), _bridge),
    "VIFOpenVSwitch": OsVifForm(("vif_name", "network.bridge"), _openvswitch),
    "VIFVHostUser": OsVifForm(("path", "mode"), _vhostuser, VhostUserType),
    "VIFHostDevice": OsVifForm(("dev_address",), _host_device, HostDeviceType),
}


def _target(vif: VIF) -> str | None:
    name: str | None = vif.source.vif.get("vif_name")
    return name or vif.target


def _mtu(vif: VIF) -> int | None:
    return vif.mtu or vif.source.get("network.mtu")


def _json(data: Mapping[str, Any]) -> str:
    return json.dumps(data, sort_keys=True, default=dict)  # of a FrozenMap
