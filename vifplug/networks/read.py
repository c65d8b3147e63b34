"""Reads a libvirt ``<network>``: every problem of it at once, each with the line that it is on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from vifplug.errors import InvalidDocument, Problem
from vifplug.guest import parts, xml
from vifplug.guest.schema import COVERED, OPAQUE, OPAQUE_OFTEN, PCI, Shape, located, places
from vifplug.model.codec import described, joined, shortened
from vifplug.model.network import Network

if TYPE_CHECKING:
    from lxml.etree import _Element

#: forward modes whose bridge, addresses, DHCP and firewall are libvirt's own work (None: no <forward>, isolated)
LIBVIRTS_OWN = ("nat", "route", "open", None)

_INSTEAD = (
    "whose bridge, addresses and DHCP libvirt runs itself: leave its guests to libvirt, or name a bridge that the host "
    "has, with <forward mode='bridge'/> and <bridge name='...'/>"
)

#: what <forward> says in its attributes, or by its children together
_OF_FORWARD = ("mode", "managed", "devices", "addresses", "pf", "driver")

#: attributes of <bridge> that are for a bridge which libvirt makes
_OF_LIBVIRTS_BRIDGE = ("zone", "stp", "delay")


# -- what libvirt has in <network> (network.rng, 9.0 to 12.5); ``max`` of <interface> is vifplug's own --------------

#: what a running network's dump adds
_STATUS = ("connections",)

_PORTGROUP = Shape(
    key=".portgroups",
    may=("name", "default", "trustGuestRxFilters"),
    children={name: COVERED[name] for name in ("vlan", "virtualport", "bandwidth")},
    many=True,
)

_FORWARD = Shape(
    may=("mode", "dev", "managed"),
    refused={"nat": "is for forward mode nat: remove it"},
    children={
        "interface": Shape(key=".devices", must=("dev",), may=("max",), status=_STATUS, many=True),
        "address": replace(PCI, key=".addresses", status=(*PCI.status, *_STATUS), many=True),
        "pf": Shape(key=".pf", must=("dev",)),
        "driver": Shape(key=".driver", may=("name", "model")),
    },
)

#: elements that say nothing of how a VIF is connected
_REMARKS = ("title", "description", "metadata")

#: what a network has that libvirt runs itself, and why it has no place in one that the host has made
_REFUSED = {
    "ip": "gives the bridge an address",
    "route": "gives the bridge a route",
    "dns": "starts a name server on the bridge",
    "domain": "starts a name server on the bridge",
    "mac": "gives the bridge an address",
    "{http://libvirt.org/schemas/network/dnsmasq/1.0}options": "configures the name server of the bridge",
}

SHAPE = Shape(
    may=("trustGuestRxFilters", "ipv6"),
    status=_STATUS,
    children={
        "name": Shape(key=".name", text=True),
        "uuid": Shape(key=".uuid", text=True),
        **dict.fromkeys(_REMARKS, OPAQUE),
        "forward": _FORWARD,
        "bridge": Shape(key=".bridge", may=("name", "zone", "stp", "delay", "macTableManager")),
        **{name: COVERED[name] for name in ("mtu", "virtualport", "vlan", "bandwidth", "port")},
        "portgroup": _PORTGROUP,
        **dict.fromkeys(_REFUSED, OPAQUE_OFTEN),
    },
)


def network(text: str | bytes | _Element) -> Network:
    """Return the network that the element defines.

    Raises:
        InvalidDocument: with every problem; their paths begin with ``line N``.
    """
    return _Reader(xml.parse(text, "network")).network()


def name(text: str | bytes) -> str | None:
    """Return the name in a definition, even if the definition is invalid; None if it has no name."""
    try:
        return _text(xml.parse(text, "network").find("name"))
    except InvalidDocument:
        return None


class _Reader:
    """One element being read: plain data, and the problems so far with their lines."""

    def __init__(self, root: _Element) -> None:
        self._root = root
        self._lines: dict[str, int] = {}
        for path, element in places(root, SHAPE, "$"):
            self._lines.setdefault(path, _line(element))
        forward = root.find("forward")
        for key in _OF_FORWARD:
            self._lines.setdefault(f"$.{key}", _line(root if forward is None else forward))
        self._problems: list[tuple[int, Problem]] = []
        #: paths at which the model will miss what an element lacks: it is a problem already
        self._absent: set[str] = set()

    def network(self) -> Network:
        forward = self._forward()
        for finding in located(self._root, SHAPE, "$"):
            self._problems.append((_line(finding.element), finding.problem))
            self._absent |= set(finding.absent)
        data = self._data(forward)
        try:
            made = Network.from_data(data)
        except InvalidDocument as error:
            new = [problem for problem in error.problems if problem.path not in self._absent]
            self._problems += [(self._line_of(problem.path), problem) for problem in new]
        if self._problems:
            raise InvalidDocument(
                self._describe(), f"network {shortened(data['name'])}" if data.get("name") else "network"
            )
        return made

    def _describe(self) -> Iterator[Problem]:
        """Return every problem once, by line."""
        for line, problem in dict.fromkeys(sorted(self._problems, key=lambda each: each[0])):
            yield Problem(f"line {line}" + (f": {problem.path}" if problem.path != "$" else ""), problem.message)

    def _forward(self) -> _Element:
        """Return ``<forward>``. Raises InvalidDocument for a network that libvirt runs itself."""
        forward = self._root.find("forward")
        mode = None if forward is None else forward.get("mode", "nat")
        if forward is None or mode in LIBVIRTS_OWN:
            what = f"forward mode {mode}" if mode else "no <forward>: an isolated network"
            line = _line(self._root if forward is None else forward)
            subject = f"network {shortened(_text(self._root.find('name')) or 'without a name')}"
            raise InvalidDocument([Problem(f"line {line}: $.mode", f"got {what}, {_INSTEAD}")], subject)
        return forward

    # -- from elements to plain data ------------------------------------------------------------------------------

    def _data(self, forward: _Element) -> dict[str, Any]:
        self._refuse_parts(forward)
        port = self._root.find("port")
        isolated = None if port is None else parts.yes(port, "isolated", "$.port.isolated", self._wrong)
        groups = enumerate(self._root.findall("portgroup"))
        return parts.given(
            name=_text(self._root.find("name")),
            uuid=_text(self._root.find("uuid")),
            mode=forward.get("mode"),
            devices=self._devices(forward) or None,
            addresses=list(self._addresses(forward)) or None,
            managed=parts.yes(forward, "managed", "$.managed", self._wrong),
            pf=self._pf(forward),
            driver=parts.attribute(forward, "driver", "name"),
            driver_model=parts.attribute(forward, "driver", "model"),
            **self._common(),
            bridge=parts.attribute(self._root, "bridge", "name"),
            mtu=parts.number(parts.attribute(self._root, "mtu", "size")),
            port=None if isolated is None else {"isolated": isolated},
            portgroups=[self._portgroup(group, f"$.portgroups[{index}]") for index, group in groups],
        )

    def _devices(self, forward: _Element) -> list[dict[str, Any]]:
        devices = [
            parts.given(dev=each.get("dev"), max=parts.number(each.get("max"))) for each in forward.findall("interface")
        ]
        first = forward.get("dev")
        if first and devices and devices[0].get("dev") != first:
            name, got = shortened(first), shortened(devices[0].get("dev") or "no device")
            self._wrong("$.devices[0]", f"expected {name}, as in <forward dev='{name}'>, got {got}")
        return devices or ([{"dev": first}] if first else [])

    def _pf(self, forward: _Element) -> str | None:
        """Return the physical function whose VFs are the pool.

        Beside a list, libvirt does not look at it (networkCreateInterfacePool): `virsh net-dumpxml` of a running
        network lists the VFs after the ``<pf>`` that they are of.
        """
        pf = parts.attribute(forward, "pf", "dev")
        if all(forward.find(name) is None for name in ("interface", "address")):
            return pf
        if pf and forward.get("dev"):
            self._wrong("$.pf", "libvirt does not take <pf> beside dev of <forward>: remove one of them")
        return None

    def _addresses(self, forward: _Element) -> Iterator[str]:
        for index, address in enumerate(forward.findall("address")):
            path = f"$.addresses[{index}]"
            if address.get("type", "pci") != "pci":
                self._wrong(path, f"expected type='pci' in <address>, got {described(address.get('type'))}")
            elif found := parts.pci(address, path, self._wrong):
                yield found

    def _common(self) -> dict[str, Any]:
        found = parts.common(self._root, "$", self._wrong)
        if found.pop("bandwidth", None):
            message = "of a whole network shapes its bridge, which belongs to the host: set it on portgroups or VIFs"
            self._wrong("$.bandwidth", message)
        return found

    def _portgroup(self, group: _Element, path: str) -> dict[str, Any]:
        """libvirt takes any word but ``yes``, in any case, for no default."""
        default = (group.get("default") or "").lower() == "yes" or None
        return parts.given(name=group.get("name"), default=default, **parts.common(group, path, self._wrong))

    def _refuse_parts(self, forward: _Element) -> None:
        bridge = self._root.find("bridge")
        for child in self._root:
            if why := _REFUSED.get(str(child.tag)):
                tag = str(child.tag).rpartition("}")[2]
                message = f"<{tag}> {why}, which belongs to the host: remove it"
                if bridge is None:
                    message = (
                        f"libvirt has no <{tag}> with forward mode {shortened(forward.get('mode') or 'nat')}: remove it"
                    )
                self._problems.append((_line(child), Problem("$", message)))
        if bridge is not None:
            if given := [each for each in _OF_LIBVIRTS_BRIDGE if bridge.get(each) is not None]:
                self._wrong(
                    "$.bridge", f"{joined(given, 'and')} would change the bridge, which belongs to the host: remove it"
                )
            if bridge.get("macTableManager", "kernel") != "kernel":
                found = described(bridge.get("macTableManager"))
                self._wrong(
                    "$.bridge", f"expected macTableManager='kernel', the only one that vifplug supports, got {found}"
                )

    # -- problems -------------------------------------------------------------------------------------------------

    def _wrong(self, path: str, message: str) -> None:
        self._problems.append((self._line_of(path), Problem(path, message)))

    def _line_of(self, path: str) -> int:
        """Return the line of the innermost element on a path."""
        while path not in self._lines:
            path = _around(path)
        return self._lines[path]


def _around(path: str) -> str:
    """Return the path of the parent."""
    return path[: max(path.rfind("."), path.rfind("["), 1)]


def _line(element: _Element) -> int:
    return element.sourceline or 1


def _text(element: _Element | None) -> str | None:
    return None if element is None else (element.text or "").strip()
