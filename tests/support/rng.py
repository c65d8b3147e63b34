"""libvirt's own RelaxNG schema, as the judge of every element that the tests produce.

Debian and Ubuntu ship it in ``libvirt0``, Fedora in ``libvirt-libs``.
"""

from __future__ import annotations

import functools
from pathlib import Path

from lxml import etree

SCHEMAS = Path("/usr/share/libvirt/schemas")

_INTERFACE = """\
<grammar xmlns='http://relaxng.org/ns/structure/1.0'>
  <start><ref name='interface'/></start>
  <include href='domaincommon.rng'/>
</grammar>
"""


@functools.cache
def _schema() -> etree.RelaxNG:
    base = SCHEMAS / "interface-only.rng"  # a name beside the real files, for the include to be found
    return etree.RelaxNG(etree.fromstring(_INTERFACE, base_url=base.as_uri()))


def assert_valid(element: str) -> None:
    """Fails, with libvirt's reason, when ``element`` is not an ``<interface>`` of its schema."""
    schema = _schema()
    assert schema.validate(etree.fromstring(element)), f"{element}\n{schema.error_log.last_error}"
