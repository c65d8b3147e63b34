"""The one table of what libvirt and QEMU accept in an ``<interface>``: options by type, with their error messages.

Tested with libvirt 9.0 and QEMU 7.2, unless a rule names another source. It applies to every element, whether it comes
from a document, an edited text, an adopted guest or a plugin.

* `refused_at_define`: what libvirt refuses, or silently drops, when the guest is defined. An element that is built
  needs all of its options, so a dropped option is a problem too (`vifplug.guest.read` drops it before).
* `refused_at_start`: what libvirt accepts in a definition, but then does not start the guest, or does not connect it.

Rules about values that both VIFs and networks have are functions of those values.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from vifplug.errors import Problem
from vifplug.model import guestxml
from vifplug.model.bandwidth import Bandwidth
from vifplug.model.codec import joined
from vifplug.model.nic import VF_DRIVERS, VIRTIO, Driver
from vifplug.model.virtualport import MIDONET, OPENVSWITCH, QBG, QBH, VirtualPort
from vifplug.model.vlan import Vlan

if TYPE_CHECKING:
    from vifplug.guest.interface import Interface
    from vifplug.model.vif import VIF

#: when libvirt objects to an option on a type that does not take it; an ignored option is kept and has no effect
When = Literal["define", "start", "ignored"]

#: the types of interface that vifplug writes, with the attributes that each needs in its ``<source>``
SOURCE: dict[str, tuple[str, ...]] = {
    "bridge": ("bridge",),
    "network": ("network",),
    "direct": ("dev", "mode"),
    "ethernet": (),
    "vhostuser": ("type", "path", "mode"),
    "hostdev": (),
    "vdpa": ("dev",),
}


# -- option by type -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class InterfaceOption:
    """One option of an interface, and the types that take it."""

    #: where it is in the VIF document
    path: str
    types: tuple[str, ...]
    given: Callable[[Interface], object]
    when: When = "define"
    #: its name in a sentence, if its path is not enough
    name: str = ""


@dataclass(frozen=True)
class Child:
    """One child element that vifplug keeps verbatim, and the types of interface that take it."""

    tag: str
    types: tuple[str, ...]
    when: When = "define"
    #: only an element with this attribute is meant, and only with this value if there is one
    attribute: str = ""
    value: str = ""

    def means(self, tag: str, attributes: Mapping[str, str]) -> bool:
        """Return whether the rule is about an element."""
        found = attributes.get(self.attribute)
        return tag == self.tag and (not self.attribute or (found is not None and self.value in ("", found)))

    def __str__(self) -> str:
        return " ".join(filter(None, (f"<{self.tag}>", self.attribute, self.value)))


OPTIONS = (
    # "<virtualport> element unsupported for <interface type='%s'>"
    InterfaceOption("$.virtualport", ("bridge", "network", "direct", "hostdev"), lambda it: it.virtualport),
    # "<port isolated='yes'/> is not supported for network interfaces with type='%s'"
    InterfaceOption("$.port.isolated", ("bridge", "network"), lambda it: it.isolated),
    # "unmanaged target dev is not supported on interfaces of type '%s'"
    InterfaceOption("$.target", ("ethernet",), lambda it: it.target_managed is False, name="managed='no'"),
    # "filterref is not supported for network interfaces of type %s"
    InterfaceOption("$.filterref", ("bridge", "network", "ethernet"), lambda it: it.filterref),
    # "floor attribute is not supported for this config"
    InterfaceOption("$.bandwidth.inbound.floor", ("network",), lambda it: floor(it.bandwidth)),
    # "setting MTU on interface type %s is not supported yet"
    InterfaceOption("$.mtu", ("bridge", "network", "ethernet", "vhostuser"), lambda it: it.mtu),
    # "vlan tag not supported for this connection type"
    InterfaceOption("$.vlan", ("bridge", "network", "direct", "hostdev"), lambda it: it.vlan, "start"),
)

_NOT_VDPA = tuple(kind for kind in SOURCE if kind != "vdpa")

CHILDREN = (
    Child("source", ("ethernet",)),
    # "Invalid attempt to set network interface guest-side IP route and/or address info, not supported by QEMU"; on type
    # user it is what SLIRP and passt hand out
    Child("ip", ("user",)),
    Child("route", ()),
    # passt's ports and log
    Child("portForward", ("user",), "ignored"),
    Child("backend", ("user",), "ignored", "logFile"),
    # "Invalid value for attribute 'type' in element 'backend': 'passt'"
    Child("backend", ("user",), "define", "type", "passt"),
    # "custom tap device path is not supported for network interfaces of type %s"
    Child("backend", ("bridge", "network", "ethernet"), "start", "tap"),
    # a vdpa device has no tap: no guest starts with <backend>, and the others are ignored
    *(Child(tag, _NOT_VDPA) for tag in ("backend", "script", "downscript", "tune")),
    # "scripts are not supported on interfaces of type %s"
    Child("script", ("ethernet",), "start"),
    Child("downscript", ("ethernet",), "ignored"),
    # dropped on any other type
    Child("coalesce", ("bridge", "network")),
    # "virtio-net teaming transient interface must be type='hostdev', not '%s'"
    Child("teaming", ("hostdev", "network"), "define", "type", "transient"),
)

Profiles = Mapping[str, tuple[str, ...]]

#: "Invalid value for attribute 'name' in element 'driver': 'vfio'"
NIC_DRIVERS = ("qemu", "vhost")

#: the virtualports by which libvirt connects each type (virNetDevTapAttachBridge, virNetDevMacVLan, virhostdev.c), and
#: those of a network (networkAllocatePort), which cannot be MidoNet's
PROFILES: Profiles = {"bridge": (OPENVSWITCH, MIDONET), "direct": (QBG, QBH), "hostdev": (QBH,)}
NETWORK_PROFILES: Profiles = {**PROFILES, "bridge": (OPENVSWITCH,)}

#: the virtualports beside which libvirt sets no VLAN, by type (virNetDevMacVLanCreateWithVPortProfile for direct)
_WITHOUT_VLAN = {"bridge": (MIDONET, QBG, QBH), "direct": (QBH,), "hostdev": (QBG, QBH, OPENVSWITCH, MIDONET)}

#: "Invalid rx_queue_size (= 128), must be a power of 2 between 256 and 1024.", the same of tx_queue_size. From 8.1 on
#: that is 256 and 256 for tx but on vhost-user and vDPA, where QEMU before it takes 256 for any more
#: (virtio_net_max_tx_queue_size)
RINGS = (256, 1024)
_TX_OF_A_TAP = 256
_LONG_TX = ("vhostuser", "vdpa")

#: domaincommon.rng: the elements that <hostdev> can hold
_WHOLE_CHILDREN = ("rom", "acpi", "address", "teaming")
_NOT_OF_WHOLE = ("vlan", "virtualport", "target", "link_state", "trust_guest_rx_filters")

_ATTRIBUTE = re.compile(r" ([A-Za-z_][\w.\-]*)='([^']*)'")
_SNDBUF = re.compile(r"<sndbuf>[0-9]{1,10}</sndbuf>")


def refused_at_define(interface: Interface) -> Iterator[Problem]:
    """Yield what libvirt refuses or drops when a guest with the interface is defined; paths are the VIF document's."""
    for name in SOURCE.get(interface.type, ()):
        if name not in (interface.source or ()):
            yield Problem(f"$.source.{name}", "is missing")
    if interface.type == "hostdev" and interface.address is None:
        yield Problem("$.source.address", "is missing")
    yield from _options(interface, "define")
    if interface.virtualport and interface.type in PROFILES:
        yield from (problem.under("$.virtualport") for problem in interface.virtualport.missing())
    if message := vlan_beyond(interface.vlan):
        yield Problem("$.vlan", message)
    if interface.isolated and interface.virtualport and interface.virtualport.type:
        yield isolated_beside(interface.virtualport.type)
    yield from model_problems(interface.model, interface.type)
    yield from driver_problems(interface.driver, interface.model, interface.type)
    yield from _once(interface)
    yield from _children(interface, "define")
    yield from _whole(interface) if interface.whole else ()


