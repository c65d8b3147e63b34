"""The condition of the bridge that a VIF is on: what lets it be plugged, and will not work well. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Uplink:
    """A port of a bridge that leads out of it to something else than a guest."""

    name: str
    #: bytes
    mtu: int
    #: whether it is up and has a carrier
    passing: bool
    #: one end of a veth pair, which may lead to a container
    veth: bool = False
    #: whether it is a device of the kernel; on Open vSwitch it may be a tunnel, a patch or a device of DPDK
    kernel: bool = True
    #: of a patch of Open vSwitch: the port at its other end
    peer: str = ""


@dataclass(frozen=True, kw_only=True)
class Condition:
    """What the kernel reports of a bridge, or of the device below a macvtap."""

    up: bool
    carrier: bool = True
    #: its sysctl accept_ra; 0 if it ignores router advertisements for another reason
    accept_ra: int = 0
    #: of a Linux bridge
    uplinks: tuple[Uplink, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Defect:
    """One thing that is not as it should be."""

    #: the object and its setting: ``bridge br0 accept_ra``
    path: str
    expected: str
    found: str
    #: what it means, and what to do, as a sentence
    sentence: str


def defects(name: str, found: Condition, *, linux: bool) -> Iterator[Defect]:
    """Yield the defects of a bridge.

    Args:
        name: the bridge.
        found: the condition of its own device.
        linux: whether it is a Linux bridge. The device of an Open vSwitch bridge may be down, and takes no frames then.
    """
    if linux and not found.up:
        sentence = f"bridge {name} is down, and passes no frames: set it up with 'ip link set dev {name} up'"
        yield Defect(path=f"bridge {name} state", expected="up", found="down", sentence=sentence)
    yield from cut_off(name, found.uplinks)
    if found.accept_ra and (linux or found.up):
        key = f"net/ipv6/conf/{name}/accept_ra" if "." in name else f"net.ipv6.conf.{name}.accept_ra"
        message = f"bridge {name} accepts router advertisements: a guest on it can give this host addresses and routes"
        yield Defect(
            path=f"bridge {name} accept_ra",
            expected="0",
            found=str(found.accept_ra),
            sentence=f"{message}; end it with 'sysctl -w {key}=0'",
        )


def unplugged(name: str, found: Condition, owner: str) -> Iterator[Defect]:
    """Yield a defect if a device below a macvtap of VIF ``owner`` is up, and no cable is plugged in, say."""
    if found.up and not found.carrier:
        sentence = f"device {name} has no carrier, and nothing else leads out for VIF {owner}: connect it"
        yield Defect(path=f"device {name} carrier", expected="on", found="off", sentence=sentence)


def cut_off(name: str, uplinks: Sequence[Uplink]) -> Iterator[Defect]:
    """Yield a defect for each device that leads out of a bridge, if none of them passes frames."""
    # a veth pair to a container is no way out of a bridge that has a NIC
    wired = [each for each in uplinks if not each.veth] or uplinks
    for uplink in () if any(each.passing for each in wired) else wired:
        message = f"device {uplink.name} is down, and nothing else leads out of bridge {name}"
        remedy = f"connect it, and set it up with 'ip link set dev {uplink.name} up'" if uplink.kernel else "connect it"
        yield Defect(path=f"device {uplink.name} state", expected="up", found="down", sentence=f"{message}: {remedy}")


def narrow(found: Condition, mtu: int) -> Uplink | None:
    """Return the uplink through which frames of ``mtu`` bytes do not leave a Linux bridge; None if there is none."""
    narrowest = min(found.uplinks, key=lambda uplink: uplink.mtu, default=None)
    return narrowest if narrowest and narrowest.mtu < mtu else None


def too_narrow(bridge: str, mtu: int, narrowest: Uplink) -> str:
    """Return why frames of ``mtu`` bytes do not leave a Linux bridge by that uplink, and what to do."""
    message = f"a device that leads out of bridge {bridge} has {narrowest.mtu} ({narrowest.name})"
    return f"{message}: lower the VIF's mtu, or set it with 'ip link set dev {narrowest.name} mtu {mtu}'"
