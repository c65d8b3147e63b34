"""What each test needs of the machine, and what was skipped because the machine lacks it: a plugin of pytest's."""

from __future__ import annotations

import textwrap
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator

import pytest

from vifplug.testing import needs


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """``@pytest.mark.needs("root", "tcpdump")``: without them the test is skipped, before any of its fixtures."""
    needs.require(*(name for mark in item.iter_markers("needs") for name in mark.args))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """What was skipped, below what passed; what failed and pytest's closing line come after it."""
    if reports := terminalreporter.stats.get("skipped", []):
        terminalreporter.section("skipped")
        for line in summary(reports):
            terminalreporter.write_line(line)


def summary(reports: Iterable[pytest.TestReport]) -> Iterator[str]:
    """Each reason with the number of its tests, most of them first; below it the files that these are in."""
    found: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for report in reports:
        assert isinstance(report.longrepr, tuple)
        found[report.longrepr[2].removeprefix("Skipped: ")][report.nodeid.partition("::")[0]] += 1
    for reason, files in sorted(found.items(), key=lambda each: (-each[1].total(), each[0])):
        yield f"{files.total()} skipped: {reason}"
        listed = ", ".join(f"{file} ({count})" for file, count in sorted(files.items()))
        yield textwrap.fill(listed, 110, initial_indent="    ", subsequent_indent="    ", break_on_hyphens=False)