def refused_in_document(vif: VIF) -> Iterator[Problem]:
    """Yield what no VIF document can request, whatever its type does with it; ``vif`` may be of a third-party type."""
    if vif.driver and vif.type not in ("hostdev", "vhostuser") and vif.model not in VIRTIO:
        yield from driver_problems(vif.driver, vif.model, vif.type)
    if vif.type != "network" and floor(vif.bandwidth):
        yield Problem("$.bandwidth.inbound.floor", f"requires type network, got type {vif.type}")


def refused_at_start(interface: Interface) -> Iterator[Problem]:
    """Yield what libvirt defines, and then does not start the guest, or does not connect it as the element says."""
    yield from _options(interface, "start")
    yield from _children(interface, "start")
    if message := profile_problem(interface.virtualport, interface.type):
        yield Problem("$.virtualport.type", message)
    mode = interface.source.get("mode") if interface.source else None
    if message := vlan_problem(interface.vlan, interface.type, mode=mode, port=interface.virtualport):
        yield Problem("$.vlan", message)
    if interface.filterref and interface.type == "bridge" and interface.virtualport and interface.virtualport.type:
        yield filterref_beside(interface.virtualport.type)
    yield from ring_problems(interface.driver, interface.type)


def takes(path: str, kind: str) -> bool:
    """Return whether an interface of type ``kind`` takes the option at a path."""
    return any(option.path == path and kind in option.types for option in OPTIONS)


