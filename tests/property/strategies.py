"""Hypothesis strategies for VIFs, interfaces and their parts: everything that the model accepts, and no more.

Names keep to the characters that libvirt's schema has (its parser takes more), so that what is made of them can be
validated. Names that libvirt gives itself (vnet0 ...) are left out: it drops them when it reads an element.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hypothesis import strategies as st

from vifplug.guest.interface import Interface
from vifplug.model import source
from vifplug.model.bandwidth import Bandwidth, Limit
from vifplug.model.codec import FrozenMap
from vifplug.model.nic import VIRTIO, Driver, FilterParameter, FilterRef, Port, VfSettings
from vifplug.model.vif import VIF
from vifplug.model.virtualport import VirtualPort
from vifplug.model.vlan import Tag, Vlan

LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
OWN_NAMES = ("vnet", "macvtap", "macvlan")
RING_SIZES = (64, 128, 256, 512, 1024, 32768)
RATES = st.integers(1, 2**32 - 1)  # libvirt 9.0's schema; 11.3 and the model allow up to 2**54

uuids = st.uuids().map(str)
macs = (
    st.binary(min_size=6, max_size=6)
    .map(lambda raw: bytes([raw[0] & 0xFE, *raw[1:]]))
    .filter(any)
    .map(lambda raw: raw.hex(":"))
)
devices = st.text(LETTERS + "_.-", min_size=1, max_size=15).filter(
    lambda name: name not in (".", "..", "all", "default") and not name.startswith(OWN_NAMES)
)
_names = st.text(LETTERS + "_.-+&'\"<>,:%", min_size=1, max_size=25).filter(lambda name: name not in (".", ".."))
paths = st.lists(_names, min_size=1, max_size=4).map(lambda names: "/" + "/".join(names))
words = st.text(LETTERS + "_.-", min_size=1, max_size=20)
profile_ids = st.text(st.characters(categories=("L", "N", "P", "S")), min_size=1, max_size=39).filter(
    lambda name: len(name.encode()) <= 39
)
addresses = st.builds(
    "{:04x}:{:02x}:{:02x}.{}".format,
    st.integers(0, 0xFFFF),
    st.integers(0, 255),
    st.integers(0, 31),
    st.integers(0, 7),
)


@st.composite
def vlans(draw: st.DrawFn) -> Vlan:
    ids = draw(st.lists(st.integers(1, 4094), min_size=1, max_size=5, unique=True))
    native = draw(st.none() | st.sampled_from(ids))
    mode: Any = draw(st.sampled_from(("tagged", "untagged")))
    tags = tuple(Tag(id=each, native_mode=mode if each == native else None) for each in ids)
    return Vlan(tags=tags, trunk=draw(st.booleans()) or len(ids) > 1)


def limits(*, floor: bool) -> st.SearchStrategy[Limit]:
    optional = st.none() | RATES
    return st.builds(
        Limit,
        average=RATES,
        peak=optional,
        burst=st.none() | st.integers(1, 4194303),
        floor=optional if floor else st.none(),
    )


def bandwidths(*, floor: bool = False) -> st.SearchStrategy[Bandwidth]:
    one = st.builds(Bandwidth, inbound=limits(floor=floor), outbound=st.none() | limits(floor=False))
    return one | st.builds(Bandwidth, outbound=limits(floor=False))


qbg = st.builds(
    VirtualPort,
    type=st.just("802.1Qbg"),
    managerid=st.integers(0, 0xFF),
    typeid=st.integers(0, 0xFFFFFF),
    typeidversion=st.integers(0, 0xFF),
    instanceid=uuids,
)
qbh = st.builds(VirtualPort, type=st.just("802.1Qbh"), profileid=profile_ids)
openvswitch = st.builds(VirtualPort, type=st.just("openvswitch"), interfaceid=uuids, profileid=st.none() | profile_ids)
midonet = st.builds(VirtualPort, type=st.just("midonet"), interfaceid=uuids)
untyped = st.builds(VirtualPort, managerid=st.none() | st.integers(0, 255), profileid=st.none() | profile_ids)
virtualports = qbg | qbh | openvswitch | midonet

filterrefs = st.builds(
    FilterRef,
    filter=words.map(lambda word: "f" + word),  # an NCName
    parameters=st.lists(
        st.builds(
            FilterParameter,
            name=st.sampled_from(("IP", "MAC", "DHCPSERVER", "a1")),
            value=st.text(LETTERS + "_.:", min_size=1, max_size=20),
        ),
        max_size=4,
    ).map(tuple),
)
switches = st.none() | st.booleans()
drivers = st.builds(
    Driver,
    name=st.sampled_from((None, "qemu", "vhost")),
    queues=st.none() | st.integers(1, 256),
    rx_queue_size=st.none() | st.sampled_from(RING_SIZES),
    tx_queue_size=st.none() | st.sampled_from(RING_SIZES),
    txmode=st.sampled_from((None, "iothread", "timer")),
    ioeventfd=switches,
    event_idx=switches,
    packed=switches,
    iommu=switches,
    ats=switches,
    page_per_vq=switches,
    rss=switches,
    rss_hash_report=switches,
    host=st.dictionaries(st.sampled_from(("csum", "gso", "tso4", "mrg_rxbuf")), st.booleans()).map(FrozenMap),
    guest=st.dictionaries(st.sampled_from(("csum", "tso6", "ecn", "ufo")), st.booleans()).map(FrozenMap),
)
reconnects = st.builds(source.Reconnect, enabled=st.just(True), timeout=st.integers(1, 3600)) | st.just(
    source.Reconnect(enabled=False)
)
#: elements that the model does not cover, and that go with every type
guest_elements = st.lists(
    st.sampled_from(
        (
            "<backenddomain name='x'/>",
            "<guest dev='eth0'/>",
            "<tune>\n  <sndbuf>1600</sndbuf>\n</tune>",
            "<rom bar='off'/>",
            "<rom enabled='no'/>",
            "<acpi index='5'/>",
            "<address type='pci' domain='0x0000' bus='0x01' slot='0x07' function='0x0'/>",
        )
    ),
    unique_by=lambda element: element[:5],
    max_size=4,
).map(tuple)


@st.composite
def nics(draw: st.DrawFn, *, virtio: bool = False) -> dict[str, Any]:
    """The guest's own part: model, driver and what else goes with every type."""
    model = draw(st.sampled_from(VIRTIO if virtio else (None, "e1000", *VIRTIO)))
    return {
        "model": model,
        "driver": draw(st.none() | drivers) if model in VIRTIO else None,
        "trust_guest_rx_filters": draw(switches),
        "link_state": draw(st.sampled_from((None, "up", "down"))),
        "boot_order": draw(st.none() | st.integers(1, 2**31 - 1)),
        "alias": draw(st.none() | words.map(lambda word: "ua-" + word.replace(".", "_"))),
    }


