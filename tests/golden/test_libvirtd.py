"""Every expected element of the repository in a real libvirtd with QEMU's driver: defined, and printed back.

The law: for every path in our element libvirt's has the same value, and what libvirt's has more is in a short list.
"""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from lxml import etree

from tests.golden import test_cases, test_networks, test_neutron
from tests.support.libvirt import Libvirt, Refused
from tests.support.places import ROOT, libvirt_cache
from vifplug import VIF, interface_xml
from vifplug.guest import read
from vifplug.guest.domain.change import InterfaceEdit
from vifplug.guest.domain.edit import edited
from vifplug.testing import schema
from vifplug.testing.host import PrivateHost
from vifplug.testing.libvirt import LibvirtHost

pytestmark = pytest.mark.xdist_group("golden libvirtd")

#: what libvirt adds to an element, and why
ADDED = {
    r"/(interface|hostdev)/address.*": "where the guest's PCI bus has the NIC",
    r"/interface/model.*": "the NIC that QEMU's driver takes where none is named",
}
#: what else it does to single elements: what it adds or leaves out, and why
CHANGED = {
    "cases/virtualport-untyped": (
        r"/interface/virtualport/parameters@(instanceid|interfaceid)",
        "it makes up both ids",
    ),
}
#: a name of its own making is left out: libvirt gives the next one
VNET = re.compile(r"<target dev='vnet\d+'/>")
#: 9.0 writes what cannot be read again
UNREADABLE = {"cases/virtualport-escaped": "profileid without escapes"}
#: elements with an address that the modern machine has not
MACHINE = {"cases/guest-xml": "pc"}


def documented() -> Iterator[tuple[str, str]]:
    """The elements of the pages."""
    for page in [ROOT / "README.md", *sorted((ROOT / "doc").glob("*.md"))]:
        found = re.findall(r"^```xml\n(<(?:interface|hostdev)\b.*?)\n```$", page.read_text(), re.DOTALL | re.MULTILINE)
        yield from ((f"{page.name}/{number}", element) for number, element in enumerate(found))


def elements() -> Iterator[tuple[str, str]]:
    """Every expected element, by name; that of a VIF on a network is the one of its actual VIF."""
    for kind, cases in (("cases", test_cases.PLUGGED), ("neutron", test_neutron.PLUGGED)):
        yield from ((f"{kind}/{case.name}", (case / "interface.xml").read_text()) for case in cases)
    for case in test_networks.RESOLVED:
        yield f"networks/{case.name}", interface_xml(VIF.from_json((case / "actual.json").read_text()))
    yield from documented()


ELEMENTS = dict(elements())


@pytest.fixture(scope="module")
def libvirt(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Libvirt]:
    with (
        PrivateHost(vifplug_ovs={"ensure_bridge": True}) as host,
        LibvirtHost(host, cache=libvirt_cache(tmp_path_factory)) as libvirtd,
    ):
        connection = Libvirt(libvirtd.uri)
        yield connection
        connection.close()


def paths(element: etree._Element, above: str = "") -> Iterator[tuple[str, str]]:
    """Every text and attribute with its path; children of one name are numbered from the second on."""
    yield above + f"/{element.tag}", (element.text or "").strip()
    for name, value in element.attrib.items():
        yield f"{above}/{element.tag}@{name}", str(value)
    before: Counter[object] = Counter()
    for child in element:
        number = before[child.tag]
        before[child.tag] += 1
        yield from paths(child, f"{above}/{element.tag}" + (f"/{number}" if number else ""))


@pytest.mark.parametrize("name", [name for name in ELEMENTS if name not in UNREADABLE])
def test_libvirtd_keeps_what_the_element_says(libvirt: Libvirt, name: str) -> None:
    printed = libvirt.printed(ELEMENTS[name], MACHINE.get(name, "q35"))
    ours = dict(paths(etree.fromstring(VNET.sub("", ELEMENTS[name]))))
    theirs = dict(paths(etree.fromstring(printed)))
    assert {path: theirs.get(path) for path in ours} == ours, printed
    changed, _ = CHANGED.get(name, ("", ""))
    more = {path for path in theirs.keys() - ours.keys() if not any(re.fullmatch(added, path) for added in ADDED)}
    assert all(changed and re.fullmatch(changed, path) for path in more) and bool(more) == bool(changed), printed
    assert schema.complaint(printed) == ""
    assert libvirt.printed(printed, MACHINE.get(name, "q35")) == printed


