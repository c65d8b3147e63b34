"""The real libvirt as a judge: it defines a domain with an element and prints it back.

Its library has a test driver built in, with no daemon and no guest, which parses, refuses and normalises as every
driver does; the rules that are QEMU's own only the driver for QEMU knows, which a libvirtd has.
"""

from __future__ import annotations

import ctypes
import functools
import re

from vifplug.testing import needs

_INACTIVE = 2  # VIR_DOMAIN_XML_INACTIVE

#: libvirt prints errors to stderr unless it is given a function
_quiet = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p)(lambda context, error: None)

_DOMAIN = """\
<domain type='test'>
  <name>one</name>
  <memory>1024</memory>
  <os><type>hvm</type></os>
  <devices>{element}</devices>
</domain>
"""
#: vhost-user is for domains whose memory is shared
_OF_QEMU = """\
<domain type='qemu'>
  <name>one</name>
  <memory>1024</memory>
  <memoryBacking><source type='memfd'/><access mode='shared'/></memoryBacking>
  <os><type machine='{machine}'>hvm</type></os>
  <devices>{element}</devices>
</domain>
"""


class Refused(Exception):
    """libvirt refuses the element; ``str()`` is its reason."""


class Libvirt:
    """A connection to one of libvirt's drivers. Raises MissingRequirement where its library is not installed."""

    def __init__(self, uri: str) -> None:
        self._library = _library()
        self._connection = ctypes.c_void_p(self._library.virConnectOpen(uri.encode()))
        assert self._connection, self._library.virGetLastErrorMessage()
        self._test = uri.startswith("test:")

    def printed(self, element: str, machine: str = "q35") -> str:
        """The ``<interface>`` or ``<hostdev>`` as libvirt prints it of a domain that does not run. Raises Refused.

        ``machine`` is QEMU's: it decides which PCI addresses there are.
        """
        form = _DOMAIN if self._test else _OF_QEMU
        text = form.format(element=element, machine=machine)
        domain = ctypes.c_void_p(self._library.virDomainDefineXML(self._connection, text.encode()))
        if not domain:
            raise Refused(self._library.virGetLastErrorMessage().decode())
        try:
            printed: str = self._library.virDomainGetXMLDesc(domain, _INACTIVE).decode()
        finally:
            self._library.virDomainUndefine(domain)
            self._library.virDomainFree(domain)
        found = re.search(r"^    <(interface|hostdev).*?^    </\1>", printed, re.DOTALL | re.MULTILINE)
        assert found, printed
        return "\n".join(line.removeprefix("    ") for line in found[0].splitlines())

    def close(self) -> None:
        self._library.virConnectClose(self._connection)


def canonical(interface: str) -> str:
    """The element as libvirt prints it, without the name of the tap that the test driver gives."""
    lines = _test_driver().printed(interface).splitlines()
    return "\n".join(line for line in lines if line != "  <target dev='testnet0'/>")


@functools.cache
def _test_driver() -> Libvirt:
    return Libvirt("test:///default")


@functools.cache
def _library() -> ctypes.CDLL:
    needs.require("libvirt library")
    library = ctypes.CDLL("libvirt.so.0")
    library.virConnectOpen.restype = ctypes.c_void_p
    library.virDomainDefineXML.restype = ctypes.c_void_p
    library.virDomainGetXMLDesc.restype = ctypes.c_char_p
    library.virGetLastErrorMessage.restype = ctypes.c_char_p
    library.virSetErrorFunc(None, _quiet)
    return library
