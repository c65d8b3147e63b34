"""Two VIFs with one MAC on one network or bridge, found by the names that they have in the store. Pure.

A switch sends the frames for a MAC to the port where it last saw the MAC, so each of two such guests loses frames to
the other (IEEE 802.1Q, 8.8). It can be right: in different VLANs, or for a standby that takes the address over.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator

from vifplug.driver.records import MAC, guest_name
from vifplug.model.codec import joined
from vifplug.model.vif import VIF
from vifplug.plan.steps import Difference
from vifplug.store.store import Holding

#: so many VIFs are named, and the others are counted
_NAMED = 3


def names(vif: VIF, actual: VIF) -> tuple[str, ...]:
    """Return the names of the VIF's MAC on its named network and on its bridge; none for half of a teaming pair.

    The pair has one MAC, and libvirt requires that the transient half names the persistent one.
    """
    network = vif.source.network if vif.type == "network" else None
    bridge = getattr(actual.source, "bridge", None)
    if _is_transient(actual):
        return ()
    places = (("network", network), ("bridge", bridge))
    return tuple(f"{MAC}{actual.mac} on {kind} {name}" for kind, name in places if name)


class Neighbours:
    """Who has a VIF's MAC where the VIF is, among some holdings."""

    def __init__(self, holdings: Iterable[Holding]) -> None:
        self._by_name: dict[str, dict[str, Holding]] = {}
        for each in holdings:
            self._by_name.setdefault(each.name, {}).setdefault(each.vif_id, each)

    def warnings(self, vif_id: str, named: Iterable[str]) -> Iterator[str]:
        """Yield a sentence if other VIFs have one of the names."""
        for name, others in self._others(vif_id, named):
            yield (
                f"{name} is that of VIF {vif_id} and of {others}: frames reach only one of them; give one another MAC, "
                "or set [vifplug] duplicate_mac to allow"
            )

    def differences(self, vif_id: str, named: Iterable[str]) -> Iterator[Difference]:
        """Yield a difference if other VIFs have one of the names."""
        for name, others in self._others(vif_id, named):
            yield Difference(vif_id, name, "this VIF alone", others)

    def _others(self, vif_id: str, named: Iterable[str]) -> Iterator[tuple[str, str]]:
        """Yield the name that most other VIFs have as well, and those VIFs: a network's VIFs are on its bridge too."""
        name = max(named, key=lambda each: len(self._by_name.get(each, ())), default="")
        holdings = self._by_name.get(name, {})
        some = [each for each in itertools.islice(holdings.values(), _NAMED + 1) if each.vif_id != vif_id][:_NAMED]
        if some:
            more = len(holdings) - (vif_id in holdings) - len(some)
            yield name, joined([*map(_described, some), *([f"{more} more"] if more else [])], "and")


def _described(holding: Holding) -> str:
    guest = guest_name(holding.instance)
    return f"VIF {holding.vif_id} of guest {guest}" if guest else f"VIF {holding.vif_id}"


def _is_transient(vif: VIF) -> bool:
    return any(each.startswith("<teaming ") and "type='transient'" in each for each in vif.guest_xml)
