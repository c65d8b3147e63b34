"""The laws about a type and a document: the type honours or refuses each key, and silently drops none."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from vifplug.errors import InvalidDocument
from vifplug.model.vif import VIF
from vifplug.plugins import bound
from vifplug.testing.laws import LawBroken, called, desired, interface
from vifplug.types.base import Context, VIFType

#: for each key of the document that a type may refuse, values of different meaning
SAMPLES: Mapping[str, Sequence[Any]] = {
    "target": ("tap-sample",),
    "tap_owner": ("vifplug", "libvirt"),
    "model": ("e1000",),
    "driver": ({"queues": 4}, {"name": "qemu"}),
    "mtu": (1400,),
    "txqueuelen": (700,),
    "vlan": (1011, "101u,1011-1015"),
    "virtualport": ({"type": "openvswitch", "interfaceid": "f0e1d2c3-b4a5-4697-8879-6a5b4c3d2e1f"},),
    "bandwidth": ({"inbound": {"average": 1000}}, {"outbound": {"average": 1000}}),
    "filterref": ("clean-traffic",),
    "port": ({"isolated": True}, {"hairpin": True}),
    "trust_guest_rx_filters": (True,),
    "link_state": ("down",),
    "boot_order": (1,),
    "alias": ("ua-sample",),
    "vf": ({"trust": True},),
    "external_ids": ({"sample": "sample"},),
    "ofport_request": (7,),
    "port_options": ({"port": {"sample": "sample"}}, {"interface": {"sample": "sample"}}),
    "guest_xml": (["<rom bar='off'/>"],),
}
_BESIDE: Mapping[str, Mapping[str, Any]] = {"driver": {"model": "virtio"}}  # a driver needs a virtio model


def refusals(kind: VIFType, vif: VIF, context: Context) -> Iterator[str]:
    """Check that the type refuses each key in its `refuses`, with its path, and each unknown key of its source."""
    for key in kind.refuses:
        if f"$.{key}" not in _refused(kind, _asking(vif, key, SAMPLES[key][0]), context):
            yield f"{key} is in `refuses`, but a VIF that has it is not refused: does check call super().check?"
    data = vif.to_data()
    unknown = {**data, "source": {**data.get("source", {}), "no_such_key": "x"}}
    if "$.source.no_such_key" not in _refused(kind, unknown, context):
        yield "a source with the unknown key no_such_key is not refused: let vifplug.model.codec.Model read it"


def refused(kind: VIFType, document: Mapping[str, Any], context: Context) -> Iterator[str]:
    """Check that an invalid document is refused before anything is touched, with a path for each problem."""
    try:
        problems = _refused(kind, document, context)
    except LawBroken as error:
        yield f"{error}; a refusal is a vifplug.errors.Problem, with its path, that `problems` yields"
        return
    if not problems:
        yield "the document is not refused, although it is in `refused`"


def honoured(kind: VIFType, vif: VIF, context: Context) -> Iterator[str]:
    """Check that each key of a document changes the element or the resources, or is refused."""
    for key, samples in SAMPLES.items():
        without = _asking(vif, key, None)
        if key == "txqueuelen" and not any(hasattr(each, key) for each in desired(kind, vif, context)):
            continue  # the type has no tap of vifplug's
        if key == "tap_owner":  # requesting the owner that it has anyway changes nothing
            usual = kind.owner(vif.replace(tap_owner=None), context)
            samples = [owner for owner in samples if owner != usual]
        if dropped := [each for each in samples if _dropped(kind, without, _asking(vif, key, each), context)]:
            yield (
                f"{key} = {dropped[0]!r} changes neither the element nor the resources, and is not refused: "
                "honour it, or name it in `refuses`, or in `problems` if that depends on others"
            )
    yield from _source_honoured(kind, vif, context)


def _source_honoured(kind: VIFType, vif: VIF, context: Context) -> Iterator[str]:
    """Check that each key of the example's source that is not a default has an effect."""
    data = vif.to_data()
    for name in _optional(kind, data.get("source", {})):
        without = {key: value for key, value in data["source"].items() if key != name}
        if _dropped(kind, {**data, "source": without}, data, context):
            yield f"source.{name} = {data['source'][name]!r} changes neither the element nor the resources"


def _optional(kind: VIFType, source: Mapping[str, Any]) -> list[str]:
    fields = dataclasses.fields(kind.source)  # type: ignore[arg-type]
    required = {each.name for each in fields if each.default is each.default_factory is dataclasses.MISSING}
    return [name for name in source if name not in required]


def _asking(vif: VIF, key: str, value: Any) -> dict[str, Any]:
    """Return the VIF's document with another value for ``key``; None leaves the key out."""
    data = {**vif.to_data(), **_BESIDE.get(key, {})}
    if key == "tap_owner" and data.get("target", "") is None:  # a tap that vifplug makes has a name
        del data["target"]
    return {**data, key: value} if value is not None else {name: each for name, each in data.items() if name != key}


def _dropped(kind: VIFType, without: Mapping[str, Any], with_key: Mapping[str, Any], context: Context) -> bool:
    """Return whether a type accepts both documents and gives the same answers for them."""
    if _refused(kind, without, context) or _refused(kind, with_key, context):
        return False
    one, other = (bound(VIF.from_data(each), kind) for each in (without, with_key))
    return one != other and _answer(kind, one, context) == _answer(kind, other, context)


def _answer(kind: VIFType, vif: VIF, context: Context) -> Any:
    return interface(kind, vif, context), desired(kind, vif, context)


def _refused(kind: VIFType, document: Mapping[str, Any], context: Context) -> list[str]:
    """Return the paths of a document's problems, wherever they are found; empty if it is valid. Raises LawBroken."""

    def ask() -> list[str]:
        try:
            kind.validate(bound(VIF.from_data(document), kind), context)
        except InvalidDocument as error:
            return [problem.path for problem in error.problems]
        return []

    return called("check", ask)
