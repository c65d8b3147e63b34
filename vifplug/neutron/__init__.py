"""Convert Neutron's port bindings to VIFs: every VIF type of current and past releases, in one table.

::

    vif = vif_from_binding(port, guest)  # both as plain data
    driver.plug(vif, instance)

``port`` is a Neutron port with nova's additional fields (``devname``, ``ovs_interfaceid``, ``delegate_create``,
``qbg_params``; and ``vf_netdev``, ``vdpa_dev`` if the agent has looked them up), or nova's own record of the VIF
(``type``, ``vnic_type``, ``address``, ``details``, ``profile`` ...). ``guest`` has the properties of flavor, image and
compute host: see `vifplug.neutron.guest.Guest`. doc/neutron.md has the table, and the intended differences from nova.
"""

from __future__ import annotations

import logging
from typing import Any

from vifplug.errors import InvalidDocument, Problem, Unsupported
from vifplug.model.codec import Model, bounded, described, joined, model, shortened
from vifplug.model.vif import VIF
from vifplug.neutron import binding as bindings
from vifplug.neutron import guest as guests
from vifplug.neutron import table
from vifplug.neutron.binding import Binding
from vifplug.neutron.forms import Document
from vifplug.neutron.guest import Guest

__all__ = ["vif_from_binding"]

_log = logging.getLogger(__name__)

#: VIF types whose traffic passes a device of the host's kernel, which limits it; their guest has an emulated NIC
_IN_KERNEL = ("bridge", "ethernet", "direct")


@model
class _Request(Model):
    port: Binding
    guest: Guest = Guest()


def vif_from_binding(port: object, guest: object = None) -> VIF:
    """Return the VIF of a bound port, for a guest.

    A request that only affects speed and cannot be met is left out, with a warning in the log.

    Args:
        port: a Neutron port, or nova's record of the VIF, as plain data.
        guest: the guest, as plain data: see `vifplug.neutron.guest.Guest`.

    Raises:
        InvalidDocument: with every problem; their paths begin with ``$.port`` and ``$.guest``.
        Unsupported: no libvirt host can have such a port.
    """
    port, guest = bounded(port, "bound port"), bounded(guest, "guest")
    try:
        request = _Request.from_data({"port": bindings.fields(port), "guest": {} if guest is None else guest})
    except InvalidDocument as error:
        raise InvalidDocument(map(bindings.in_port, error.problems)) from None
    subject = f"port {shortened(request.port.id)}"
    row = table.row(request.port)
    if row is None or row.form is None:
        message = row.outcome if row else _unknown(request.port.vif_type)
        raise Unsupported([Problem("$.port.binding:vif_type", message)], subject)
    try:
        vif = _vif(row.form(request.port), request.port, request.guest)
    except InvalidDocument as error:
        raise InvalidDocument(error.problems, subject) from None
    for note in guests.notes(request.guest) if vif.type in _IN_KERNEL else ():
        _log.warning("%s: %s", subject, note)
    return vif


def _unknown(vif_type: str) -> str:
    known = joined(sorted({each.vif_type for each in table.TABLE if each.form}))
    return f"expected {known}, got {described(vif_type)}: a third-party mechanism driver needs its own VIF type"


def _vif(made: Document, binding: Binding, guest: Guest) -> VIF:
    """Return the VIF. A problem with a value of the port has the path of the VIF document."""
    if made["type"] not in _IN_KERNEL and (quota := guests.first_quota(guest)):
        message = f"cannot be enforced on a {made['type']} port, whose traffic bypasses the host's kernel"
        path = f"$.guest.extra_specs.{quota}"
        raise InvalidDocument([Problem(path, f"{message}: use a Neutron QoS policy, or a flavor without it")])
    common = {"id": binding.id, "mac": binding.mac, "bandwidth": guests.bandwidth(guest)}
    document = {**common, **made, **_nic(made, binding, guest)}
    return VIF.from_data({key: value for key, value in document.items() if value is not None or key == "target"})


def _nic(document: Document, binding: Binding, guest: Guest) -> dict[str, Any]:
    """Return model and driver of the guest's NIC; the form may override them."""
    kind = document["type"]
    if kind == "vdpa":
        sizes = guests.rings(guest)  # libvirt reads them for a virtio model only
        return {"model": "virtio", "driver": sizes} if sizes else {}
    if binding.vnic_type in guests.PASSED_THROUGH or kind == "hostdev":
        return {}
    driver = guests.driver(guest)
    if kind == "vhostuser":
        driver = {name: value for name, value in driver.items() if name != "name"} | guests.rings(guest)
    elif guest.model == "virtio":
        driver |= document.get("driver", {})
    return {"model": document.get("model") or guest.model, "driver": driver or None}
