"""The guest's element of a VIF, without a host: document in, ``<interface>`` out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vifplug import plugins
from vifplug.guest import write
from vifplug.guest.interface import Interface
from vifplug.model.codec import FrozenMap
from vifplug.model.vif import VIF
from vifplug.plan.facts import Facts
from vifplug.types.base import Context, NoFacts, TypeSettings, VIFType


def interface_xml(
    vif: VIF,
    settings: TypeSettings | None = None,
    types: plugins.TypeRegistry | None = None,
    options: Mapping[str, Any] = FrozenMap(),
    facts: Facts | None = None,
) -> str:
    """Return the guest's ``<interface>`` element of ``vif``, without looking at a host.

    A VIF of type network gives the form that names the network, for libvirt to resolve.

    Args:
        vif: the VIF, as requested or as resolved.
        settings: the settings that all types share; by default those of an empty configuration.
        types: the types to choose from; by default all that are installed.
        options: values of the type's own options; the others have their defaults.
        facts: the facts of a host, for a VIF that names a device by its address.

    Returns:
        The element as text, in libvirt's order of children.

    Raises:
        UnknownType: no installed type has that name.
        Unsupported: the type, libvirt or QEMU does not support what the VIF requests.
        Missing: the VIF names a device that ``facts`` do not have, or that no facts were given for.
    """
    if vif.type == "network":
        return write.element(_network(vif))
    kind, vif = (types or plugins.TypeRegistry()).bind(vif)
    context = _context(kind, settings, options, facts)
    plugins.validate(kind, vif, context)
    return write.element(plugins.interface(kind, vif, context))


def libvirts_xml(
    vif: VIF, settings: TypeSettings, types: plugins.TypeRegistry, options: Mapping[str, Any], facts: Facts
) -> str:
    """Return the ``<interface>`` element with which libvirt itself does all the work, for a resolved VIF.

    Args: see `interface_xml`.

    Raises:
        UnknownType: no installed type has that name.
        InvalidDocument: libvirt does not support what the VIF requests.
    """
    kind, vif = types.bind(vif)
    if kind.tap_owner:
        vif = vif.replace(tap_owner="libvirt")
    return write.element(plugins.interface(kind, vif, _context(kind, settings, options, facts)))


def _context(kind: VIFType, settings: TypeSettings | None, options: Mapping[str, Any], facts: Facts | None) -> Context:
    """Return the context of a VIF; options of its type that are not given have their defaults."""
    every = FrozenMap({**{option.name: option.default for option in kind.options}, **options})
    return Context(settings=settings or TypeSettings(), options=every, facts=facts or NoFacts())


def _network(vif: VIF) -> Interface:
    """Return ``<interface type='network'>``, which libvirt resolves."""
    source = {key: value for key, value in vif.source.to_data().items() if value}
    return Interface.of(
        vif,
        "network",
        source,
        vlan=vif.vlan,
        virtualport=vif.virtualport.completed(vif.id) if vif.virtualport else None,
        bandwidth=vif.bandwidth,
        isolated=vif.port.isolated if vif.port else None,
        target=vif.target,
    )