@pytest.mark.parametrize("name", UNREADABLE)
def test_what_libvirtd_can_not_print_is_still_so(libvirt: Libvirt, name: str) -> None:
    with pytest.raises(etree.XMLSyntaxError):
        etree.fromstring(libvirt.printed(ELEMENTS[name]))


@pytest.mark.parametrize("name", MACHINE)
def test_an_address_that_one_machine_has_not_is_refused_for_it(libvirt: Libvirt, name: str) -> None:
    with pytest.raises(Refused, match="Invalid PCI address"):
        libvirt.printed(ELEMENTS[name])


# -- edits --------------------------------------------------------------------------------------------------------

MAC = "52:54:00:00:00:01"
#: what libvirt defines on each type, and another type may not have
OF_TYPE = {
    "user": "<source dev='eth0'/><ip address='172.17.2.0' prefix='24'/><route address='10.0.0.0' prefix='8' gateway="
    "'172.17.2.1'/><portForward proto='tcp'><range start='22' to='2022'/></portForward><backend type='passt' "
    "logFile='/x'/><script path='/s'/>",
    "internal": "<source name='i'/><downscript path='/d'/>",
    "udp": "<source address='127.0.0.1' port='7'><local address='127.0.0.1' port='8'/></source>",
    "mcast": "<source address='230.0.0.1' port='7'/><tune><sndbuf>9</sndbuf></tune>",
    "client": "<source address='127.0.0.1' port='7'/><backend logFile='/x'/>",
    "server": "<source port='7'/><vlan><tag id='4'/></vlan>",
    "null": "<rom bar='off'/>",
    "vdpa": "<source dev='/dev/vhost-vdpa-0'/><model type='virtio'/><driver rx_queue_size='1024'/>",
    "ethernet": "<source><ip address='10.0.0.1' prefix='24'/></source><script path='/s'/>"
    "<target dev='t0' managed='no'/>",
    "vhostuser": "<source type='unix' path='/s' mode='client'><reconnect enabled='yes' timeout='9'/></source>"
    "<model type='virtio'/><driver queues='4'/><mtu size='1400'/>",
    "direct": "<source dev='eno1' mode='passthrough'/><vlan><tag id='4'/></vlan><model type='e1000'/>",
    "hostdev": "<source><address type='pci' bus='3' slot='16'/></source><driver name='vfio'/><model type='virtio'/>"
    "<teaming type='transient' persistent='ua-x'/>",
    "network": "<source network='n' portgroup='p'/><bandwidth><inbound floor='7'/></bandwidth><port isolated='no'/>",
}
EDITS = (
    {"bridge": "br0"},
    {"bridge": "br0", "virtualport": "openvswitch", "vlan": "101u,1011-1012"},
    {"network": "red", "portgroup": "p", "vlan": 5},
)


@pytest.mark.parametrize("change", EDITS, ids=lambda change: "-".join(change))
@pytest.mark.parametrize("kind", OF_TYPE)
def test_libvirtd_keeps_what_any_edit_of_any_type_comes_to(libvirt: Libvirt, kind: str, change: dict[str, Any]) -> None:
    managed = " managed='yes'" if kind == "hostdev" else ""
    before = f"<interface type='{kind}'{managed}><mac address='{MAC}'/>{OF_TYPE[kind]}</interface>"
    if kind != "user":  # Debian's libvirt 9.0 reads passt's elements and then refuses the backend
        libvirt.printed(before, "pc")
    after = edited(before.encode(), MAC, InterfaceEdit.from_data(change)).decode()
    assert schema.complaint(after) == ""
    ours, theirs = read.interface(after), read.interface(libvirt.printed(after, "pc"))
    chosen = {name: getattr(theirs, name) for name in ("model", "virtualport") if name not in change}
    extra = (each for each in theirs.extra if not each.startswith("<address"))
    port = (
        ours.virtualport and theirs.virtualport and ours.virtualport.replace(interfaceid=theirs.virtualport.interfaceid)
    )
    assert theirs.replace(extra=tuple(extra)) == ours.replace(**chosen, **({"virtualport": port} if port else {}))


def test_no_expected_element_is_left_out() -> None:
    here = Path(__file__).parent
    files = {f"{file.parent.parent.name}/{file.parent.name}" for file in here.glob("*/*/interface.xml")}
    assert files < set(ELEMENTS)
    assert {"README.md/0", "vif.md/0", "neutron.md/0"} <= set(ELEMENTS) and len(ELEMENTS) > 150
    assert set(itertools.chain(CHANGED, UNREADABLE, MACHINE)) <= set(ELEMENTS)
    assert any(VNET.search(element) for element in ELEMENTS.values())
