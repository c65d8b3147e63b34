"""PCI functions, SR-IOV and representors, looked up in a tree such as /sys."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from vifplug import errors
from vifplug.plan.facts import VirtualFunctionFacts


@dataclass(frozen=True, kw_only=True)
class NetdevInfo:
    """A netdev as its embedded switch reports it: the switch, and the port of the switch."""

    name: str
    phys_switch_id: str = ""
    phys_port_name: str = ""


@dataclass(frozen=True, kw_only=True)
class PhysicalFunction:
    """A PCI function that can have VFs: its netdevs, how many VFs it can have, and how many it has."""

    address: str
    devices: tuple[str, ...]
    total_vfs: int
    vfs: int


#: What drivers call the port of a VF (Documentation/networking/devlink/devlink-port.rst; nfp and mlx5 before 4.19).
#: Matched as a whole: c1pf0vf5 is a VF of another host, behind a controller of the SmartNIC.
_VF_PORTS = (
    re.compile(r"pf(?P<pf>[0-9]{1,9})vf(?P<vf>[0-9]{1,9})", re.IGNORECASE),
    re.compile(r"vf(?P<vf>[0-9]{1,9})@pf(?P<pf>[0-9]{1,9})", re.IGNORECASE),
    re.compile(r"(?P<vf>[0-9]{1,9})(?P<pf>)"),
)
_VIRTFN = re.compile(r"virtfn([0-9]{1,9})")
_UPLINK_PORT = re.compile(r"p\d+", re.IGNORECASE)


def representor_of_vf(
    pf_function: int | None, vf_number: int, switch_id: str, netdevs: Iterable[NetdevInfo]
) -> str | None:
    """Return the netdev that represents a VF in the embedded switch ``switch_id``; None if there is none.

    ``pf_function`` is the PCI function number of the PF; None if unknown.

    Raises:
        Conflict: several netdevs claim to be the representor.
    """
    ports = [netdev for netdev in netdevs if switch_id and netdev.phys_switch_id == switch_id]
    found = [port.name for port in ports if _is_port_of(port.phys_port_name, pf_function, vf_number)]
    if len(found) > 1:
        raise errors.Conflict(f"VF {vf_number} in switch {switch_id}: expected one representor, got {', '.join(found)}")
    return found[0] if found else None


def uplink_of(netdevs: Iterable[NetdevInfo]) -> str | None:
    """Return a PF's own netdev among the netdevs of its PCI device, to which representors belong as well.

    It is the one whose port is called p0, p1, ...; else the first that belongs to a switch.
    """
    switched = [netdev for netdev in netdevs if netdev.phys_switch_id]
    uplinks = [netdev.name for netdev in switched if _UPLINK_PORT.fullmatch(netdev.phys_port_name)]
    return next(iter(uplinks + [netdev.name for netdev in switched]), None)


def _is_port_of(port_name: str, pf_function: int | None, vf_number: int) -> bool:
    for form in _VF_PORTS:
        if match := form.fullmatch(port_name):
            same_pf = pf_function is None or not match["pf"] or int(match["pf"]) == pf_function
            return same_pf and int(match["vf"]) == vf_number
    return False


class Sysfs:
    """Look-ups in the tree at ``root``. Each call reads again.

    /sys/class/net shows the links of the network namespace in which this /sys was mounted.
    """

    def __init__(self, root: str | Path = "/sys") -> None:
        self._pci = Path(root) / "bus/pci/devices"
        self._net = Path(root) / "class/net"

    def virtual_function(self, address: str) -> VirtualFunctionFacts:
        """Return the VF at a PCI address. Raises Missing if it does not exist, or if its PF has no netdev."""
        with errors.about(resource=f"VF {address}"):
            device, physical = self._pci / address, self._physical(address)
            pf = self._pf_device(physical, address)
            number = _number_of(physical, device.resolve())
        return VirtualFunctionFacts(
            address=address,
            pf=pf,
            number=number,
            device=next(iter(_netdevs(device)), None),
            representor=self._representor(physical, pf, number),
        )

    def physical_function(self, address: str) -> tuple[str, int]:
        """Return the PCI address of a VF's PF, and the VF's number. Raises Missing if the VF does not exist."""
        with errors.about(resource=f"VF {address}"):
            physical = self._physical(address)
            return physical.name, _number_of(physical, (self._pci / address).resolve())

    def function_of(self, device: str) -> str | None:
        """Return the PCI address of the VF that a netdev belongs to; None if it is not a VF's."""
        pci = self._net / device / "device"
        return pci.resolve().name if (pci / "physfn").exists() else None

    def functions_of(self, device: str) -> list[tuple[str, str | None]]:
        """Return the address and netdev of each VF, in order of number, of the PF with this netdev."""
        functions = [function for _, function in _functions(self._net / device / "device")]
        return [(function.name, next(iter(_netdevs(function)), None)) for function in functions]

    def device_of(self, address: str) -> str | None:
        """Return the netdev of the PCI function at an address; None if there is none."""
        return next(iter(_netdevs(self._pci / address)), None)

    def devices_of(self, address: str) -> list[str]:
        """Return the netdevs of the PCI function at an address."""
        return _netdevs(self._pci / address)

    def pci_class(self, address: str) -> str:
        """Return the class of a PCI function, such as ``0x020000``; empty if it is not known."""
        return _text(self._pci / address / "class")

    def has(self, address: str) -> bool:
        """Return whether a PCI device exists at an address."""
        return (self._pci / address).exists()

    def physical_functions(self) -> list[PhysicalFunction]:
        """Return every PCI function that can have VFs, sorted by address."""
        return [
            PhysicalFunction(
                address=address,
                devices=tuple(_netdevs(self._pci / address)),
                total_vfs=_count(self._pci / address / "sriov_totalvfs"),
                vfs=_count(self._pci / address / "sriov_numvfs"),
            )
            for address in names_in(self._pci)
            if (self._pci / address / "sriov_totalvfs").exists()
        ]

    def netdev(self, name: str) -> NetdevInfo:
        """Return what the embedded switch, if any, reports of a netdev."""
        found = {attribute: _text(self._net / name / attribute) for attribute in ("phys_switch_id", "phys_port_name")}
        return NetdevInfo(name=name, **found)

    def _physical(self, address: str) -> Path:
        device = self._pci / address
        if not device.exists():
            raise errors.Missing(f"VF {address}: no PCI device exists at that address")
        if not (device / "physfn").exists():
            raise errors.Missing(f"VF {address}: expected a virtual function, got another PCI device")
        return (device / "physfn").resolve()

    def _pf_device(self, physical: Path, address: str) -> str:
        names = _netdevs(physical)
        if not names:
            raise errors.Missing(
                f"VF {address}: expected a netdev of its physical function {physical.name}, got none; its settings are "
                "made through that netdev, so bind the function to its network driver"
            )
        return uplink_of(map(self.netdev, names)) or names[0]

    def _representor(self, physical: Path, pf: str, number: int) -> str | None:
        """Return a VF's representor. The PF's own netdevs come first, as most drivers put representors there."""
        switch = self.netdev(pf).phys_switch_id
        if not switch:
            return None
        function = int(physical.name.rpartition(".")[2], 16)
        for names in (_netdevs(physical), names_in(self._net)):
            if found := representor_of_vf(function, number, switch, map(self.netdev, names)):
                return found
        return None


def _netdevs(device: Path) -> list[str]:
    return names_in(device / "net")


def names_in(directory: Path) -> list[str]:
    """Return the names in a directory, sorted; none if it does not exist, or its device is removed meanwhile."""
    try:
        return sorted(os.listdir(directory))
    except OSError:
        return []


def _functions(physical: Path) -> list[tuple[int, Path]]:
    """Return the number and the directory of each VF, in order of number."""
    found = [(int(match[1]), name) for name in names_in(physical) if (match := _VIRTFN.fullmatch(name))]
    return [(number, (physical / name).resolve()) for number, name in sorted(found)]


def _number_of(physical: Path, device: Path) -> int:
    for number, function in _functions(physical):
        if function == device:
            return number
    raise errors.Missing(f"VF {device.name}: not among the VFs of {physical.name}")


def _text(path: Path) -> str:
    """Return the content of an attribute; empty if it does not exist or the driver does not report it (EOPNOTSUPP)."""
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return ""


def _count(path: Path) -> int:
    text = _text(path)
    return int(text) if re.fullmatch(r"[0-9]{1,9}", text) else 0
