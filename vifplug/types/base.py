"""The base class of VIF types: two pure functions, and data about the type.

vifplug derives plug, unplug, update, check, plan and rollback from ``desired``, also for third-party types.
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
from vifplug.model.nic import NOT_ISOLATED
from vifplug.model.vif import VIF, Instance
from vifplug.plan.facts import Facts, VirtualFunctionFacts
from vifplug.plan.registry import Resource

#: Version of the plugin interface (doc/plugins.md). Types and backends state the version that they are written for. A
#: plugin for another major version, or for a newer minor version, is not loaded.
API_VERSION = (1, 0)

#: the reason why a type without a virtual function refuses ``vf``
NO_VF = "only hostdev and direct in mode passthrough have a virtual function"
#: the keys that are columns of an Open vSwitch port; a type that refuses the first refuses all
COLUMNS = ("external_ids", "ofport_request", "port_options")


@dataclass(frozen=True, kw_only=True)
class Option:
    """One configuration option of a type, in its group ``[vifplug_<name>]``."""

    name: str
    #: description in the generated configuration file
    help: str
    #: ``user`` and ``group`` accept a name or a number, ``mode`` an octal string; the type gets the number
    kind: Literal["str", "int", "float", "bool", "user", "group", "mode"] = "str"
    default: Any = None
    #: the allowed values; empty: any
    choices: Sequence[Any] = ()


#: default of [vifplug] socket_dirs: Open vSwitch's (FHS 3.0: /var/run is /run), vifplug's own, and QEMU's by libvirt
SOCKET_DIRS = ("/var/run/openvswitch", "/run/openvswitch", "/run/vifplug", "/var/lib/libvirt")


@dataclass(frozen=True, kw_only=True)
class TypeSettings:
    """The configuration that all types share."""

    #: who creates the taps; None: the default of the type
    tap_owner: str | None = None
    #: uid of the user who may open a tap
    tap_user: int = 0
    #: gid of the group that may open a tap; None: no group
    tap_group: int | None = None
    #: the directories below which the sockets of vhost-user may be
    socket_dirs: tuple[str, ...] = SOCKET_DIRS
    #: create the Open vSwitch bridges that do not exist
    ensure_bridge: bool = False
    #: datapath type of Open vSwitch bridges that vifplug creates
    datapath_type: str | None = None
    #: QoS type of Open vSwitch ports whose VIF has no bandwidth
    default_qos_type: str | None = None
    #: a new Open vSwitch port is in no VLAN until an agent sets one, unless the document says otherwise
    isolate_vif: bool = False
    #: an Open vSwitch port gets a bridge of its own, unless the document says otherwise
    per_port_bridge: bool = False


class NoFacts:
    """The facts without a host. Queries that only a host can answer raise Missing."""

    def virtual_function(self, address: str) -> VirtualFunctionFacts:
        raise Missing(f"no VF {address}: no host to query", resource=f"VF {address}")

    def physical_function(self, address: str) -> tuple[str, int]:
        raise Missing(f"no VF {address}: no host to query", resource=f"VF {address}")

    def function_of(self, device: str) -> str | None:
        return None

    def look(self, name: str, key: str) -> Any:
        raise Missing(f"no {name} {key}: no host to query", resource=f"{name} {key}")


@dataclass(frozen=True, kw_only=True)
class Context:
    """The input of a type besides the VIF."""

    #: the guest of the VIF, if known
    instance: Instance | None = None
    #: the values of the type's own options, by name
    options: Mapping[str, Any] = FrozenMap()
    #: the settings that all types share
    settings: TypeSettings = TypeSettings()
    #: a read-only view of the host
    facts: Facts = NoFacts()


class VIFType(abc.ABC):
    """The base class of a VIF type. It is stateless, and its methods are pure: they do not touch the machine."""

    #: the entry point's name and the document's ``type``
    name: ClassVar[str]
    #: the class of the document's ``source``
    source: ClassVar[type[Model]]
    #: the version of the plugin interface that the type was written for
    api_version: ClassVar[tuple[int, int]] = API_VERSION
    #: the type's configuration options, in ``[vifplug_<name>]``
    options: ClassVar[Sequence[Option]] = ()
    #: keys of the document that the type does not support, each with the reason; a VIF that sets one is refused
    refuses: ClassVar[Mapping[str, str]] = {}
    #: whether the VIF has a network device of its own on the host; without one, ``target`` is None
    has_device: ClassVar[bool] = True
    #: who creates the tap if neither document nor configuration say so; None for a type without a tap
    tap_owner: ClassVar[str | None] = None

    @abc.abstractmethod
    def interface(self, vif: VIF, context: Context) -> Interface:
        """Return the guest's ``<interface>`` element.

        Args:
            vif: the VIF, with its ``source`` as an instance of the type's own class.
            context: the guest, the options and the facts of the host.

        Raises:
            Missing: something that the element names does not exist on the host.
        """

    @abc.abstractmethod
    def desired(self, vif: VIF, context: Context) -> Iterable[Resource]:
        """Return the required state of the host, in the order of creation. It is removed in reverse order.

        Args:
            vif: the VIF, with its ``source`` as an instance of the type's own class.
            context: the guest, the options and the facts of the host.

        Raises:
            Missing: something that the VIF needs does not exist on the host.
        """

    def problems(self, vif: VIF, context: Context) -> Iterator[Problem]:
        """Yield what the type does not support, in addition to ``refuses``: each problem with its path and a reason.

        vifplug reports all problems together.
        """
        return iter(())

    def owner(self, vif: VIF, context: Context) -> str | None:
        """Return who creates the tap: according to the document, else the configuration, else the type.

        Returns:
            ``vifplug``, ``libvirt``, or None for a type without a tap.
        """
        return vif.tap_owner or (self.tap_owner and (context.settings.tap_owner or self.tap_owner))

    def validate(self, vif: VIF, context: Context) -> None:
        """Refuse a VIF that the type does not support.

        Raises:
            Unsupported: with every problem.
        """
        refuses = self.refuses if self.tap_owner else {"txqueuelen": "it has no tap", **self.refuses}
        problems = [*refused(vif, self.name, refuses), *self.problems(vif, context)]
        if problems:
            raise Unsupported(problems, f"VIF {vif.id}")


def refused(vif: VIF, name: str, refuses: Mapping[str, str]) -> Iterator[Problem]:
    """Yield a problem for each key that ``vif`` sets and a type refuses.

    Args:
        vif: the VIF.
        name: the type's name.
        refuses: the keys, each with the reason.
    """
    columns = dict.fromkeys(COLUMNS, refuses[COLUMNS[0]]) if COLUMNS[0] in refuses else {}
    for key, reason in {**columns, **refuses}.items():
        if _is_set(vif, key):
            yield Problem(f"$.{key}", f'not supported by type "{name}": {reason}')


#: what a VIF must not be: a condition, and the path and message of the problem if it holds; no message is no problem
Rule = tuple[object, str, str]


def broken(*rules: Rule) -> Iterator[Problem]:
    """Yield a problem for each rule that a VIF breaks."""
    return (Problem(path, message) for condition, path, message in rules if condition and message)


def nic_problems(vif: VIF, model: str | None = None) -> Iterator[Problem]:
    """Yield what libvirt does not support in the model and driver of an emulated NIC (`vifplug.guest.capabilities`).

    Args:
        vif: the VIF.
        model: the model that it has if it names none.
    """
    yield from capabilities.model_problems(vif.model or model, vif.type)
    yield from capabilities.driver_problems(vif.driver, vif.model or model, vif.type)


def target_problems(vif: VIF, owner: str | None) -> Iterator[Problem]:
    """Yield a problem if vifplug creates the tap and the VIF has no name for it."""
    if owner == "vifplug" and vif.target is None:
        yield Problem("$.target", "expected a device name for the tap that vifplug creates, got null")


def _is_set(vif: VIF, key: str) -> bool:
    """Return whether a key requests anything; ``port.isolated`` false and the default target do not."""
    value = getattr(vif, key)
    if key == "target" and value == default_target(vif.id):
        return False
    return value not in (None, (), FrozenMap(), NOT_ISOLATED)
