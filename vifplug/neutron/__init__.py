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
from vifplug.model.codec import joined
from vifplug.model.vif import VIF
from vifplug.neutron import binding as bindings
from vifplug.neutron import guest as guests
from vifplug.neutron import table
from vifplug.neutron.binding import Binding
from vifplug.neutron.forms import Document
from vifplug.neutron.guest import Guest
from vifplug.neutron.table import BindingRow

__all__ = ["vif_from_binding"]

_log = logging.getLogger(__name__)

#: VIF types whose guest has an emulated NIC with a kernel backend
_WITH_NIC = ("bridge", "ethernet", "direct")


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
    problems: list[Problem] = []
    found, facts = _read(port, guest, problems)
    if found is None or facts is None:
        raise InvalidDocument(problems)
    row = table.row(found)
    if row is None or row.form is None:
        raise Unsupported([Problem("$.port.binding:vif_type", _refusal(found, row))], f"port {found.id}")
    try:
        made = {**_common(found, facts, row), **row.form(found)}
        document = {**made, **_nic(made, found, facts)}
    except InvalidDocument as error:
        raise InvalidDocument(error.problems, f"port {found.id}") from None
    for note in guests.notes(facts) if document["type"] in _WITH_NIC else ():
        _log.warning("port %s: %s", found.id, note)
    return _vif(document, found)


def _read(port: object, guest: object, problems: list[Problem]) -> tuple[Binding | None, Guest | None]:
    """Return port and guest, None for an invalid one, and add all problems to ``problems``."""
    found = facts = None
    try:
        found = bindings.read(port)
    except InvalidDocument as error:
        problems += error.problems
    try:
        facts = guests.read(guest)
    except InvalidDocument as error:
        problems += error.problems
    return found, facts


def _refusal(binding: Binding, row: BindingRow | None) -> str:
    if row is not None:
        return f"{binding.vif_type} {row.refusal}"
    known = joined(sorted({each.vif_type for each in table.TABLE if each.form}))
    return f"expected {known}, got {binding.vif_type!r}: a third-party mechanism driver needs its own VIF type"


def _common(binding: Binding, guest: Guest, row: BindingRow) -> Document:
    """Return what every VIF has. Raises InvalidDocument for a bandwidth that is invalid or cannot be enforced."""
    problems: list[Problem] = []
    bandwidth = guests.bandwidth(guest, problems)
    if bandwidth and not row.shaped:
        message = f"cannot be enforced on a {row.becomes} port, whose traffic bypasses the host's kernel"
        path = f"$.guest.extra_specs.{guests.first_quota(guest)}"
        problems.append(Problem(path, f"{message}: use a Neutron QoS policy, or a flavor without it"))
    if problems:
        raise InvalidDocument(problems)
    return {"id": binding.id, "mac": binding.mac, "bandwidth": bandwidth}


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


def _vif(document: Document, binding: Binding) -> VIF:
    """Return the VIF. A problem with a value of the port has the path of the VIF document."""
    try:
        return VIF.from_data({key: value for key, value in document.items() if value is not None or key == "target"})
    except InvalidDocument as error:
        raise InvalidDocument(error.problems, f"port {binding.id}") from None
