"""Ten types with a mistake each: those that are made most. The classes can be imported, as a third party's can."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from tests.unit.sample import Sample
from vifplug.guest.interface import Interface
from vifplug.model.codec import FrozenMap, Model
from vifplug.model.vif import VIF
from vifplug.plan.registry import Resource, Tap
from vifplug.types.base import Context, VIFType
from vifplug.types.ethernet import tap


class Misnamed(Sample):
    """1: another name than the entry point's."""

    name = "simple"


class Outdated(Sample):
    """1: written for another plugin interface."""

    api_version = (9, 0)


class Half(VIFType):
    """1: a method is missing."""

    name = "sample"
    source = Sample.source

    def interface(self, vif: VIF, context: Context) -> Interface:
        return Interface.of(vif, "ethernet", None)


@dataclass(kw_only=True)
class MutableSource(Model):
    """A source that can change."""

    bridge: str = "br0"


class Mutable(Sample):
    """2: a source that is not frozen."""

    source = MutableSource


@dataclass(frozen=True, kw_only=True)
class WrongDefaultSource(Model):
    """A source whose default is of another type than its hint."""

    bridge: str = "br0"
    level: int = "many"  # type: ignore[assignment]


class WrongDefault(Sample):
    """2: a default that the source itself refuses."""

    source = WrongDefaultSource


@dataclass(frozen=True, kw_only=True)
class ListSource(Model):
    """A source with a list, which can change."""

    bridge: str = "br0"
    groups: list[str] = ()  # type: ignore[assignment]


class Listed(Sample):
    """2: a source with a field that cannot be frozen."""

    source = ListSource


class Curious(Sample):
    """3: it looks at the machine."""

    def desired(self, vif: VIF, context: Context) -> Iterable[Resource]:
        mtu = int(Path("/sys/class/net/lo/mtu").read_text())
        yield tap(vif, context).replace(mtu=mtu)


class Unsorted(Sample):
    """4: the order of a set."""

    def desired(self, vif: VIF, context: Context) -> Iterable[Resource]:
        for suffix in {"a", "b", "c", "d", "e", "f"}:
            yield Tap(name=f"{vif.id[:8]}-{suffix}", owner=vif.id)


class Clocked(Sample):
    """4: the time of day."""

    def desired(self, vif: VIF, context: Context) -> Iterable[Resource]:
        yield tap(vif, context).replace(mtu=1000 + int(time.time() / 86400) % 400)


class Counted(Sample):
    """4: a state of its own."""

    numbers: ClassVar[Any] = itertools.count()

    def desired(self, vif: VIF, context: Context) -> Iterable[Resource]:
        yield tap(vif, context).replace(name=f"acme{next(self.numbers)}")


class Ownerless(Sample):
    """5: nobody's tap."""

    def desired(self, vif: VIF, context: Context) -> Iterable[Resource]:
        yield Tap(name=vif.device)


class LongName(Sample):
    """6: a name that no device can have."""

    def desired(self, vif: VIF, context: Context) -> Iterable[Resource]:
        yield tap(vif, context).replace(name=f"acme-{vif.id[:11]}")


class OneName(Sample):
    """6: the same name for every VIF."""

    def desired(self, vif: VIF, context: Context) -> Iterable[Resource]:
        yield tap(vif, context).replace(name="acme0")


class Managed(Sample):
    """7: libvirt would delete the tap."""

    def interface(self, vif: VIF, context: Context) -> Interface:
        return Interface.of(vif, "ethernet", None, target=vif.target)


class SingleQueue(Sample):
    """7: a tap of one queue for a guest with several."""

    def desired(self, vif: VIF, context: Context) -> Iterable[Resource]:
        yield tap(vif, context).replace(multi_queue=False)


class NoElement(Sample):
    """7: an element that libvirt doesn't know."""

    def interface(self, vif: VIF, context: Context) -> Interface:
        return Interface.of(vif, "routed", None)


class Soft(Sample):
    """8: a router advertisement of the guest reaches the host."""

    def desired(self, vif: VIF, context: Context) -> Iterable[Resource]:
        yield tap(vif, context).replace(sysctls=FrozenMap({"ipv4/proxy_arp": "1"}))


class Backwards(Sample):
    """9: a port before its device."""

    def desired(self, vif: VIF, context: Context) -> Iterable[Resource]:
        return reversed(list(super().desired(vif, context)))


class Twice(Sample):
    """9: two records of one tap."""

    def desired(self, vif: VIF, context: Context) -> Iterable[Resource]:
        yield tap(vif, context)
        yield tap(vif, context).replace(mtu=1400)


@dataclass(frozen=True, kw_only=True)
class Lamp(Resource):
    """A kind of resource without a backend."""

    kind = "lamp"


class Lit(Sample):
    """9: a kind of resource that nobody looks after."""

    def desired(self, vif: VIF, context: Context) -> Iterable[Resource]:
        yield Lamp(name=vif.device, owner=vif.id)


class Deaf(Sample):
    """10: a VLAN is asked for, and there is none."""

    refuses: ClassVar[Mapping[str, str]] = {key: why for key, why in Sample.refuses.items() if key != "vlan"}


class Silent(Sample):
    """10: what the source asks for is not done."""

    @dataclass(frozen=True, kw_only=True)
    class Source(Sample.source):
        """A bridge, and a group that nobody reads."""

        group: str = ""

    source = Source
