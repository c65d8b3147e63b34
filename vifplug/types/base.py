"""What a VIF type is: two pure functions, and data about itself.

plug, unplug, update, check, plan and rollback all follow from ``desired``, for a third party's type as for ours.
"""

from __future__ import annotations

import abc
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from vifplug.errors import Missing, Problem, Unsupported
from vifplug.guest import capabilities
from vifplug.guest.interface import Interface
from vifplug.model.codec import FrozenMap, Model
from vifplug.model.names import default_target
from vifplug.model.nic import Port
from vifplug.model.vif import VIF, Instance
from vifplug.plan.facts import Facts, VirtualFunctionFacts
from vifplug.plan.registry import Resource

#: The version of the plugin interface (doc/plugins.md). Types and backends state the one that they were written for:
#: one for another major version, or for a newer minor one, is not loaded.
API_VERSION = (1, 0)


@dataclass(frozen=True, kw_only=True)
class Option:
    """One configuration option of a type, in its group ``[vifplug_<name>]``.

    ``user`` and ``group`` take a name or a number and ``mode`` an octal text; the type gets the number.
    """

    name: str
    help: str
    kind: Literal["str", "int", "float", "bool", "user", "group", "mode"] = "str"
    default: Any = None
    choices: Sequence[Any] = ()


@dataclass(frozen=True, kw_only=True)
class TypeSettings:
    """What the configuration says to every type. ``tap_owner`` of None leaves it to the type's own default.

    ``isolate_vif`` and ``per_port_bridge`` are for ports on Open vSwitch whose document does not say.
    """

    tap_owner: str | None = None
    tap_user: int = 0
    tap_group: int | None = None
    datapath_type: str | None = None
    default_qos_type: str | None = None
    isolate_vif: bool = False
    per_port_bridge: bool = False


class NoFacts:
    """The facts where there is no host: whoever asks is told so."""

    def virtual_function(self, address: str) -> VirtualFunctionFacts:
        raise Missing(f"no VF {address}: no host was given to look on")

    def physical_function(self, address: str) -> tuple[str, int]:
        raise Missing(f"no VF {address}: no host was given to look on")

    def function_of(self, device: str) -> str | None:
        return None

    def look(self, name: str, key: str) -> Any:
        raise Missing(f"no {name} {key}: no host was given to look on")


@dataclass(frozen=True, kw_only=True)
class Context:
    """What surrounds a VIF: its guest, the type's own options, the common settings, and the host's facts."""

    instance: Instance | None = None
    options: Mapping[str, Any] = FrozenMap()
    settings: TypeSettings = TypeSettings()
    facts: Facts = NoFacts()


class VIFType(abc.ABC):
    """One consolidated VIF type. Stateless; its methods are pure and never see the machine."""

    #: the entry point's name and the document's ``type``
    name: ClassVar[str]
    #: the record of the document's ``source``
    source: ClassVar[type[Model]]
    api_version: ClassVar[tuple[int, int]] = API_VERSION
    options: ClassVar[Sequence[Option]] = ()
    #: keys of the document that this type can't honour, and why; a VIF that has one is refused
    refuses: ClassVar[Mapping[str, str]] = {}
    #: whether the VIF has a network device of its own on the host; without one, ``target`` is None
    has_device: ClassVar[bool] = True
    #: who makes the tap where neither document nor configuration say; None where there is no tap
    tap_owner: ClassVar[str | None] = None

    @abc.abstractmethod
    def interface(self, vif: VIF, context: Context) -> Interface:
        """The guest's ``<interface>`` element."""

    @abc.abstractmethod
    def desired(self, vif: VIF, context: Context) -> Iterable[Resource]:
        """What must hold on the host, in the order in which it is made; taken back in reverse."""

    def problems(self, vif: VIF, context: Context) -> Iterator[Problem]:
        """What this type can't honour of ``vif`` beyond ``refuses``."""
        return iter(())

    def owner(self, vif: VIF, context: Context) -> str | None:
        """Who makes the tap: the document's word, else the configuration's, else the type's default."""
        return vif.tap_owner or (self.tap_owner and (context.settings.tap_owner or self.tap_owner))

    def validate(self, vif: VIF, context: Context) -> None:
        """Raises Unsupported with everything that this type can't honour of ``vif``."""
        problems = [*refused(vif, self.name, self.refuses), *self.problems(vif, context)]
        if problems:
            raise Unsupported(problems, f"VIF {vif.id}")


def refused(vif: VIF, name: str, refuses: Mapping[str, str]) -> Iterator[Problem]:
    """The keys of ``vif`` that the type ``name`` refuses, for the reasons given."""
    for key, reason in refuses.items():
        if _asked(vif, key):
            yield Problem(f"$.{key}", f"can't be honoured by type {name}: {reason}")


NO_VF = "only hostdev and direct in mode passthrough have a virtual function"


def nic_problems(vif: VIF) -> Iterator[Problem]:
    """Yield what no emulated NIC takes of a VIF's model and driver (`vifplug.guest.capabilities`)."""
    yield from capabilities.model_problems(vif.model, vif.type)
    yield from capabilities.driver_problems(vif.driver, vif.model, vif.type)


def target_problems(vif: VIF, owner: str | None) -> Iterator[Problem]:
    """A tap that vifplug makes needs a name."""
    if owner == "vifplug" and vif.target is None:
        yield Problem("$.target", "expected a device name for the tap that vifplug makes, got null")


def _asked(vif: VIF, key: str) -> bool:
    """Whether a key asks for something; ``<port isolated='no'/>`` and the default target ask for what is so anyway."""
    value = getattr(vif, key)
    if key == "target" and value == default_target(vif.id):
        return False
    return value not in (None, (), FrozenMap(), Port(isolated=False))
