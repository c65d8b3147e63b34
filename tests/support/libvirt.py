"""The real libvirt as a judge, through the test driver that its library has built in: no daemon, no guest.

It defines a domain and prints it back, so it parses, refuses and normalises as every driver does; the rules that are
QEMU's own it does not know.
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
  <devices>{}</devices>
</domain>
"""


class Refused(Exception):
    """libvirt refuses the element; ``str()`` is its reason."""


def canonical(interface: str) -> str:
    """The element as libvirt prints it, without the name of the tap that the test driver gives."""
    library, connection = _connection()
    domain = library.virDomainDefineXML(connection, _DOMAIN.format(interface).encode())
    if not domain:
        raise Refused(library.virGetLastErrorMessage().decode())
    try:
        printed: str = library.virDomainGetXMLDesc(ctypes.c_void_p(domain), _INACTIVE).decode()
    finally:
        library.virDomainUndefine(ctypes.c_void_p(domain))
        library.virDomainFree(ctypes.c_void_p(domain))
    found = re.search(r"^    <interface.*?^    </interface>", printed, re.DOTALL | re.MULTILINE)
    assert found, printed
    lines = (line.removeprefix("    ") for line in found[0].splitlines())
    return "\n".join(line for line in lines if line != "  <target dev='testnet0'/>")


@functools.cache
def _connection() -> tuple[ctypes.CDLL, ctypes.c_void_p]:
    needs.require("libvirt library")
    library = ctypes.CDLL("libvirt.so.0")
    library.virConnectOpen.restype = ctypes.c_void_p
    library.virDomainDefineXML.restype = ctypes.c_void_p
    library.virDomainGetXMLDesc.restype = ctypes.c_char_p
    library.virGetLastErrorMessage.restype = ctypes.c_char_p
    library.virSetErrorFunc(None, _quiet)
    connection = library.virConnectOpen(b"test:///default")
    assert connection, library.virGetLastErrorMessage()
    return library, ctypes.c_void_p(connection)