def _optional(draw: st.DrawFn, strategy: st.SearchStrategy[Any]) -> Any:
    return draw(st.none() | strategy)


TYPES = ("bridge", "network", "direct", "ethernet", "vhostuser", "hostdev")


@st.composite
def interfaces(draw: st.DrawFn, kinds: Sequence[str] = TYPES) -> Interface:
    """Any element that libvirt takes, of those types."""
    kind = draw(st.sampled_from(kinds))
    given = draw(nics(virtio=kind == "vhostuser"))
    port = _port(draw, kind)
    if kind == "hostdev":
        given |= {"managed": draw(switches), "address": draw(addresses)}
        given["driver"] = _optional(draw, st.builds(Driver, name=st.sampled_from(("vfio", "kvm", "xen"))))
    elif kind != "ethernet":
        given["source"] = FrozenMap(_source(draw, kind))
    if kind == "vhostuser":
        given["reconnect"] = draw(st.none() | reconnects) if given["source"]["mode"] == "client" else None
    if kind == "ethernet":
        given["target_managed"] = draw(switches)
    target = draw(devices) if given.get("target_managed") is not None else _optional(draw, devices)
    isolated = draw(switches) if kind in ("bridge", "network") and not (port and port.type) else None
    return Interface(
        **given,
        type=kind,
        mac=draw(macs),
        target=target,
        virtualport=port,
        isolated=isolated,
        vlan=_optional(draw, vlans()),
        bandwidth=_optional(draw, bandwidths(floor=kind == "network")),
        filterref=_optional(draw, filterrefs) if kind in ("bridge", "network", "ethernet") else None,
        mtu=_optional(draw, st.integers(68, 65535)) if kind not in ("direct", "hostdev") else None,
        extra=draw(guest_elements),
    )


