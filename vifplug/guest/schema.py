"""Which attributes and children libvirt's schema gives the parts of ``<interface>`` that the model covers.

What is not in the schema libvirt's parser skips without a word, so a typing error would change what a guest gets.
Here it is an error that names the element. Source: interface in domaincommon.rng, 9.0 to 12.5.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from vifplug.errors import Problem
from vifplug.model import guestxml
from vifplug.model.codec import joined
from vifplug.model.nic import GUEST_OFFLOADS, HOST_OFFLOADS
from vifplug.model.virtualport import PARAMETERS

if TYPE_CHECKING:
    from lxml.etree import _Element


@dataclass(frozen=True, kw_only=True)
class Shape:
    """What an element holds: the attributes that it must and may have, and its children.

    ``key`` is what its path in the document adds to that of the element around it. ``many``: it may come often.
    ``text``: it holds a text. One that is ``opaque`` is not looked into.
    """

    key: str = ""
    must: tuple[str, ...] = ()
    may: tuple[str, ...] = ()
    children: Mapping[str, Shape] = field(default_factory=dict)
    many: bool = False
    text: bool = False
    opaque: bool = False


OPAQUE = Shape(opaque=True)
OPAQUE_OFTEN = Shape(opaque=True, many=True)


_VIRTIO = ("iommu", "ats", "packed", "page_per_vq", "rss", "rss_hash_report")
_DRIVER = ("name", "queues", "rx_queue_size", "tx_queue_size", "txmode", "ioeventfd", "event_idx", *_VIRTIO)
_RATES = ("average", "peak", "burst", "floor")
#: in the <source> of a running guest; not configuration (dropped by libvirt from an inactive one)
_STATUS = ("portid", "macTableManager")

#: the elements that the model covers
COVERED: dict[str, Shape] = {
    "mac": Shape(key=".mac", must=("address",)),
    "vlan": Shape(
        key=".vlan",
        may=("trunk",),
        children={"tag": Shape(key=".tags", must=("id",), may=("nativeMode",), many=True)},
    ),
    "virtualport": Shape(key=".virtualport", may=("type",), children={"parameters": Shape(may=PARAMETERS[None])}),
    "bandwidth": Shape(
        key=".bandwidth",
        children={"inbound": Shape(key=".inbound", may=_RATES), "outbound": Shape(key=".outbound", may=_RATES)},
    ),
    "port": Shape(key=".port", may=("isolated",)),
    "target": Shape(key=".target", must=("dev",), may=("managed",)),
    "model": Shape(key=".model", must=("type",)),
    "driver": Shape(
        key=".driver",
        may=_DRIVER,
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
    "boot": Shape(key=".boot_order", must=("order",)),
    "alias": Shape(key=".alias", must=("name",)),
}

#: ``<source>``, by the interface's type
SOURCES: dict[str, Shape] = {
    "bridge": Shape(key=".source", must=("bridge",), may=("network", "portgroup", *_STATUS)),
    "network": Shape(key=".source", must=("network",), may=("portgroup", "bridge", *_STATUS)),
    "direct": Shape(key=".source", must=("dev",), may=("mode", "network", "portgroup", "portid")),
    "ethernet": Shape(key=".source", children={"ip": OPAQUE_OFTEN, "route": OPAQUE_OFTEN}),
    "vhostuser": Shape(
        key=".source",
        must=("type", "path", "mode"),
        children={"reconnect": Shape(key=".reconnect", must=("enabled",), may=("timeout",))},
    ),
    "hostdev": Shape(
        key=".source",
        may=("missing",),
        children={"address": Shape(key=".address", must=("type",), may=("domain", "bus", "slot", "function"))},
    ),
    "vdpa": Shape(key=".source", must=("dev",)),
}
TYPES = tuple(SOURCES)

#: so many children that a sentence does not name them
_MANY = 10

#: what is written instead in texts that people copy from (mailing lists, OpenStack's wiki)
_MEANT = {
    "portprofile": "virtualport",
    "portprofie": "virtualport",
    "vportprofile": "virtualport",
    "virtualportprofile": "virtualport",
    "bridge": "source",
}


def problems(interface: _Element, kind: str) -> Iterator[Problem]:
    """What ``interface``, of type ``kind``, has that the schema does not, and what it lacks."""
    return (problem for _, problem in located(interface, _interface(kind), "$"))


def located(element: _Element, shape: Shape, path: str) -> Iterator[tuple[_Element, Problem]]:
    """What ``element`` has that ``shape`` does not, and what it lacks, each with the element that it is about."""
    if shape.opaque:
        return
    yield from ((element, problem) for problem in (*_attributes(element, shape, path), *_text(element, shape, path)))
    for child, index, inner in _children(element, shape):
        if inner is None:
            yield child, _unknown(element, _name(child), shape, path)
        elif index and not inner.many:
            yield child, Problem(path, f"expected <{_name(child)}> once in <{_name(element)}>, got it again")
        else:
            yield from located(child, inner, _path(path, inner, index))


def places(element: _Element, shape: Shape, path: str) -> Iterator[tuple[str, _Element]]:
    """The path of each element in the document, those of its children after its own."""
    yield path, element
    for child, index, inner in _children(element, shape):
        if inner is not None and not shape.opaque:
            yield from places(child, inner, _path(path, inner, index))


def _children(element: _Element, shape: Shape) -> Iterator[tuple[_Element, int, Shape | None]]:
    """Each child, its number among those of its name, and its shape if it is known."""
    seen: dict[str, int] = {}
    for child in element:
        name = _name(child)
        seen[name] = seen.get(name, -1) + 1
        yield child, seen[name], shape.children.get(name)


def _path(path: str, inner: Shape, index: int) -> str:
    return path + inner.key + (f"[{index}]" if inner.many and inner.key else "")


@functools.cache
def _interface(kind: str) -> Shape:
    """The shape of the whole element; those kept verbatim are not looked into."""
    managed = ("managed",) if kind == "hostdev" else ()
    verbatim = {name: OPAQUE_OFTEN if name in guestxml.REPEATED else OPAQUE for name in guestxml.TAGS}
    return Shape(
        may=("type", "trustGuestRxFilters", *managed), children={**verbatim, **COVERED, "source": SOURCES[kind]}
    )


def _attributes(element: _Element, shape: Shape, path: str) -> Iterator[Problem]:
    known = (*shape.must, *shape.may)
    for name in shape.must:
        if name not in element.attrib:
            yield Problem(path, f"expected attribute {name} in <{_name(element)}>, got none")
    for name in map(str, element.attrib):
        if name not in known:
            wanted = f"expected {joined(known)}" if known else "it has no attributes"
            yield Problem(path, f"attribute {name} is not known in <{_name(element)}>; {wanted}")


def _unknown(element: _Element, name: str, shape: Shape, path: str) -> Problem:
    if name in _MEANT:
        wanted = f"; expected <{_MEANT[name]}>"
    elif len(shape.children) > _MANY:
        wanted = ": libvirt has no such element"
    else:
        wanted = f"; expected {joined(f'<{child}>' for child in shape.children)}" if shape.children else ""
    return Problem(path, f"<{name}> is not known in <{_name(element)}>{wanted}")


def _text(element: _Element, shape: Shape, path: str) -> Iterator[Problem]:
    if shape.text:
        return
    text = "".join([element.text or "", *(child.tail or "" for child in element)]).strip()
    if text:
        wanted = ", expected <tag id='...'/>" if _name(element) == "vlan" else ""
        yield Problem(path, f"<{_name(element)}> holds the text {text[:40]!r}{wanted}")


def _name(element: _Element) -> str:
    return str(element.tag)
