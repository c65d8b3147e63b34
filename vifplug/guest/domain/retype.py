"""Give an ``<interface>`` another type, and remove what that type does not support."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from vifplug.guest import capabilities
from vifplug.guest.domain.patch import Patch
from vifplug.guest.domain.spans import Element
from vifplug.model.codec import joined
from vifplug.model.nic import VF_DRIVERS


def unsupported(gone: Sequence[str], kind: str) -> str:
    """Return the sentence about what was removed because the type has become ``kind``."""
    return f"removed {joined(gone, 'and')}: type {kind} does not support {'it' if len(gone) == 1 else 'them'}"


def retype(patch: Patch, kind: str) -> list[str]:
    """Give an interface another type, and return what was removed because that type does not support it.

    Its ``<source>`` is the old type's as well, and stays for the caller to replace.
    """
    gone: list[str] = []
    patch.set_type(kind)
    if (managed := patch.root.attributes.get("managed")) is not None:
        patch.drop_attribute(patch.root, "managed")
        gone.append(f"managed='{managed}' of <interface>")
    children = (each for each in patch.root.children if each.tag != "source")
    leftover = [each for each in children if capabilities.is_for_others(each.tag, each.attributes, kind)]
    gone += [_start_tag(patch, each) for each in leftover]
    for each in reversed(leftover):  # from the end, so that the positions of the others stay
        patch.cut(each)
    return [*gone, *_drop_hostdev_driver(patch), *(_drop_floor(patch) if kind != "network" else ())]


def _start_tag(patch: Patch, element: Element) -> str:
    return " ".join(patch.text[element.start : element.inside].decode().split())


def _drop_hostdev_driver(patch: Patch) -> Iterator[str]:
    """Remove the driver of a hostdev: which one of the host detaches the device."""
    for name in ("name", "model"):
        driver = patch.child("driver")
        value = driver.attributes.get(name) if driver else None
        if value is not None and (name == "model" or value in VF_DRIVERS):
            patch.drop_attribute(driver, name)
            yield f"{name}='{value}' of <driver>"
    driver = patch.child("driver")
    if driver and not driver.attributes and not driver.children:
        patch.cut(driver)


def _drop_floor(patch: Patch) -> Iterator[str]:
    """Remove the guaranteed rate, which only a network has, and a limit that consisted of it."""
    if not (bandwidth := patch.child("bandwidth")):
        return
    inbound = next((each for each in bandwidth.children if each.tag == "inbound" and "floor" in each.attributes), None)
    if not inbound:
        return
    yield f"floor='{inbound.attributes['floor']}' of <inbound>"
    if "average" in inbound.attributes:
        patch.drop_attribute(inbound, "floor")
    else:
        patch.cut(inbound if len(bandwidth.children) > 1 else bandwidth)