def _port(draw: st.DrawFn, kind: str) -> VirtualPort | None:
    if kind == "network":
        port: VirtualPort | None = draw(st.none() | virtualports | untyped)
        return port
    return _optional(draw, virtualports) if kind in ("bridge", "direct", "hostdev") else None


def _source(draw: st.DrawFn, kind: str) -> dict[str, str]:
    if kind == "bridge":
        return {"bridge": draw(devices)}
    if kind == "direct":
        return {"dev": draw(devices), "mode": draw(st.sampled_from(("vepa", "bridge", "private", "passthrough")))}
    if kind == "vhostuser":
        return {"type": "unix", "path": draw(paths), "mode": draw(st.sampled_from(("client", "server")))}
    portgroup = _optional(draw, words)
    return {"network": draw(words), **({"portgroup": portgroup} if portgroup else {})}


def _vif_source(draw: st.DrawFn, kind: str) -> Any:
    bridge = st.none() | devices
    if kind == "hostdev":
        return source.HostDeviceSource(address=draw(addresses), managed=draw(st.booleans()), bridge=draw(bridge))
    if kind == "vhostuser":
        mode: Any = draw(st.sampled_from(("client", "server")))
        again = draw(st.none() | reconnects) if mode == "client" else None
        return source.VhostUserSource(path=draw(paths), mode=mode, reconnect=again, bridge=draw(bridge))
    if kind == "ethernet":
        return source.EthernetSource()
    given: dict[str, Any] = _source(draw, kind)
    if kind == "bridge":
        given["hybrid"] = draw(st.booleans())
    return source.SOURCES[kind].from_data(given)


@st.composite
def vifs(draw: st.DrawFn) -> VIF:
    """Any VIF that the model accepts, whether or not its type can honour all of it."""
    kind = draw(st.sampled_from(TYPES))
    given = draw(nics())
    owner: Any = draw(st.sampled_from((None, "vifplug", "libvirt")))
    without = kind in ("vhostuser", "hostdev")
    target: dict[str, Any] = {} if draw(st.booleans()) else {"target": draw(devices)}
    if not target and owner == "libvirt" and not without and draw(st.booleans()):
        target = {"target": None}
    return VIF(
        **given,
        **target,
        id=draw(uuids),
        type=kind,
        mac=draw(macs),
        tap_owner=owner,
        source=_vif_source(draw, kind),
        mtu=_optional(draw, st.integers(68, 65535)),
        vlan=_optional(draw, vlans()),
        virtualport=draw(st.none() | virtualports),
        bandwidth=_optional(draw, bandwidths(floor=kind == "network")),
        filterref=_optional(draw, filterrefs),
        port=_optional(draw, st.builds(Port, isolated=st.booleans())),
        vf=_optional(draw, st.builds(VfSettings, trust=switches, spoof_check=switches)),
        external_ids=FrozenMap(draw(st.dictionaries(words, words, max_size=2))),
        guest_xml=draw(guest_elements),
    )


@st.composite
def described_vifs(draw: st.DrawFn) -> tuple[VIF, Interface]:
    """A VIF and an element that says all of it, each made without the other's reader or writer."""
    interface = draw(interfaces().filter(lambda each: each.target_managed is not True))
    return _of_interface(interface, draw(uuids)), interface


def _of_interface(interface: Interface, vif_id: str) -> VIF:
    """The VIF that such an element describes, made without reading any XML."""
    kind = interface.type
    given: dict[str, Any] = {key: value for key, value in (interface.source or {}).items() if key != "type"}
    if kind == "hostdev":
        given = {"address": interface.address, "managed": bool(interface.managed)}
    if kind == "vhostuser":
        given["reconnect"] = interface.reconnect
    owner: Any = "vifplug" if interface.target_managed is False else "libvirt"
    names = ("mac", "target", "model", "driver", "mtu", "vlan", "virtualport", "bandwidth", "filterref", "link_state")
    more = ("trust_guest_rx_filters", "boot_order", "alias")
    return VIF(
        **{name: getattr(interface, name) for name in (*names, *more)},
        id=vif_id,
        type=kind,
        tap_owner=None if kind in ("hostdev", "vhostuser", "network") else owner,
        source=source.SOURCES[kind].from_data(given),
        port=None if interface.isolated is None else Port(isolated=interface.isolated),
        guest_xml=interface.extra,
    )


#: anything that JSON can say
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=12,
)
