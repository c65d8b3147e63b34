"""doc/ovn.md is true: the waits that there are, and what is said to be lacking."""

from __future__ import annotations

import inspect
import re

from tests.support.site import ROOT
from vifplug.host.ovs import ovn
from vifplug.host.ovs.settings import WAITS

PAGE = (ROOT / "doc/ovn.md").read_text()


def rows(heading: str) -> list[str]:
    """The first cells of the table under a heading."""
    [section] = re.findall(rf"^## {heading}\n(.*?)(?=^## )", PAGE, re.MULTILINE | re.DOTALL)
    return re.findall(r"^\| ([^|]*?) \|", section, re.MULTILINE)[1:]


def test_every_wait_is_described() -> None:
    assert rows("When a plug returns") == [f"`{wait}`" for wait in WAITS]


def test_what_is_lacking_is_told_in_the_pages_words_and_order() -> None:
    words = [
        "not set up for OVN",
        "OVN's bridge",
        "as well",
        "never worked on that bridge",
        "shows no sign",
        "has seen",
    ]
    source = inspect.getsource(ovn)
    assert all(each in source for each in words)
    said = ["not set up for OVN", "another bridge", "another port has the same", *words[3:]]
    assert all(each in row for each, row in zip(said, rows("What is lacking"), strict=True))
