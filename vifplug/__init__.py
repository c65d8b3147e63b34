"""vifplug connects virtual machines to networks: a VIF goes in, the guest's element and the host state come out.

::

    with VIFDriver() as driver:
        plugged = driver.plug(VIF.from_json(document), Instance(uuid=...))
        plugged.interface_xml

Everything here is loaded when it is first used, so ``import vifplug`` costs next to nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vifplug import errors as errors
    from vifplug.driver.report import traced as traced
    from vifplug.driver.standalone import interface_xml as interface_xml
    from vifplug.driver.verbs import VIFDriver as VIFDriver
    from vifplug.model.network import Network as Network
    from vifplug.model.vif import VIF as VIF
    from vifplug.model.vif import Instance as Instance
    from vifplug.networks.resolve import resolve as resolve

__all__ = ["VIF", "Instance", "Network", "VIFDriver", "errors", "interface_xml", "resolve", "traced"]

_HOMES = {
    "VIF": "vifplug.model.vif",
    "Instance": "vifplug.model.vif",
    "Network": "vifplug.model.network",
    "VIFDriver": "vifplug.driver.verbs",
    "interface_xml": "vifplug.driver.standalone",
    "resolve": "vifplug.networks.resolve",
    "traced": "vifplug.driver.report",
}


def __getattr__(name: str) -> Any:
    if name == "errors":
        return importlib.import_module("vifplug.errors")
    if name not in _HOMES:
        raise AttributeError(f"module 'vifplug' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return __all__
