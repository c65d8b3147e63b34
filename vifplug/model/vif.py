"""The VIF document, and the guest that it belongs to."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Final, Literal

from vifplug.errors import InvalidDocument, Problem
from vifplug.model.bandwidth import Bandwidth
from vifplug.model.codec import FrozenMap, Model, bounded, json_object, model
from vifplug.model.guestxml import GuestElement, refused_in_document
from vifplug.model.names import Alias, Mac, Mtu, NicModel, Uuid, Word, between, default_target, parse_device
from vifplug.model.nic import VIRTIO, Driver, FilterRef, Port, PortOptions, VfSettings
from vifplug.model.source import SOURCES
from vifplug.model.virtualport import VirtualPort
from vifplug.model.vlan import Vlan

#: value of ``target`` for "use the default name", until the id is known
DEFAULT: Final = ""

#: types whose VIF has no network device of its own on the host
_WITHOUT_DEVICE = ("vhostuser", "hostdev")

#: what says nothing, and is the same as None
_EMPTY: Mapping[str, Model] = {"driver": Driver(), "port": Port(), "port_options": PortOptions()}

#: KMALLOC_MAX_SIZE / sizeof(void *) (linux/ptr_ring.h): no guest can open a tap with a longer queue
_LONGEST_QUEUE = 2**19


def _target(name: str) -> str:
    return name if name == DEFAULT else parse_device(name)


@model
class Instance(Model):
    """The guest that a VIF belongs to.

    Raises:
        InvalidDocument: a field is invalid; the error has every problem.
    """

    #: UUID of the domain; Open vSwitch gets it as ``external_ids`` ``vm-id`` and ``vm-uuid``
    uuid: Uuid
    #: name of the domain
    name: Word | None = None
    #: OpenStack project of the guest
    project_id: Word | None = None

    @property
    def described(self) -> str:
        """The guest in sentences: its name, if it has one, and its UUID."""
        return f"guest {self.name} ({self.uuid})" if self.name else f"guest {self.uuid}"


@model
class VIF(Model):
    """A virtual interface: the NIC that the guest gets, and how the host connects it.

    A VIF is immutable and hashable; `replace` returns a changed copy. The fields are the keys of the VIF document
    (doc/vif.md) and have libvirt's names and meaning. None means "not requested", unless a field says otherwise.

    Raises:
        InvalidDocument: a field is invalid; the error has every problem, each with its path.
    """

    #: UUID of the port, lower case with dashes. It identifies the VIF in every verb.
    id: Uuid
    #: name of the VIF type: an entry point of the group ``vifplug.types``
    type: Word
    #: MAC address of the guest's NIC: unicast, lower case
    mac: Mac
    #: name of the device on the host, at most 15 bytes. Default: ``tap`` + the first 11 characters of the id. None
    #: lets libvirt choose the name.
    target: Annotated[str, _target] | None = DEFAULT
    #: who creates the tap; None: as configured, or the default of the type
    tap_owner: Literal["vifplug", "libvirt"] | None = None
    #: what the VIF is connected to: the model of its type (`vifplug.model.source`). The source of a third-party type
    #: stays a mapping until the type has been loaded.
    source: Any = FrozenMap()
    #: NIC model, such as ``virtio``; None: libvirt's default, or virtio if there is a ``driver``
    model: NicModel | None = None
    #: backend of a virtio NIC
    driver: Driver | None = None
    #: MTU of the tap, in bytes; the guest is informed of it
    mtu: Mtu | None = None
    #: frames that may wait in the tap or macvtap for the guest (IFLA_TXQLEN); with 0, all would be dropped
    txqueuelen: Annotated[int, between(1, _LONGEST_QUEUE, "frames")] | None = None
    #: VLANs of the port
    vlan: Vlan | None = None
    #: port profile; ``openvswitch`` selects an Open vSwitch bridge for type bridge
    virtualport: VirtualPort | None = None
    #: rate limits: kB/s, and KiB for bursts
    bandwidth: Bandwidth | None = None
    #: nwfilter of libvirt
    filterref: FilterRef | None = None
    #: how the bridge forwards to and from the port
    port: Port | None = None
    #: The host follows the MAC filters that the guest sets (``trustGuestRxFilters``).
    trust_guest_rx_filters: bool | None = None
    #: carrier that the guest sees
    link_state: Literal["up", "down"] | None = None
    #: position in the guest's boot order, from 1
    boot_order: Annotated[int, between(1, 2**31 - 1)] | None = None
    #: alias of the device in the guest; starts with ``ua-``
    alias: Alias | None = None
    #: settings that the physical function applies to a VF
    vf: VfSettings | None = None
    #: additional ``external_ids`` of the Open vSwitch Interface
    external_ids: FrozenMap[Word, Word] = FrozenMap()
    #: OpenFlow port number that the Open vSwitch port requests (ovs-vswitchd.conf.db(5), Interface)
    ofport_request: Annotated[int, between(1, 65279)] | None = None
    #: additional ``other_config`` of the Open vSwitch port
    port_options: PortOptions | None = None
    #: children of ``<interface>`` that do not concern the network (``<address>``, ``<rom>`` ...), kept verbatim
    guest_xml: tuple[GuestElement, ...] = ()

    def adapt(self) -> list[Problem]:
        """Convert the source to the model of the VIF's type, or to frozen plain data for a third-party type."""
        state = self.__dict__
        cls = SOURCES.get(kind) if isinstance(kind := state.get("type"), str) else None
        if cls is None:
            state["source"] = _frozen(self.source)
        elif not isinstance(self.source, cls):
            try:
                state["source"] = cls.from_data(self.source)
            except InvalidDocument as error:
                return [problem.under("$.source") for problem in error.problems]
        return []

    @property
    def device(self) -> str:
        """Name of the device on the host; the default name if libvirt chooses it."""
        return self.target or default_target(self.id)

    @property
    def queues(self) -> int:
        """Number of queue pairs; at least 1."""
        return (self.driver and self.driver.queues) or 1

    def normal(self) -> Mapping[str, Any]:
        changes: dict[str, Any] = {}
        if self.target == DEFAULT:
            changes["target"] = None if self.type in _WITHOUT_DEVICE else default_target(self.id)
        if self.virtualport and self.type != "network":  # there the network may still give the ids
            changes["virtualport"] = self.virtualport.completed(self.id)
        if self.type == "hostdev":
            changes["model"] = None  # the guest sees the function itself: nothing is emulated
        changes |= {name: None for name, empty in _EMPTY.items() if getattr(self, name) == empty}
        if self.driver and "driver" not in changes and self.model is None and self.type not in _WITHOUT_DEVICE:
            changes["model"] = VIRTIO[0]
        return changes

    def rules(self) -> Iterator[Problem]:
        from vifplug.guest import capabilities

        if self.target is None and self.tap_owner == "vifplug" and self.type not in _WITHOUT_DEVICE:
            yield Problem("$.target", "expected a device name, got null: only libvirt, as tap_owner, can choose one")
        if self.virtualport and self.type != "network":
            yield from (problem.under("$.virtualport") for problem in self.virtualport.missing())
        yield from capabilities.refused_in_document(self)

    @classmethod
    def from_json(cls, document: str | bytes | Mapping[str, Any]) -> VIF:
        """Return the VIF of a JSON document.

        Args:
            document: the JSON text, in UTF-8 if it is bytes, or the object parsed from it.

        Raises:
            InvalidDocument: the document is invalid; the error has every problem, each with its path.
        """
        if isinstance(document, Mapping):
            bounded(document, "VIF document")
        else:
            document = json_object(document, "VIF document")
        refused = refused_in_document(document.get("guest_xml"))
        try:
            vif = cls.from_data(document)
        except InvalidDocument as error:
            raise InvalidDocument([*error.problems, *refused]) from None
        if refused:
            raise InvalidDocument(refused)
        return vif

    @classmethod
    def from_xml(cls, text: str | bytes, *, id: str | None = None) -> VIF:
        """Return the VIF of a libvirt ``<interface>`` element.

        Args:
            text: the element, as in ``virsh dumpxml`` or a file for ``virsh attach-device``.
            id: UUID of the VIF; None: the ``interfaceid`` of the element's virtualport, or a UUID derived from its
                MAC (`vifplug.guest.read`).

        Raises:
            InvalidDocument: the text is not XML, or the element has something that vifplug does not support.
        """
        from vifplug.guest import read

        return read.vif(text, vif_id=id)

    def to_json(self) -> str:
        """Return the JSON document, from which `from_json` makes an equal VIF."""
        return json.dumps(self.to_data(), ensure_ascii=False)

    def to_data(self) -> dict[str, Any]:
        data = super().to_data()
        default = None if self.type in _WITHOUT_DEVICE else default_target(self.id)
        if self.target == default:
            del data["target"]
        return data


def _frozen(value: Any) -> Any:
    """Return an immutable copy of plain data, for a ``source`` whose type has not been loaded."""
    if isinstance(value, Mapping):
        return FrozenMap({key: _frozen(each) for key, each in value.items()})
    if isinstance(value, (list, tuple)):
        return tuple(_frozen(each) for each in value)
    return value
