"""The power goes under the record: reliability/results/power.json.

A process that plugs, changes and unplugs a VIF is followed: what it writes to the directory of the record, and when. A
disk has what was flushed, and any part of what was not, in any order. After a power cut at any moment the record must
be sound, have all that verbs have said, and have the intent of whatever was done on the host.

reliability/power.py                                    # all types, eight disks at each moment
reliability/power.py --subject hybrid --disks 100 --seed 7   # one type; nothing is written
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))

from reliability.matrix import DOCUMENTS, site, subject
from reliability.page import write
from vifplug import errors
from vifplug.store.store import Record, Store
from vifplug.testing import tracing
from vifplug.testing.faults import Effect, Watch
from vifplug.testing.host import PrivateHost
from vifplug.testing.tracing import Call

#: bytes that a disk writes whole or not at all
_SECTOR = 512
#: what is not read after a boot: SQLite's memory that processes share, and what is given up on a full disk
_UNREAD = ("vifplug.db-shm", "vifplug.reserve")
_DIRECTORY, _SAID = "state", "said"
#: what is read from a disk; and a sentence if it is not sound
_Found = tuple[Record | str, ...]
#: a chance for each change that was not flushed: 0 or 1, or in between one for each sector
_Chance = Callable[[], float]


@dataclass(frozen=True)
class Change:
    """Of a directory: a name got a file, by its number, or lost it. Or of a file: bytes at a place, or its length."""

    name: str
    file: int | None
    place: int = 0
    data: bytes | None = None
    #: whether it is one of the directory
    entry: bool = False


class Disk:
    """A directory on a disk: what was flushed, and what was written since."""

    def __init__(self) -> None:
        self._files: list[bytes] = []
        self._names: dict[str, int | None] = {}
        self._now: dict[str, int | None] = {}
        self._pending: list[Change] = []

    def make(self, name: str) -> None:
        """Make an empty file, or the directory, unless there is one."""
        if self._now.get(name) is None:
            self._files.append(b"")
            self._enter(name, len(self._files) - 1)

    def remove(self, name: str) -> None:
        """Remove a file."""
        self._enter(name, None)

    def write(self, name: str, place: int, data: bytes | None) -> None:
        """Write to a file; without data, set its length."""
        self._pending.append(Change(name, self._now[name], place, data))

    def flush(self, name: str) -> None:
        """Flush a file; or the names in the directory, or the directory itself: ``/``."""
        flushed = [each for each in self._pending if self._goes(each, name)]
        self._pending = [each for each in self._pending if each not in flushed]
        for each in flushed:
            _apply(each, self._files, self._names, 1)

    def _goes(self, change: Change, name: str) -> bool:
        if change.entry:
            return name == ("/" if change.name == _DIRECTORY else _DIRECTORY)
        return change.file == self._now.get(name)

    def after_a_cut(self, chance: _Chance, dice: random.Random) -> Mapping[str, bytes]:
        """Return what a disk may have, by name."""
        files, names = list(self._files), dict(self._names)
        for each in self._pending:
            _apply(each, files, names, chance(), dice)
        found = {name: files[number] for name, number in names.items() if number is not None}
        return found if found.pop(_DIRECTORY, None) is not None else {}

    def _enter(self, name: str, file: int | None) -> None:
        self._now[name] = file
        self._pending.append(Change(name, file, entry=True))


def _apply(
    change: Change, files: list[bytes], names: dict[str, int | None], chance: float, dice: random.Random | None = None
) -> None:
    if change.entry or change.data is None:
        if chance < 1 and not (dice and dice.random() < chance):
            return
        if change.entry:
            names[change.name] = change.file
        elif change.file is not None:
            files[change.file] = files[change.file][: change.place].ljust(change.place, b"\0")
        return
    assert change.file is not None
    for start in range(0, len(change.data), _SECTOR):
        if chance == 1 or (dice and dice.random() < chance):
            place, part, content = change.place + start, change.data[start : start + _SECTOR], files[change.file]
            files[change.file] = content[:place].ljust(place, b"\0") + part + content[place + len(part) :]


class Tape(Watch):
    """Follows a process: what it does to the directory of the record, and what else it does.

    Args:
        look: called at each of them, with the disk; and the effect that is about to be, if it is one outside.
    """

    def __init__(self, look: Callable[[Disk, Effect | None], None]) -> None:
        super().__init__(None)
        self._look, self._disk = look, Disk()

    def __call__(self, call: Call) -> Callable[[Call], None] | None:
        """See `vifplug.testing.tracing.trace`."""
        known = len(self.effects)
        after = super().__call__(call)
        for effect in self.effects[known:]:
            self._follow(call, effect)
        return after

    def _follow(self, call: Call, effect: Effect) -> None:
        if effect.on in _UNREAD:
            return
        if effect.on == _DIRECTORY or effect.on.startswith("vifplug."):
            self._write(call, effect)
            self._look(self._disk, None)
        elif effect.call in ("fsync", "fdatasync"):
            self._disk.flush("/")
        else:
            self._look(self._disk, effect)

    def _write(self, call: Call, effect: Effect) -> None:
        disk, name, (_, second, third, fourth, *_) = self._disk, effect.on, call.arguments
        match effect.call:
            case "mkdir" | "openat":
                disk.make(name)
            case "unlink":
                disk.remove(name)
            case "fsync" | "fdatasync":
                disk.flush(name)
            case "pwrite64":
                disk.write(name, fourth, call.read(second, third))
            case "ftruncate":
                disk.write(name, second, None)
            case "fchmod" | "fchown" | "chmod":
                pass
            case other:
                raise AssertionError(f"{other} of {name} is not known")


class Proof:
    """What disks have, at each moment.

    Args:
        dice: decides what is on a disk.
        disks: how many are tried at each moment, besides the one with nothing that was not flushed.
    """

    def __init__(self, dice: random.Random, disks: int) -> None:
        self.moments = self.cuts = self.survived = 0
        self.problems: list[str] = []
        self.said: list[str] = []
        self._dice, self._disks = dice, disks
        self._read: dict[tuple[tuple[str, bytes], ...], _Found] = {}
        self._known: list[_Found] = []

    def look(self, disk: Disk, effect: Effect | None) -> None:
        """Cut the power."""
        self.moments += 1
        now = self._after(disk, lambda: 1)
        if now not in self._known:
            self._known.append(now)
        sure = self._after(disk, lambda: 0)
        wrong = "" if sure in self._known else f"there was never {_short(sure)}"
        if effect:
            wrong = wrong or self._unsaid(effect, sure, now)
        self._count(wrong, effect)
        for _ in range(self._disks):
            found = self._after(disk, lambda: self._dice.choice((0, 1, self._dice.random())))
            self._count(
                "" if found in (sure, now) else f"{_short(found)}, neither {_short(sure)} nor {_short(now)}", effect
            )

    def _unsaid(self, effect: Effect, sure: _Found, now: _Found) -> str:
        """Return what is wrong with the record, given what is about to be done or said."""
        if effect.on.startswith(_SAID):
            self.said.append(effect.on)
        if sure != now:
            return f"{_short(sure)} is flushed, of {_short(now)}"
        if not effect.on.startswith(_SAID):
            return "" if set(_short(sure)) - {"plugged"} else "there is no intent"
        expected = [] if effect.on.endswith("unplug") else ["plugged"]
        return "" if _short(sure) == expected else f"{_short(sure)}, and it has been said"

    def _count(self, wrong: str, effect: Effect | None) -> None:
        self.cuts, self.survived = self.cuts + 1, self.survived + (not wrong)
        if wrong:
            self.problems.append(f"moment {self.moments}, before {effect}: {wrong}")

    def _after(self, disk: Disk, chance: _Chance) -> _Found:
        image = disk.after_a_cut(chance, self._dice)
        key = tuple(sorted(image.items()))
        if key not in self._read:
            self._read[key] = self._records(image)
        return self._read[key]

    def _records(self, image: Mapping[str, bytes]) -> _Found:
        """Read what a vifplug reads after the boot."""
        with tempfile.TemporaryDirectory() as directory:
            for name, content in image.items():
                Path(directory, name).write_bytes(content)
            store = Store(directory)
            try:
                records, lost = store.all(), store.lost()
                return (*records, *filter(None, [lost, "" if all(each.sound for each in records) else "it is damaged"]))
            except errors.StoreFailed as error:
                return (str(error),)
            finally:
                store.close()


def _short(found: _Found) -> list[str]:
    return [each if isinstance(each, str) else each.state for each in found]


def prove(host: PrivateHost, name: str, dice: random.Random, disks: int) -> Proof:
    """Record the verbs of a VIF whose first plug makes the record, and cut the power at each moment."""
    proof, about = Proof(dice, disks), subject(name, host)
    for each in (host.directory / _DIRECTORY, *host.directory.glob(f"{_SAID}-*")):
        shutil.rmtree(each, ignore_errors=True)

    def work() -> None:
        with host.new_driver() as driver:
            for verb, do in (
                ("plug", lambda: driver.plug(about.vif)),
                ("update", lambda: driver.update(about.changed)),
                ("unplug", lambda: driver.unplug(about.vif.id)),
            ):
                do()
                os.mkdir(host.directory / f"{_SAID}-{verb}")  # a sign for the tape

    tracing.trace(work, Watch.numbers, Tape(proof.look))
    if proof.said != [f"{_SAID}-{verb}" for verb in ("plug", "update", "unplug")]:
        proof.problems.append(f"it has only said {proof.said}")
    return proof


def main() -> int:
    """Prove it; return how many disks have not survived."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--subject", choices=list(DOCUMENTS))
    parser.add_argument("--disks", type=int, default=8)
    parser.add_argument("--seed", type=int, default=14)
    options = parser.parse_args()
    names, dice = [options.subject] if options.subject else DOCUMENTS, random.Random(options.seed)
    with site() as host:
        proofs = {name: prove(host, name, dice, options.disks) for name in names}
    for name, proof in proofs.items():
        print(
            f"{name}: {proof.moments} moments, {proof.cuts} cuts, {proof.survived} survived",
            *proof.problems,
            sep="\n  ",
        )
    if not options.subject:
        _tell(list(proofs.values()))
    return sum(len(each.problems) for each in proofs.values())


def _tell(proofs: list[Proof]) -> None:
    write(
        "power",
        proof=f"{len(proofs)} types, plug, update, unplug: the power goes at each write of the record",
        command="reliability/power.py",
        cells=sum(each.moments for each in proofs),
        faults=sum(each.cuts for each in proofs),
        survived=sum(each.survived for each in proofs),
        note="A cell is a moment: a write, a flush, or an effect on the host. At each are tried a disk with what was "
        "flushed, and several that have any sectors of what was not. The intent is flushed before the first "
        "effect, and what a verb has said is flushed before it is said.",
    )


if __name__ == "__main__":
    sys.exit(min(main(), 1))
