"""The attributes and children that libvirt's schema has for the parts of ``<interface>`` that the model covers.

libvirt's parser silently skips what is not in the schema, so a typing error would change what a guest gets. Here it is
an error that names the element. Source: interface in domaincommon.rng, 9.0 to 12.5.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, NamedTuple

from vifplug.errors import Problem
from vifplug.model import guestxml
from vifplug.model.codec import joined
from vifplug.model.nic import GUEST_OFFLOADS, HOST_OFFLOADS
from vifplug.model.virtualport import PARAMETERS

if TYPE_CHECKING:
    from lxml.etree import _Element


@dataclass(frozen=True, kw_only=True)
class Shape:
    """The attributes and children that an element can have."""

    #: its path in the document, relative to that of the element around it
    key: str = ""
    #: required attributes
    must: tuple[str, ...] = ()
    #: optional attributes
    may: tuple[str, ...] = ()
    #: attributes that libvirt writes for a running guest or network; messages do not suggest them
    status: tuple[str, ...] = ()
    children: Mapping[str, Shape] = field(default_factory=dict)
    #: attributes and children that libvirt's schema has, but not here or not for vifplug: each with the reason
    refused: Mapping[str, str] = field(default_factory=dict)
    #: it may occur several times
    many: bool = False
    #: it may contain text
    text: bool = False
    #: its content is not validated
    opaque: bool = False


class Finding(NamedTuple):
    """A problem, and the element that it is about."""

    element: _Element
    problem: Problem
    #: the paths at which the model will find something missing because of it
    absent: tuple[str, ...] = ()


OPAQUE = Shape(opaque=True)
OPAQUE_OFTEN = Shape(opaque=True, many=True)


#: the attributes of ``<driver>`` and of a limit in libvirt's order (virDomainVirtioNetDriverFormat,
#: virNetDevBandwidthFormat). ``RINGS`` are numbers, ``SWITCHES`` are on or off.
RINGS = ("queues", "rx_queue_size", "tx_queue_size")
_VIRTIO = ("rss", "rss_hash_report", "iommu", "ats", "packed", "page_per_vq")
DRIVER = ("name", "model", "txmode", "ioeventfd", "event_idx", *RINGS, *_VIRTIO)
SWITCHES = ("ioeventfd", "event_idx", *_VIRTIO)
RATES = ("average", "peak", "floor", "burst")
#: in the <source> of a running guest; dropped by libvirt from an inactive one
_STATUS = ("portid", "macTableManager")

#: a PCI address; libvirt drops ``multifunction`` of a device of the host. ``device`` is of a USB address
PCI = Shape(
    key=".address",
    must=("type",),
    may=("domain", "bus", "slot", "function"),
    status=("multifunction", "device"),
)

#: the elements that the model covers
COVERED: dict[str, Shape] = {
    # type and check are VMware's; currentAddress is what a running guest has made of its MAC (11.2)
    "mac": Shape(key=".mac", must=("address",), status=("type", "check", "currentAddress")),
    "vlan": Shape(
        key=".vlan",
        may=("trunk",),
        children={"tag": Shape(key=".tags", must=("id",), may=("nativeMode",), many=True)},
    ),
    "virtualport": Shape(key=".virtualport", may=("type",), children={"parameters": Shape(may=PARAMETERS[None])}),
    "bandwidth": Shape(
        key=".bandwidth",
        refused={"classID": "is libvirt's own number for the port of a running guest: remove it"},
        children={"inbound": Shape(key=".inbound", may=RATES), "outbound": Shape(key=".outbound", may=RATES)},
    ),
    "port": Shape(key=".port", may=("isolated",)),
    "target": Shape(key=".target", must=("dev",), may=("managed",)),
    "model": Shape(key=".model", must=("type",)),
    "driver": Shape(
        key=".driver",
        may=DRIVER,
        children={
            "host": Shape(key=".host", may=HOST_OFFLOADS),
            "guest": Shape(key=".guest", may=GUEST_OFFLOADS),
        },
    ),
    "filterref": Shape(
        key=".filterref",
        must=("filter",),
        children={"parameter": Shape(key=".parameters", must=("name", "value"), many=True)},
    ),
    "link": Shape(key=".link_state", must=("state",)),
    "mtu": Shape(key=".mtu", must=("size",)),
    "boot": Shape(key=".boot_order", must=("order",), may=("loadparm",)),
    "alias": Shape(key=".alias", must=("name",)),
}

#: ``<source>``, by the interface's type
SOURCES: dict[str, Shape] = {
    "bridge": Shape(key=".source", must=("bridge",), status=("network", "portgroup", *_STATUS)),
    "network": Shape(key=".source", must=("network",), may=("portgroup",), status=("bridge", *_STATUS)),
    "direct": Shape(key=".source", must=("dev",), may=("mode",), status=("network", "portgroup", "portid")),
    "ethernet": Shape(key=".source", children={"ip": OPAQUE_OFTEN, "route": OPAQUE_OFTEN}),
    "vhostuser": Shape(
        key=".source",
        must=("type", "path", "mode"),
        children={
            "reconnect": Shape(
                key=".reconnect",
                must=("enabled",),
                may=("timeout",),
                refused={"delay": "is for a disk (an interface has timeout)"},
            )
        },
    ),
    "hostdev": Shape(
        key=".source",
        status=("missing",),
        # the vendor and product, or the device on its bus, are of USB, which the reader refuses
        children={"address": PCI, "vendor": OPAQUE, "product": OPAQUE},
    ),
    "vdpa": Shape(key=".source", must=("dev",)),
}
TYPES = tuple(SOURCES)

#: what the ``<source>`` of further types of libvirt's has; vifplug does not read these
_FURTHER = {
    "user": ("dev",),
    "vhostuser": ("dev",),  # passt's, libvirt 11.1
    "internal": ("name",),
    **dict.fromkeys(("mcast", "client", "server"), ("address", "port")),
    "udp": ("address", "port", "local"),
    "vds": ("switchid", "portid", "portgroupid", "connectionid"),
}

#: the most characters of a name that a message shows
_LONG = 60

#: from this number of children on, a message does not list them
_MANY = 10

#: the right names for wrong ones that occur in texts that people copy from (mailing lists, OpenStack's wiki)
_MEANT = {
    "portprofile": "virtualport",
    "portprofie": "virtualport",
    "vportprofile": "virtualport",
    "virtualportprofile": "virtualport",
    "bridge": "source",
}


def located(element: _Element, shape: Shape, path: str) -> Iterator[Finding]:
    """Yield what ``element`` has that ``shape`` does not, and what is missing from it."""
    if shape.opaque:
        return
    yield from _attributes(element, shape, path)
    yield from _text(element, shape, path)
    for child, index, inner in _children(element, shape):
        if inner is None:
            yield Finding(child, _unknown(element, _name(child), shape, path))
        elif index and not inner.many:
            message = f"expected <{_name(child)}> once in <{_name(element)}>, got it again"
            yield Finding(child, Problem(path, message))
        else:
            yield from located(child, inner, _path(path, inner, index))


def places(element: _Element, shape: Shape, path: str) -> Iterator[tuple[str, _Element]]:
    """Yield the path of each element in the document, those of its children after its own."""
    yield path, element
    for child, index, inner in _children(element, shape):
        if inner is not None and not shape.opaque:
            yield from places(child, inner, _path(path, inner, index))


def _children(element: _Element, shape: Shape) -> Iterator[tuple[_Element, int, Shape | None]]:
    """Yield each child, its number among those of its name, and its shape if it is known."""
    seen: dict[str, int] = {}
    for child in element:
        name = _name(child)
        seen[name] = seen.get(name, -1) + 1
        yield child, seen[name], shape.children.get(name)


def _path(path: str, inner: Shape, index: int) -> str:
    return path + inner.key + (f"[{index}]" if inner.many and inner.key else "")


@functools.cache
def interface(kind: str) -> Shape:
    """Return the shape of the whole element; verbatim children are not validated."""
    managed = ("managed",) if kind == "hostdev" else ()
    verbatim = {name: OPAQUE_OFTEN if name in guestxml.REPEATED else OPAQUE for name in guestxml.TAGS}
    return Shape(
        may=("type", "trustGuestRxFilters", *managed),
        refused={"managed": f"is for type hostdev, got type {kind}"},
        children={**verbatim, **COVERED, "source": replace(SOURCES[kind], refused=_of_others(kind))},
    )


def _of_others(kind: str) -> dict[str, str]:
    """Return what the ``<source>`` of other types has, with the reason why that of ``kind`` has not."""
    has = [(name, (*of.must, *of.may, *of.status, *of.children)) for name, of in SOURCES.items()]
    types: dict[str, list[str]] = {}
    for owner, names in (*has, *_FURTHER.items()):
        for name in names:
            types.setdefault(name, []).append(owner)
    return {name: f"is for type {joined(owners)}, got type {kind}" for name, owners in types.items()}


def _attributes(element: _Element, shape: Shape, path: str) -> Iterator[Finding]:
    known = (*shape.must, *shape.may)
    for name in shape.must:
        if name not in element.attrib:
            message = f"expected attribute {name} in <{_name(element)}>, got none"
            yield Finding(element, Problem(path, message), (path, f"{path}.{name}"))
    for name in map(str, element.attrib):
        if name in (*known, *shape.status):
            continue
        if name in shape.refused:
            message = f"attribute {name} of <{_name(element)}> {shape.refused[name]}"
        else:
            expected = f"expected {joined(known)}" if known else "it has no attributes"
            if not known and shape.children:
                expected = f"it contains {joined(f'<{child}>' for child in shape.children)}"
            message = f"attribute {name[:_LONG]} is not known in <{_name(element)}>; {expected}"
        yield Finding(element, Problem(path, message))


def _unknown(element: _Element, name: str, shape: Shape, path: str) -> Problem:
    if name in shape.refused:
        return Problem(path, f"<{name}> in <{_name(element)}> {shape.refused[name]}")
    if name in _MEANT:
        expected = f"; expected <{_MEANT[name]}>"
    elif len(shape.children) > _MANY:
        expected = ": libvirt has no such element"
    else:
        expected = f"; expected {joined(f'<{child}>' for child in shape.children)}" if shape.children else ""
    return Problem(path, f"<{name[:_LONG]}> is not known in <{_name(element)}>{expected}")


def _text(element: _Element, shape: Shape, path: str) -> Iterator[Finding]:
    text = "".join([element.text or "", *(child.tail or "" for child in element)]).strip()
    if text and not shape.text:
        expected = ", expected <tag id='...'/>" if _name(element) == "vlan" else ""
        message = f"<{_name(element)}> contains the text {text[:40]!r}{expected}"
        yield Finding(element, Problem(path, message))


def _name(element: _Element) -> str:
    return str(element.tag)
