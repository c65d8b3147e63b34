"""The devices of a network's pool on this host: which they are, and whether one can be used now."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

from vifplug.errors import Missing
from vifplug.host.names import own_name
from vifplug.host.sriov.sysfs import Sysfs
from vifplug.model.names import is_pci
from vifplug.model.network import Network
from vifplug.plan.facts import PoolDeviceFacts
from vifplug.plan.registry import Identity, LowerDevice, PciFunction, Resource, names_of
from vifplug.plan.steps import Observed
from vifplug.plan.uses import Taking, obstacles

Observe = Callable[[Iterable[Resource]], Mapping[Identity, Observed]]


def members(network: Network, sysfs: Sysfs) -> list[PoolDeviceFacts]:
    """Return the devices of a network's pool, in its order; those of a ``pf`` are its virtual functions.

    A device that the definition lists under several of its names is one device, with the smallest of their limits.
    """
    if network.pf:
        return list(_of_pf(network, own_name(network.pf), sysfs))
    if network.addresses:
        return [PoolDeviceFacts(name=each, names=names_of(sysfs.device_of(each), each)) for each in network.addresses]
    limits: dict[str, list[int]] = {}
    for listed in network.devices:
        limits.setdefault(own_name(listed.dev), []).extend([] if listed.max is None else [listed.max])
    return [
        PoolDeviceFacts(name=name, names=names_of(name, sysfs.function_of(name)), limit=min(found, default=None))
        for name, found in limits.items()
    ]


def problem(network: Network, device: str, observe: Observe, sysfs: Sysfs, *, held: bool = False) -> str:
    """Return why a device of the pool cannot be used now; empty if it can.

    The VF devices of a ``pf`` may be down, because vifplug and libvirt set them up; the PF must be up. What uses a
    device that VIFs have (``held``) is theirs.
    """
    pf = device
    if network.pf or is_pci(device):
        try:
            pf = network.pf or sysfs.virtual_function(device).pf
        except Missing as error:
            return f"cannot be used ({error})"
    if state := _state(pf, observe):
        return state if pf == device else f"cannot be used (its physical function {pf} {state})"
    return "" if held else _in_use(network, device, observe)


def _of_pf(network: Network, pf: str, sysfs: Sysfs) -> Iterator[PoolDeviceFacts]:
    functions = sysfs.functions_of(pf)
    if not functions:
        yield PoolDeviceFacts(name=pf, problem="has no virtual functions: write their number to its sriov_numvfs")
    for address, device in functions:
        name = address if network.form == "hostdev" else device
        lacking = "" if name else "has no network device: a guest or vfio uses the function"
        yield PoolDeviceFacts(name=name or address, names=names_of(device, address), problem=lacking)


def _in_use(network: Network, device: str, observe: Observe) -> str:
    """Return why something else keeps a VIF from having a device of the pool; empty if nothing does."""
    taking: Taking = "passthrough" if network.mode == "passthrough" else "macvtap"
    function = PciFunction(name=device, taking="function") if is_pci(device) else None
    desired = function or LowerDevice(name=device, taking=taking)
    seen = observe([desired]).get(desired.identity)
    found = obstacles("function" if function else taking, seen.uses) if seen else ()
    return next((obstacle.reason for obstacle in found), "")


def _state(device: str, observe: Observe) -> str:
    """Return why a network device cannot be used; empty if it can."""
    lower = LowerDevice(name=device)
    seen = observe([lower]).get(lower.identity)
    if seen is None or not isinstance(seen.resource, LowerDevice):
        return "does not exist on this host"
    return "" if seen.resource.up else "is down"
