"""What libvirt refuses, or drops without a word, when a guest with such an ``<interface>`` is defined.

Found by asking libvirt 9.0 (its QEMU driver) for each option on each type; the sources name the function. What
libvirt drops is a problem here: whoever builds an element wants all of it. (What is *read* has already lost it:
`vifplug.guest.read`.)
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from vifplug.errors import Problem
from vifplug.model import guestxml
from vifplug.model.codec import joined
from vifplug.model.nic import VF_DRIVERS, VIRTIO

if TYPE_CHECKING:
    from vifplug.guest.interface import Interface

_SNDBUF = re.compile(r"<sndbuf>[0-9]{1,10}</sndbuf>")

#: the types that take part in each option (domain_conf.c, domain_validate.c, qemu_validate.c: 9.0)
WITH_VIRTUALPORT = ("bridge", "network", "direct", "hostdev")
WITH_FILTER = ("bridge", "network", "ethernet")
WITH_COALESCE = ("bridge", "network")
WITH_ISOLATION = ("bridge", "network")
WITHOUT_MTU = ("direct", "hostdev", "vdpa")
SOURCE = {
    "bridge": ("bridge",),
    "network": ("network",),
    "direct": ("dev", "mode"),
    "vhostuser": ("type", "path", "mode"),
    "vdpa": ("dev",),
}
NIC_DRIVERS = ("qemu", "vhost")
#: elements about a tap, which a vdpa interface has not: 9.0 starts no guest with the first, and ignores the rest
OF_A_TAP = ("backend", "script", "downscript", "tune")
#: fields that say something of the network, and their paths in the document
_NETWORK_ONLY = (
    ("vlan", "$.vlan"),
    ("virtualport", "$.virtualport"),
    ("target", "$.target"),
    ("link_state", "$.link_state"),
    ("trust_guest_rx_filters", "$.trust_guest_rx_filters"),
)


def normal(interface: Interface) -> Mapping[str, Any]:
    """The fields that have one form only: an empty source is none, extra elements stand in libvirt's order."""
    changes: dict[str, Any] = {}
    if interface.extra:
        changes["extra"] = guestxml.in_order(interface.extra)
    if interface.source is not None and not interface.source:
        changes["source"] = None
    if interface.driver is not None and not interface.driver.to_data():
        changes["driver"] = None
    if interface.managed is False:
        changes["managed"] = None
    return changes


def refusals(interface: Interface) -> Iterator[Problem]:
    """What libvirt would refuse or drop; paths are those of the VIF document."""
    yield from _source(interface)
    yield from _virtualport(interface)
    yield from _host_side(interface)
    yield from _nic(interface)
    yield from _extra(interface)
    if interface.whole:
        yield from _whole(interface)


def _whole(interface: Interface) -> Iterator[Problem]:
    """What ``<hostdev>`` has no place for (domaincommon.rng)."""
    for field, path in _NETWORK_ONLY:
        if getattr(interface, field) is not None:
            yield Problem(path, "can't be said of a PCI function that is given whole: libvirt's <hostdev> has none")
    for tag in {guestxml.tag(each) for each in interface.extra} - {"rom", "acpi", "address", "teaming"}:
        yield Problem("$.guest_xml", f"<{tag}> is not known in libvirt's <hostdev>")


def _source(interface: Interface) -> Iterator[Problem]:
    for name in SOURCE.get(interface.type, ()):
        if name not in (interface.source or ()):
            yield Problem(f"$.source.{name}", "is missing")
    if interface.type == "hostdev" and interface.address is None:
        yield Problem("$.source.address", "is missing")


def _virtualport(interface: Interface) -> Iterator[Problem]:
    if not interface.virtualport:
        return
    if interface.type not in WITH_VIRTUALPORT:
        yield _only("$.virtualport", WITH_VIRTUALPORT, interface)
    elif interface.type != "network":
        yield from (problem.under("$.virtualport") for problem in interface.virtualport.missing())


