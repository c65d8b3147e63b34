"""Whether libvirt's own RELAX NG schema accepts an element; Debian ships it in libvirt0."""

from __future__ import annotations

import functools
from typing import Any

from vifplug.testing.needs import SCHEMAS

_INTERFACE = """<grammar xmlns='http://relaxng.org/ns/structure/1.0'>
  <start><choice><ref name='interface'/><ref name='hostdev'/></choice></start>
  <include href='domaincommon.rng'/>
</grammar>"""


def installed() -> bool:
    return (SCHEMAS / "domaincommon.rng").exists()


def complaint(element: str) -> str:
    """What libvirt's schema has against ``element``; empty when it accepts it."""
    from lxml import etree

    schema = _schema()
    if schema.validate(etree.fromstring(element)):
        return ""
    return "; ".join(dict.fromkeys(error.message for error in schema.error_log))


@functools.cache
def _schema() -> Any:
    from lxml import etree

    beside = SCHEMAS / "interface.rng"  # where the grammar would be, for its include to be found
    return etree.RelaxNG(etree.fromstring(_INTERFACE, base_url=beside.as_uri()))