def attributes(element: str) -> dict[str, str]:
    """Return the attributes of an element in its normal form."""
    return dict(_ATTRIBUTE.findall(element[: element.index(">")]))


def is_for_others(tag: str, attributes: Mapping[str, str], kind: str) -> bool:
    """Return whether a child element is for other types of interface than ``kind``."""
    return any(rule.means(tag, attributes) and kind not in rule.types for rule in CHILDREN)


# -- values that VIFs, networks and elements have in common --------------------------------------------------------


def model_problems(model: str | None, kind: str) -> Iterator[Problem]:
    """Yield why a type cannot have a model: "vhostuser requires the virtio-net* frontend"."""
    if kind == "vhostuser" and model not in VIRTIO:
        yield Problem("$.model", f"expected {joined(VIRTIO)} on type vhostuser, got {model or 'none'}")
    if kind == "vdpa" and model not in (None, "virtio"):
        yield Problem("$.model", f"expected virtio on type vdpa, got {model}")


def driver_problems(driver: Driver | None, model: str | None, kind: str) -> Iterator[Problem]:
    """Yield the problems of ``<driver>``. Only a virtio NIC or a hostdev has one, a hostdev only its name and model."""
    hostdev = kind == "hostdev"
    for name in driver.to_data() if driver else ():
        if hostdev and name not in ("name", "model"):
            yield Problem(f"$.driver.{name}", "is not supported on type hostdev, which has only name and model")
        elif not hostdev and name == "model":
            yield Problem("$.driver.model", f"is for type hostdev, got type {kind}")
        elif not hostdev and model not in VIRTIO:
            yield Problem(f"$.driver.{name}", f"requires a virtio model, got {model or 'no model'}")
    names = VF_DRIVERS if hostdev else NIC_DRIVERS
    if driver and driver.name and driver.name not in names:
        yield Problem("$.driver.name", f"expected {joined(names)} on type {kind}, got {driver.name}")


def ring_problems(driver: Driver | None, kind: str) -> Iterator[Problem]:
    """Yield the sizes of a virtio NIC's rings that QEMU does not take."""
    least, most = RINGS
    tx_most = most if kind in _LONG_TX else _TX_OF_A_TAP
    for name, limit in (("rx_queue_size", most), ("tx_queue_size", tx_most)):
        size = getattr(driver, name, None)
        if size is not None and not least <= size <= limit:
            expected = f"{least}" if limit == least else f"a power of two from {least} to {limit}"
            yield Problem(f"$.driver.{name}", f"expected {expected} on type {kind}: QEMU accepts no other, got {size}")


def profile_problem(port: VirtualPort | None, kind: str, profiles: Profiles = PROFILES) -> str:
    """Return why a virtualport does not connect an interface of type ``kind``; empty if it does, or is None."""
    known = profiles.get(kind)
    if port is None or known is None or port.type in (None, *known):
        return ""
    return f"expected {joined(known)} on type {kind}, got {port.type}, which libvirt does not support there"


def vlan_problem(vlan: Vlan | None, kind: str, *, mode: str | None = None, port: VirtualPort | None = None) -> str:
    """Return why an interface of type ``kind`` cannot have ``vlan``; empty if it can. ``mode`` is a macvtap's.

    "vlan trunking is not supported by SR-IOV network devices"; "direct setting of the vlan tag is not allowed for
    hostdev devices using %s mode". A Linux bridge has VLANs from libvirt 11.0 on.
    """
    if vlan is None:
        return ""
    if kind == "direct" and mode != "passthrough":
        return f"not supported in mode {mode}, which shares the device: use passthrough, hostdev or a bridge"
    if kind in ("direct", "hostdev") and vlan.access is None:
        return "expected one access VLAN: a virtual function supports neither a trunk nor a native VLAN"
    if port and port.type in _WITHOUT_VLAN.get(kind, ()):
        return f"cannot be combined with virtualport {port.type}: libvirt sets no VLAN there"
    return ""


