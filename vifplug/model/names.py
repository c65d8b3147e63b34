"""Names and numbers, each with its normal form and its rule.

Each ``parse_*`` returns the normal form of its argument, or raises ValueError with a sentence (``expected X, got Y``).
The annotated types apply these functions to the fields of models.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Mapping
from typing import Annotated

from vifplug.model.codec import described

IFNAME_BYTES = 15  # IFNAMSIZ - 1: linux/if.h
SOCKET_PATH_BYTES = 107  # sizeof(sun_path) - 1: unix(7)
MTU_MIN, MTU_MAX = 68, 65535  # RFC 791 section 3.1; ETH_MAX_MTU: linux/if_ether.h
PROFILE_ID_BYTES = 39  # LIBVIRT_IFLA_VF_PORT_PROFILE_MAX - 1
#: the Open vSwitch bridge of networks that name none, as OpenStack and OVN call it
DEFAULT_BRIDGE = "br-int"

_PLAIN_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_UUID = re.compile(r"[0-9a-f]{2}(-?[0-9a-f]{2}){15}")
_MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")
#: names that the kernel refuses, and the directories of /proc/sys/net/*/conf that are not devices
_NO_DEVICES = (".", "..")
_DEVICE = re.compile(r"[A-Za-z0-9_.\-+@]+")
_PCI = re.compile(r"(?:([0-9a-f]{4,8}):)?([0-9a-f]{2}):([01][0-9a-f])\.([0-7])")
_C_NUMBER = re.compile(r"0x[0-9a-f]{1,8}|0[0-7]{0,11}|[1-9][0-9]{0,9}", re.IGNORECASE)


def matching(pattern: str, expected: str) -> Callable[[str], str]:
    """Return a check for strings that match ``pattern`` as a whole; ``expected`` describes them in the error."""
    compiled = re.compile(pattern)

    def check(text: str) -> str:
        if not compiled.fullmatch(text):
            raise ValueError(f"expected {expected}, got {described(text)}")
        return text

    return check


def parse_mac(text: str) -> str:
    """Return a unicast MAC address in lower case: ``52:54:00:12:34:56`` (IEEE 802: bit 0 of the first byte is 0)."""
    mac = text.lower()
    if not _MAC.fullmatch(mac):
        raise ValueError(f"expected a MAC address such as 52:54:00:12:34:56, got {described(text)}")
    if int(mac[:2], 16) & 1:
        raise ValueError(f"expected a unicast MAC address, got the multicast address {mac}")
    if mac == "00:00:00:00:00:00":
        raise ValueError("expected a MAC address, got all zeros")
    return mac


def parse_uuid(text: str) -> str:
    """Return a UUID in lower case with dashes, which are optional in the argument (as libvirt's virUUIDParse)."""
    if _PLAIN_UUID.fullmatch(text):
        return text
    digits = text.lower().replace("-", "")
    if not _UUID.fullmatch(text.lower()):
        raise ValueError(f"expected a UUID of 32 hexadecimal digits, dashes optional, got {described(text)}")
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def parse_device(text: str) -> str:
    """Return the name of a network device: 1 to 15 bytes (linux/net/core/dev.c, dev_valid_name), and ASCII only."""
    if text in ("all", "default"):
        raise ValueError(f"expected a device name, got {described(text)}, which stands for all devices in sysctl")
    if not _DEVICE.fullmatch(text) or text in _NO_DEVICES:
        raise ValueError(f"expected a device name of letters, digits and _ . - + @, got {described(text)}")
    if (size := len(text)) > IFNAME_BYTES:
        raise ValueError(f"expected a device name of at most {IFNAME_BYTES} bytes, got {described(text)} of {size}")
    return text


def parse_pci(text: str) -> str:
    """Return a PCI address, ``0000:81:02.3`` (domain:bus:slot.function); the default domain is 0000."""
    match = _PCI.fullmatch(text.lower())
    if not match:
        raise ValueError(f"expected a PCI address such as 0000:81:02.3, got {described(text)}")
    domain, bus, slot, function = match.groups()
    return f"{int(domain or '0', 16):04x}:{bus}:{slot}.{function}"


def is_pci(name: str) -> bool:
    """Return whether a name is a PCI address in its normal form; the name of a network device has no colon."""
    return ":" in name


def parse_socket_path(text: str) -> str:
    """Return the absolute, normalised path of a UNIX socket: printable, at most 107 bytes (unix(7)).

    Sockets are identified by their paths, so a path must have only one spelling.
    """
    if not text.startswith("/") or not text.isprintable():
        raise ValueError(f"expected an absolute path, got {described(text)}")
    if text != posixpath.normpath(text) or text.startswith("//") or not posixpath.basename(text):
        raise ValueError(
            f"expected the path of a file, without '//', '.', '..' or a '/' at the end, got {described(text)}"
        )
    if (size := len(text.encode())) > SOCKET_PATH_BYTES:
        raise ValueError(f"expected a socket path of at most {SOCKET_PATH_BYTES} bytes, got one of {size}")
    return text


def parse_profile_id(text: str) -> str:
    """Return the name of a port profile: printable, 1 to 39 bytes (libvirt: virNetDevVPortProfile)."""
    if not text.isprintable() or not 1 <= len(text.encode()) <= PROFILE_ID_BYTES:
        raise ValueError(
            f"expected a profileid of 1 to {PROFILE_ID_BYTES} bytes of printable text, got {described(text)}"
        )
    return text


def parse_word(text: str) -> str:
    """Return a name for an XML attribute or a database column: printable, 1 to 255 bytes."""
    if not text.isprintable() or not 1 <= len(text.encode()) <= 255:
        raise ValueError(f"expected 1 to 255 bytes of printable text, got {described(text)}")
    return text


def parse_c_number(text: str) -> int:
    """Return a number in C's notation (``11``, ``0x0b``, ``013``), as libvirt parses it with base 0."""
    if not _C_NUMBER.fullmatch(text):
        raise ValueError(f"expected an integer, got {described(text)}")
    return int(text, 8 if text.startswith("0") and text.isdigit() else 0)


#: largest numbers of a PCI address in XML (libvirt's domaincommon.rng; PCI-SIG: 8, 5 and 3 bits)
_PCI_LIMITS = {"domain": 0xFFFFFFFF, "bus": 0xFF, "slot": 0x1F, "function": 7}


def parse_pci_attributes(attributes: Mapping[str, str]) -> str:
    """Return the PCI address in the attributes of ``<address>``, numbers in C's notation; a missing one is 0."""
    values: list[int] = []
    for name, limit in _PCI_LIMITS.items():
        text = attributes.get(name, "0")
        if not _C_NUMBER.fullmatch(text) or (value := parse_c_number(text)) > limit:
            raise ValueError(f"expected {name} of 0 to {limit:#x} in <address>, got {described(text)}")
        values.append(value)
    return "{:04x}:{:02x}:{:02x}.{:x}".format(*values)


def between(low: int, high: int, unit: str = "") -> Callable[[int], int]:
    """Return a check for numbers from ``low`` to ``high``, both included; ``unit`` is for the error."""

    def check(number: int) -> int:
        if not low <= number <= high:
            raise ValueError(f"{described(number)} is not {low}..{high}{unit and ' ' + unit}")
        return number

    return check


#: a device alias chosen by the user: libvirt drops an alias without ``ua-`` (device_conf.c)
parse_alias = matching(r"ua-[A-Za-z0-9_\-]+", "an alias of ua- and letters, digits, _ or -")
#: a NIC model (libvirt's schema)
parse_model = matching(r"[A-Za-z0-9\-_]{1,64}", "a NIC model such as virtio or e1000")

Mac = Annotated[str, parse_mac]
#: a hardware address as a device may have it: of up to 32 bytes (MAX_ADDR_LEN: linux/netdevice.h), or none
AnyMac = Annotated[str, matching(r"([0-9a-f]{2}(:[0-9a-f]{2}){0,31})?", "a MAC address")]
Uuid = Annotated[str, parse_uuid]
DeviceName = Annotated[str, parse_device]
#: a sysctl of a network device, ``family/key`` below /proc/sys/net
SysctlKey = Annotated[str, matching(r"[a-z0-9]+/[a-z0-9_]+", "a device's sysctl such as ipv6/disable_ipv6")]
PciAddress = Annotated[str, parse_pci]
SocketPath = Annotated[str, parse_socket_path]
Word = Annotated[str, parse_word]
NicModel = Annotated[str, parse_model]
Alias = Annotated[str, parse_alias]
Mtu = Annotated[int, between(MTU_MIN, MTU_MAX, "bytes")]


def default_target(vif_id: str) -> str:
    """Return the default name of the host device: ``tap`` + the first 11 characters of the id, as Neutron's agents do.

    Of a UUID of version 7 they are a clock (RFC 9562, section 5.7), the same for all ids of a minute: the last 11.
    """
    return "tap" + short_id(vif_id)


def short_id(vif_id: str) -> str:
    """Return the 11 characters of an id that the names of its devices end with: see `default_target`."""
    return vif_id[-11:] if vif_id[14:15] == "7" else vif_id[:11]


def host_mac(guest_mac: str) -> str:
    """Return the MAC of the host's end of a tap: the guest's with the first byte fe, or fa if the guest's has fe.

    A Linux bridge takes the lowest MAC of its ports as its own, so this one is high (libvirt:
    virNetDevTapCreateInBridgePort).
    """
    return ("fa" if guest_mac.startswith("fe") else "fe") + guest_mac[2:]
