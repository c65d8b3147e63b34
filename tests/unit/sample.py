"""A VIF type without a mistake, for tests to put one in; and what the conformance suites say to it."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import pytest

from vifplug.errors import Problem
from vifplug.guest.interface import Interface
from vifplug.model.codec import Model
from vifplug.model.names import DeviceName
from vifplug.model.vif import VIF
from vifplug.plan.registry import BridgePort, LowerDevice, Resource
from vifplug.testing.backends import ResourceConformance
from vifplug.testing.conformance import VIFTypeConformance
from vifplug.types.base import Context, Option, VIFType
from vifplug.types.ethernet import tap, tap_interface


@dataclass(frozen=True, kw_only=True)
class SampleSource(Model):
    """A Linux bridge."""

    bridge: DeviceName


class Sample(VIFType):
    """A tap on a Linux bridge: a type without a mistake, which the others vary."""

    name = "sample"
    source = SampleSource
    tap_owner = "vifplug"
    refuses: ClassVar[Mapping[str, str]] = dict.fromkeys(
        ("tap_owner", "vlan", "virtualport", "bandwidth", "port", "vf", "external_ids"), "it has none"
    )
    options = (Option(name="hairpin", kind="bool", help="Send frames back where they came from."),)

    def interface(self, vif: VIF, context: Context) -> Interface:
        return tap_interface(vif, "vifplug")

    def desired(self, vif: VIF, context: Context) -> Iterable[Resource]:
        yield LowerDevice(name=vif.source.bridge, owner=vif.id, up=None)
        yield tap(vif, context)
        yield BridgePort(name=vif.device, owner=vif.id, bridge=vif.source.bridge)

    def problems(self, vif: VIF, context: Context) -> Iterator[Problem]:
        if vif.link_state:
            yield Problem("$.link_state", "is not for this type")


EXAMPLE = {
    "id": "0a1b2c3d-1111-4222-8333-444455556666",
    "type": "sample",
    "mac": "52:54:00:12:34:56",
    "model": "virtio",
    "source": {"bridge": "br0"},
}


def suite(kind: type[VIFType], example: Mapping[str, Any] = EXAMPLE, **refusal: Any) -> VIFTypeConformance:
    """The suite that an author would write for ``kind``."""

    class Suite(VIFTypeConformance):
        examples = (example,)
        refused = ({**EXAMPLE, **(refusal or {"link_state": "down"})},)

    Suite.kind = kind
    return Suite()


Suite = VIFTypeConformance | ResourceConformance


def failures(case: Suite) -> dict[str, str]:
    """What each test of a suite says, for those that fail."""
    names = [name for name, _ in inspect.getmembers(case, inspect.ismethod) if name.startswith("test_")]
    return {name: message for name in names if (message := failure(case, name))}


def failure(case: Suite, name: str) -> str:
    """What one test of a suite says; nothing where it passes."""
    given = {"example": "examples", "refusal": "refused", "change": "changes"}
    test = getattr(case, name)
    try:
        test(*[getattr(case, given[key])[0] for key in inspect.signature(test).parameters])
    except pytest.fail.Exception as failed:
        return str(failed)
    except pytest.skip.Exception:
        pass
    return ""