def network_vlan_problem(vlan: Vlan | None, form: str, mode: str, port: VirtualPort | None) -> str:
    """Return why a network's port cannot have ``vlan``. On a macvtap, libvirt merges it with a port profile."""
    return vlan_problem(vlan, form, mode=mode, port=port if form == "hostdev" else None)


def floor(bandwidth: Bandwidth | None) -> int | None:
    """Return the guaranteed rate, in kB/s; libvirt supports it on the bridges that it runs itself."""
    return bandwidth.inbound.floor if bandwidth and bandwidth.inbound else None


#: the problem of a floor in a network that libvirt does not run
FLOOR = "requires a network that libvirt itself runs (nat, route, open)"


def vlan_beyond(vlan: Vlan | None) -> str:
    """Return why libvirt's ``<vlan>`` cannot say ``vlan``; empty if it can."""
    if vlan is None or not vlan.beyond_libvirt:
        return ""
    return f"libvirt's <vlan> cannot express {vlan.beyond_libvirt}: set tap_owner or source.port_owner to vifplug"


def isolated_beside(profile: str) -> Problem:
    """ "<port isolated='yes'/> is not supported for network interfaces with virtualport type='%s'" """
    return Problem("$.port.isolated", f"requires a Linux bridge, or a port of vifplug's, got virtualport {profile}")


def filterref_beside(profile: str) -> Problem:
    """ "filterref is not supported for network interfaces with virtualport type %s" """
    return Problem("$.filterref", f"cannot be combined with virtualport {profile}: nwfilter cannot see its port")


# -- how the table is applied -------------------------------------------------------------------------------------


def _options(interface: Interface, when: When) -> Iterator[Problem]:
    for option in OPTIONS:
        if option.when == when and interface.type not in option.types and option.given(interface):
            yield Problem(option.path, f"{option.name} is for {_got(option.types, interface)}".strip())


def _children(interface: Interface, when: When) -> Iterator[Problem]:
    for element in interface.extra:
        tag = guestxml.tag(element)
        given = attributes(element)
        for rule in CHILDREN:
            if rule.when == when and interface.type not in rule.types and rule.means(tag, given):
                yield Problem("$.guest_xml", f"{rule} is for {_got(rule.types, interface)}")
        if when == "define" and tag == "model" and interface.type != "hostdev":
            yield Problem("$.guest_xml", "<model> is kept verbatim on type hostdev only: set the key model")
        if when == "define" and tag == "tune" and "sndbuf" in element and not _SNDBUF.search(element):
            yield Problem("$.guest_xml", "expected a number of bytes in <sndbuf>")
        if when == "define" and tag == "teaming":
            yield from _teaming(interface, given)


def _got(types: tuple[str, ...], interface: Interface) -> str:
    takers = {(): "containers", _NOT_VDPA: "a tap"}.get(types) or f"type {joined(types)}"
    return f"{takers}, got type {interface.type}"


def _teaming(interface: Interface, attributes: Mapping[str, str]) -> Iterator[Problem]:
    """Yield what is wrong with the virtio-net failover pair (domain_validate.c, qemu_validate.c)."""
    transient = attributes.get("type") == "transient"
    if transient != ("persistent" in attributes):
        yield Problem("$.guest_xml", "<teaming> type transient names its persistent partner, and only that type")
    if not transient and interface.model not in VIRTIO:
        yield Problem(
            "$.guest_xml", f"<teaming> type persistent requires a virtio model, got {interface.model or 'none'}"
        )


def _once(interface: Interface) -> Iterator[Problem]:
    """Yield the elements that an interface has more than once, including those that the model covers."""
    tags = [guestxml.tag(element) for element in interface.extra]
    covered = {"boot": interface.boot_order, "model": interface.model, "source": interface.source}
    tags += [name for name, given in covered.items() if given]
    for name in dict.fromkeys(tags):
        if tags.count(name) > 1 and name not in guestxml.REPEATED:
            yield Problem("$.guest_xml", f"expected <{name}> once, got {tags.count(name)}")


def _whole(interface: Interface) -> Iterator[Problem]:
    for field in _NOT_OF_WHOLE:
        if getattr(interface, field) is not None:
            yield Problem(f"$.{field}", "is not supported for a whole PCI function: libvirt's <hostdev> has none")
    for tag in {guestxml.tag(element) for element in interface.extra} - set(_WHOLE_CHILDREN):
        yield Problem("$.guest_xml", f"<{tag}> is not known in libvirt's <hostdev>")
