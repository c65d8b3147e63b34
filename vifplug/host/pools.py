"""The devices of a network's pool, as they are on this host."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

from vifplug.errors import Missing
from vifplug.host.sysfs import Sysfs
from vifplug.model.network import Network
from vifplug.plan.facts import Member
from vifplug.plan.resources import Identity, LowerDevice, names_of
from vifplug.plan.steps import Observed

Observe = Callable[[Iterable[LowerDevice]], Mapping[Identity, Observed]]

GONE = "is not on this host"


def members(network: Network, observe: Observe, sysfs: Sysfs) -> list[Member]:
    """The devices of the network's pool, in its order; those that can't be used each with a reason."""
    if network.pf:
        return list(_of_pf(network, network.pf, observe, sysfs))
    if network.addresses:
        return list(_addressed(network.addresses, observe, sysfs))
    names = [member.dev for member in network.devices]
    states = _states(names, observe)
    return [Member(name=name, names=names_of(name, sysfs.function_of(name)), problem=states[name]) for name in names]


def _of_pf(network: Network, pf: str, observe: Observe, sysfs: Sysfs) -> Iterator[Member]:
    """The VFs of a PF. Their own devices may be down, which vifplug and libvirt mend; the PF has to be up."""
    problem = _states([pf], observe)[pf]
    functions = sysfs.functions_of(pf)
    if problem or not functions:
        yield Member(name=pf, problem=problem or "has no virtual functions: write their number to its sriov_numvfs")
        return
    for address, device in functions:
        names = names_of(device, address)
        if network.form == "hostdev":
            yield Member(name=address, names=names)
        else:
            lacking = "" if device else "has no network device: a guest or vfio has the function"
            yield Member(name=device or address, names=names, problem=lacking)


def _addressed(addresses: Iterable[str], observe: Observe, sysfs: Sysfs) -> Iterator[Member]:
    for address in addresses:
        try:
            function = sysfs.virtual_function(address)
        except Missing as error:
            yield Member(name=address, names=names_of(None, address), problem=f"can't be used ({error})")
            continue
        state = _states([function.pf], observe)[function.pf]
        problem = f"can't be used (its physical function {function.pf} {state})" if state else ""
        yield Member(name=address, names=names_of(function.device, address), problem=problem)


def _states(names: Iterable[str], observe: Observe) -> dict[str, str]:
    """Why each device can't be used; empty where it can."""
    asked = [LowerDevice(name=name) for name in names]
    seen = observe(asked)
    return {each.name: _state(seen.get(each.identity)) for each in asked}


def _state(seen: Observed | None) -> str:
    if seen is None or not isinstance(seen.resource, LowerDevice):
        return GONE
    return "" if seen.resource.up else "is down"
