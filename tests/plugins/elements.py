"""libvirt's schema as a judge of every element that any test has vifplug make: a plugin of pytest's.

Elements are seen in the one function that writes them, and in what a command prints; of a domain that was edited it is
known as well whether it was valid before. At the end of each test those that
are new are tried; one that the schema refuses fails the test. A test whose element is to go beyond the schema says so,
with a phrase of the complaint: ``@pytest.mark.beyond_schema("Extra element filterref", why="...")``. Where the schema
has no such complaint the test fails as well, and the mark can go.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from vifplug.guest import write
from vifplug.guest.domain import edit
from vifplug.testing import schema

_ELEMENT = re.compile(r"<(interface|hostdev)\b[^>]*>.*?</\1>", re.DOTALL)


class Judge:
    """Sees elements, and tries each once."""

    def __init__(self) -> None:
        self._new: dict[str | bytes, None] = {}
        self._good: set[str | bytes] = set()

    def see(self, element: str | bytes, *_: object) -> None:
        if element not in self._good:
            self._new[element] = None

    def see_edited(self, after: bytes, before: bytes, *_: object) -> None:
        """What was valid before it was edited is so afterwards."""
        if after not in self._good and not schema.complaint(before):
            self.see(after)

    def see_printed(self, done: subprocess.CompletedProcess[Any], *_: object) -> None:
        """What a command printed: in JSON a newline is two characters, and a table has its own lines among the text's.

        virsh prints libvirt's elements, not ours.
        """
        printed = done.stdout or ""
        if done.args[0] != "virsh":
            text = printed.decode(errors="replace") if isinstance(printed, bytes) else printed
            text = re.sub(r"^\|.*\n", "", text, flags=re.MULTILINE).replace("\\n", "\n")
            for found in _ELEMENT.finditer(text):
                self.see(found[0])

    def forget(self) -> None:
        """What was seen and not tried: of a test that failed, and of what clears up after one."""
        self._new.clear()

    def complaints(self) -> Iterator[tuple[str, str]]:
        """What the schema has against an element, and the element, for each that is new and refused."""
        for element in [*self._new]:
            if complaint := schema.complaint(element):
                yield complaint, element if isinstance(element, str) else element.decode(errors="replace")
            else:
                self._good.add(element)
        self.forget()


_JUDGE = pytest.StashKey[Judge]()


def pytest_configure(config: pytest.Config) -> None:
    """Without libvirt's schemas nothing is judged."""
    if schema.installed():
        judge = config.stash[_JUDGE] = Judge()
        write.element = _watched(write.element, judge.see)
        edit.edited = _watched(edit.edited, judge.see_edited)
        subprocess.run = _watched(subprocess.run, judge.see_printed)


def pytest_report_header() -> str:
    return f"libvirt's schemas: {schema.SCHEMAS if schema.installed() else 'not installed, so no element is judged'}"


def _watched(function: Callable[..., Any], see: Callable[..., None]) -> Any:
    """The function, whose results are seen, each with what it was made of."""

    def watched(*arguments: Any, **more: Any) -> Any:
        __tracebackhide__ = True
        result = function(*arguments, **more)
        see(result, *arguments)
        return result

    return watched


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    if judge := item.config.stash.get(_JUDGE, None):
        judge.forget()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    yield
    judge = item.config.stash.get(_JUDGE, None)
    if judge and (verdict := list(judged(item, list(judge.complaints())))):
        pytest.fail("\n".join(verdict), pytrace=False)


def judged(item: pytest.Item, complaints: list[tuple[str, str]]) -> Iterator[str]:
    """Why the test fails: complaints that it does not expect, and expected ones that did not come."""
    expected = [str(mark.args[0]) for mark in item.iter_markers("beyond_schema")]
    for complaint, element in complaints:
        if not any(phrase in complaint for phrase in expected):
            yield f"libvirt's schema refuses an element: {complaint}; it is\n{element}"
    for phrase in expected:
        if not any(phrase in complaint for complaint, _ in complaints):
            yield f"libvirt's schema has no complaint with {phrase!r}: take the mark beyond_schema away"
