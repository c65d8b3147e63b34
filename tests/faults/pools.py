"""What the tests of device pools share: definitions and VIFs, and processes that are killed at a given moment."""

from __future__ import annotations

import os
import pickle
import signal
import sqlite3
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tests.support.memory import Home
from vifplug import VIF, VIFDriver, errors
from vifplug.host.host import Host
from vifplug.plan.registry import Macvtap
from vifplug.plan.steps import Step
from vifplug.testing.memory import MemoryBackend

QBH = {"type": "802.1Qbh", "profileid": "finance"}


def vif_id(number: int) -> str:
    """Ids that differ where the names of devices are taken from them."""
    return f"{number:08x}-6a1b-4c2d-9e3f-7a8b9c0d1e2f"


def definition(name: str, mode: str, members: Sequence[tuple[str, int | None]], groups: Sequence[str] = ()) -> str:
    if mode == "switched":
        inner = "<forward mode='bridge'/><bridge name='br0'/>"
    else:
        listed = (f"<interface dev='{dev}'" + (f" max='{most}'" if most else "") + "/>" for dev, most in members)
        inner = f"<forward mode='{mode}'>{''.join(listed)}</forward>"
    special = "<virtualport type='802.1Qbh'><parameters profileid='finance'/></virtualport>"
    listed = (f"<portgroup name='{group}'>{special if group == 'special' else ''}</portgroup>" for group in groups)
    return f"<network><name>{name}</name>{inner}{''.join(listed)}</network>"


def network_vif(id: str, network: str, *, qbh: bool = False, ours: bool = False) -> VIF:
    document: dict[str, Any] = {"id": id, "mac": f"52:54:00:00:{id[4:6]}:{id[6:8]}", "type": "network"}
    document |= {"source": {"network": network}} | ({"virtualport": QBH} if qbh else {})
    return VIF.from_json(document | ({"tap_owner": "vifplug"} if ours else {}))


class SharedMemory(MemoryBackend):
    """One that outlives a process that is killed: a child leaves it in a file after each step, its parent takes it."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.file, self.process = file, os.getpid()

    def _write(self, step: Step) -> None:
        super()._write(step)
        if os.getpid() != self.process:
            self.file.write_bytes(pickle.dumps(self._there))

    def take_over(self) -> None:
        if self.file.exists():
            self._there = pickle.loads(self.file.read_bytes())
            self.file.unlink()

    def forget(self, dev: str) -> None:
        """A device goes, and with it the macvtaps on it."""
        gone = [key for key, seen in self.there.items() if getattr(seen.resource, "lower", None) == dev]
        for identity in [("lower-device", dev), *gone]:
            self._there.pop(identity, None)

    def macvtaps(self) -> list[Macvtap]:
        return [seen.resource for seen in self.there.values() if isinstance(seen.resource, Macvtap)]


def killed_at(moment: int, home: Home, work: Callable[[VIFDriver], object]) -> str:
    """How a process that does ``work`` ends: ``killed``, or by itself as ``done`` or with the name of an error.

    It kills itself at the ``moment``-th of: each statement that writes the record, and each step, before and after.
    """
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        os.write(writing, _victim(moment, home, work).encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as answer:
        message = answer.read()
    _, status = os.waitpid(child, 0)
    return "killed" if os.WIFSIGNALED(status) else message


def _victim(moment: int, home: Home, work: Callable[[VIFDriver], object]) -> str:
    left = moment

    def tick() -> None:
        nonlocal left
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        left -= 1

    def connect(*arguments: Any, **keys: Any) -> sqlite3.Connection:
        made = whole_connect(*arguments, **keys)
        made.set_trace_callback(lambda sql: None if sql.startswith(("SELECT", "PRAGMA")) else tick())
        return made

    def apply(self: Host, steps: Sequence[Step], done: list[Step], progress: Any = None) -> None:
        for step in steps:
            tick()
            whole_apply(self, [step], done, progress)
            tick()

    whole_connect, whole_apply = sqlite3.connect, Host.apply
    sqlite3.connect, Host.apply = connect, apply  # type: ignore[assignment,method-assign]
    try:
        work(home.driver())
    except errors.VifplugError as error:
        return type(error).__name__
    except BaseException:  # noqa: BLE001 (told to the parent, which knows none by that name)
        return traceback.format_exc()
    return "done"
