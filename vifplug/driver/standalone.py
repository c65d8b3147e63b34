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
    """libvirt's ``<interface>`` for ``vif``; touches nothing. ``options`` are the values of its type's own options.
    ``facts`` are a host's, for a VIF that names a device by its address.

    A VIF of type network gives the form that names the network. Raises UnknownType and Unsupported, and Missing for
    a device that is not there, or that no facts were given for.
    """
    if vif.type == "network":
        return write.element(_network(vif))
    kind, vif = (types or plugins.TypeRegistry()).bind(vif)
    context = _context(kind, settings, options, facts)
    plugins.validate(kind, vif, context)
    return write.element(plugins.interface(kind, vif, context))


def libvirts_xml(
    vif: VIF,
    settings: TypeSettings | None = None,
    types: plugins.TypeRegistry | None = None,
    options: Mapping[str, Any] = FrozenMap(),
    facts: Facts | None = None,
) -> str:
    """The ``<interface>`` with which libvirt itself would do all the work: its form of an actual VIF.

    Raises UnknownType, and InvalidDocument for what libvirt can't do.
    """
    kind, vif = (types or plugins.TypeRegistry()).bind(vif)
    if kind.tap_owner:
        vif = vif.replace(tap_owner="libvirt")
    return write.element(plugins.interface(kind, vif, _context(kind, settings, options, facts)))


def _context(kind: VIFType, settings: TypeSettings | None, options: Mapping[str, Any], facts: Facts | None) -> Context:
    """What surrounds the VIF. Options of the type that are not given have their defaults."""
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