def _host_side(interface: Interface) -> Iterator[Problem]:
    profile = interface.virtualport and interface.virtualport.type
    if interface.isolated and interface.type not in WITH_ISOLATION:
        yield _only("$.port.isolated", WITH_ISOLATION, interface)
    elif interface.isolated and profile:
        yield Problem("$.port.isolated", f"is for a Linux bridge; got virtualport type {profile}")
    if interface.target_managed is False and interface.type != "ethernet":
        yield _only("$.target", ("ethernet",), interface, "managed='no' ")
    if interface.filterref and interface.type not in WITH_FILTER:
        yield _only("$.filterref", WITH_FILTER, interface)
    inbound = interface.bandwidth and interface.bandwidth.inbound
    if inbound and inbound.floor and interface.type != "network":
        yield _only("$.bandwidth.inbound.floor", ("network",), interface)


def _nic(interface: Interface) -> Iterator[Problem]:
    if interface.mtu and interface.type in WITHOUT_MTU:
        yield Problem("$.mtu", f"can't be set on type {interface.type}: libvirt has no support for it")
    if interface.type == "vhostuser" and interface.model not in VIRTIO:
        yield Problem("$.model", f"expected {joined(VIRTIO)}: vhostuser has no other, got {interface.model or 'none'}")
    if interface.type == "vdpa" and interface.model not in (None, "virtio"):
        yield Problem("$.model", f"expected virtio: vdpa has no other, got {interface.model}")
    driver = interface.driver.to_data() if interface.driver else {}
    if interface.type == "hostdev":
        unknown = [name for name in driver if name != "name"]
        yield from (Problem(f"$.driver.{name}", "has no meaning on type hostdev") for name in unknown)
    elif driver and interface.model not in VIRTIO:
        yield Problem("$.driver", f"requires a virtio model, got {interface.model or 'no model'}")
    names = VF_DRIVERS if interface.type == "hostdev" else NIC_DRIVERS
    if "name" in driver and driver["name"] not in names:
        yield Problem("$.driver.name", f"expected {joined(names)} on type {interface.type}, got {driver['name']}")


def _extra(interface: Interface) -> Iterator[Problem]:
    tags = [guestxml.tag(element) for element in interface.extra]
    for name in dict.fromkeys(tags):
        if tags.count(name) > 1 and name not in guestxml.REPEATED:
            yield Problem("$.guest_xml", f"expected <{name}> once, got {tags.count(name)}")
    if "source" in tags and (interface.type != "ethernet" or interface.source):
        yield Problem("$.guest_xml", f"<source> is for type ethernet, got type {interface.type}")
    for name in ("ip", "route"):
        if name in tags:
            yield Problem("$.guest_xml", f"<{name}> is for containers: QEMU can't set a guest's addresses")
    if interface.type == "vdpa":
        taps = (name for name in OF_A_TAP if name in tags)
        yield from (Problem("$.guest_xml", f"<{name}> is for a tap, and type vdpa has none") for name in taps)
    if "coalesce" in tags and interface.type not in WITH_COALESCE:
        yield Problem("$.guest_xml", f"<coalesce> is for type {joined(WITH_COALESCE)}, got type {interface.type}")
    yield from _teaming(interface)
    for element in interface.extra:
        if guestxml.tag(element) == "tune" and "sndbuf" in element and not _SNDBUF.search(element):
            yield Problem("$.guest_xml", "expected a number of bytes in <sndbuf>")
        if guestxml.tag(element) == "backend" and " type='passt'" in element:
            yield Problem("$.guest_xml", f"<backend> type passt is for type user, got type {interface.type}")


def _teaming(interface: Interface) -> Iterator[Problem]:
    """The virtio-net failover pair (domain_validate.c, qemu_validate.c)."""
    for element in interface.extra:
        if guestxml.tag(element) != "teaming":
            continue
        transient, partner = " type='transient'" in element, " persistent='" in element
        if transient != partner:
            yield Problem("$.guest_xml", "<teaming> type transient names its persistent partner, and only that type")
        if transient and interface.type not in ("hostdev", "network"):
            yield Problem("$.guest_xml", f"<teaming> type transient is for hostdev, got type {interface.type}")
        if not transient and interface.model != "virtio":
            yield Problem("$.guest_xml", f"<teaming> type persistent needs model virtio, got {interface.model}")


def _only(path: str, types: tuple[str, ...], interface: Interface, what: str = "") -> Problem:
    return Problem(path, f"{what}is for type {joined(types)} only, got on type {interface.type}")
