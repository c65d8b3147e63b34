"""Validation by libvirt's own RELAX NG schemas, which Debian ships in libvirt0."""

from __future__ import annotations

import functools
from typing import Any

from vifplug.testing.needs import NEEDS, SCHEMAS, require

_INTERFACE = """<grammar xmlns='http://relaxng.org/ns/structure/1.0'>
  <start><choice><ref name='interface'/><ref name='hostdev'/></choice></start>
  <include href='domaincommon.rng'/>
</grammar>"""


def installed() -> bool:
    """Return whether the schemas are installed."""
    return not NEEDS["schemas"]()


@functools.lru_cache(maxsize=1024)
def complaint(document: str | bytes) -> str:
    """Validate an ``<interface>``, ``<hostdev>``, ``<domain>`` or ``<network>``.

    Returns:
        The schema's objections; empty if it accepts the document.

    Raises:
        MissingRequirement: the schemas are not installed.
    """
    from lxml import etree

    tree = etree.fromstring(document)
    schema = _schema(str(tree.tag))
    if schema.validate(tree):
        return ""
    return "; ".join(dict.fromkeys(error.message for error in schema.error_log))


@functools.cache
def _schema(tag: str) -> Any:
    from lxml import etree

    require("schemas")
    if tag in ("domain", "network"):
        return etree.RelaxNG(file=str(SCHEMAS / f"{tag}.rng"))
    beside = SCHEMAS / "interface.rng"  # where the grammar would be, for its include to be found
    return etree.RelaxNG(etree.fromstring(_INTERFACE, base_url=beside.as_uri()))
