"""Ctrl-C and SIGTERM at any moment of a verb: what was begun is done or rolled back, and the command says which."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.support.devices import mac
from vifplug import VIF, errors
from vifplug.testing import macvtaps
from vifplug.testing.host import PrivateHost

pytestmark = [pytest.mark.needs("root", "namespaces", "tun"), pytest.mark.xdist_group("interrupts")]

ID = "00000001-6a1b-4c2d-9e3f-7a8b9c0d1e2f"
DOCUMENT = {"id": ID, "mac": "52:54:00:12:00:01", "type": "direct", "tap_owner": "vifplug"}
FORMS = {
    mode: VIF.from_json(DOCUMENT | {"source": {"dev": "eno1", "mode": mode}}) for mode in ("passthrough", "private")
}
TAP = "tap00000001-6a"


@pytest.fixture(scope="module")
def host() -> Iterator[PrivateHost]:
    with macvtaps.claimed() as first, macvtaps.claimed(), PrivateHost() as made:
        macvtaps.skip(made.namespace, first)
        made.ip("link", "add", "eno1", "type", "veth", "peer", "name", "wire")
        for name in ("eno1", "wire"):
            made.ip("link", "set", name, "up")
        yield made


class Moments:
    """Counts the writes of the record and the steps, before and after each, and does something at one of them."""

    def __init__(self, host: PrivateHost, patch: pytest.MonkeyPatch) -> None:
        self.count, self.at, self.does = 0, 0, lambda: signal.raise_signal(signal.SIGINT)
        driver = host.driver
        for owner, name in ((driver._store, "put"), (driver._store, "restore"), (driver._host, "apply")):
            patch.setattr(owner, name, self._around(getattr(owner, name)))

    def _around(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*words: Any, **named: Any) -> Any:
            self._pass()
            found = call(*words, **named)
            self._pass()
            return found

        return counted

    def _pass(self) -> None:
        self.count += 1
        if self.count == self.at:
            self.does()

    def set(self, at: int) -> None:
        self.count, self.at = 0, at


def state(host: PrivateHost) -> tuple[Any, ...]:
    """What is recorded, whether it holds, and the device's MAC."""
    listed = host.driver.list()
    return (
        [(each.state, each.vif) for each in listed],
        list(map(str, host.driver.check())),
        TAP in host.links(),
        mac(host, "eno1"),
    )


VERBS: dict[str, tuple[VIF | None, Callable[[PrivateHost], object]]] = {
    "plug": (None, lambda host: host.driver.plug(FORMS["passthrough"])),
    "update": (FORMS["passthrough"], lambda host: host.driver.update(FORMS["private"])),
    "back": (FORMS["private"], lambda host: host.driver.update(FORMS["passthrough"])),
    "unplug": (FORMS["passthrough"], lambda host: host.driver.unplug(ID)),
}


@pytest.mark.parametrize("verb", VERBS)
def test_an_interrupt_at_any_moment_leaves_it_done_or_as_it_was(
    host: PrivateHost, monkeypatch: pytest.MonkeyPatch, verb: str
) -> None:
    before, work = VERBS[verb]
    moments = Moments(host, monkeypatch)

    def begin(at: int) -> None:
        moments.set(0)
        host.driver.unplug(ID)
        if before:
            host.driver.plug(before)
        moments.set(at)

    begin(0)
    old = state(host)
    work(host)
    new, last = state(host), moments.count
    assert last >= 6 and old != new
    for at in range(1, last + 1):
        begin(at)
        with pytest.raises(KeyboardInterrupt) as caught:
            work(host)
        notes = getattr(caught.value, "__notes__", [])
        assert (state(host), notes) in ((old, []), (new, ["what was begun is done"])), (at, notes)
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    moments.set(0)
    host.driver.unplug(ID)
    assert TAP not in host.links() and host.driver.list() == []


def test_a_second_interrupt_leaves_the_intent_to_recover(host: PrivateHost, monkeypatch: pytest.MonkeyPatch) -> None:
    host.driver.plug(FORMS["passthrough"])
    old = state(host)
    with monkeypatch.context() as patch:
        moments = Moments(host, patch)
        moments.does = lambda: [signal.raise_signal(signal.SIGINT) for _ in range(2)] and None
        moments.set(6)
        with pytest.raises(KeyboardInterrupt) as caught:
            host.driver.update(FORMS["private"])
    assert caught.value.__notes__ == [f"not finished: {ID}: run `vifplug recover`"]
    assert host.driver.show(ID).state == "updating"
    assert [each.error for each in host.driver.recover()] == [None]
    host.driver.update(FORMS["passthrough"])
    assert state(host) == old
    host.driver.unplug(ID)


def test_an_update_to_another_mode_is_undone(host: PrivateHost, monkeypatch: pytest.MonkeyPatch) -> None:
    """A macvtap of mode passthrough has the MAC of its device, which must have it before."""

    def full() -> None:
        raise errors.StoreFailed("no space")

    for first, second in (("passthrough", "private"), ("private", "passthrough")):
        host.driver.plug(FORMS[first])
        old = state(host)
        with monkeypatch.context() as patch:
            moments = Moments(host, patch)
            moments.does = full
            moments.set(7)
            with pytest.raises(errors.StoreFailed):
                host.driver.update(FORMS[second])
        assert state(host) == old
        host.driver.unplug(ID)


#: the command, with a signal that comes when a record of a state has been written
COMMAND = """
import signal, sys
from vifplug.cli.main import main
from vifplug.store.store import Store
number, state, put = int(sys.argv.pop(1)), sys.argv.pop(1), Store.put
def interrupted(self, records):
    records = list(records)
    put(self, records)
    if [each.state for each in records] == [state]:
        signal.raise_signal(number)
Store.put = interrupted
sys.exit(main())
"""


@pytest.mark.parametrize(
    ("number", "when", "code", "said"),
    [
        (signal.SIGINT, "plugging", 130, "vifplug: interrupted\n"),
        (signal.SIGTERM, "plugging", 143, ""),
        (signal.SIGINT, "plugged", 130, "vifplug: interrupted; what was begun is done\n"),
        (signal.SIGTERM, "plugged", 143, "vifplug: interrupted; what was begun is done\n"),
    ],
)
def test_the_command_says_what_became_of_what_it_had_begun(
    host: PrivateHost, number: int, when: str, code: int, said: str
) -> None:
    document = host.directory / "vif.json"
    document.write_text(FORMS["private"].to_json())
    words = [
        sys.executable,
        "-c",
        COMMAND,
        str(int(number)),
        when,
        "--config-file",
        str(host.config),
        "plug",
        str(document),
    ]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    waits = (
        "WARNING: interrupted: waiting until what was begun is done or undone; interrupt again to leave it as it is\n"
    )
    assert (done.returncode, done.stderr) == (code, f"vifplug: {waits}{said}")
    assert [each.state for each in host.driver.list()] == (["plugged"] if when == "plugged" else [])
    host.driver.unplug(ID)
