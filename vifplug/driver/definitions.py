"""The named networks of this host: files in libvirt's ``<network>`` format, or objects."""

from __future__ import annotations

import os
import stat
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from vifplug.errors import InvalidDocument, InvalidRequest, Missing, Problem, UnknownNetwork
from vifplug.model.codec import joined
from vifplug.model.network import Network

#: A file changed less than so many seconds ago may change again without a new time stamp (the kernel's clock ticks
#: every 1 to 10 ms), so it is read again the next time.
_RACY = 0.1

_OPTION = "[vifplug] networks_dir"

#: the state of a file when it was read: device, inode, size, and times in nanoseconds
_Stamp = tuple[int, int, int, int, int]


@dataclass(frozen=True, kw_only=True)
class NetworkDefinition:
    """What one file, or object, defines."""

    #: empty for a file that is too broken to have a name
    name: str
    #: path of the file
    place: str
    #: None if the definition has problems
    network: Network | None = None
    problems: tuple[Problem, ...] = ()

    def __str__(self) -> str:
        return "; ".join(map(str, self.problems))


class NetworkDirectory:
    """The ``*.xml`` files of a directory, read when they are needed and again when they have changed. Thread-safe.

    A directory that does not exist has no networks.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self._read: dict[str, tuple[_Stamp, NetworkDefinition]] = {}
        self._reading = threading.Lock()

    def all(self) -> list[NetworkDefinition]:
        """Return every definition, valid or not, by name. A name that several files have is a problem of each."""
        with self._reading:
            found = list(self._files())
            there = {each.place for each in found}
            self._read = {path: entry for path, entry in self._read.items() if path in there}
        places: dict[str, list[str]] = {}
        for each in found:
            places.setdefault(each.name, []).append(each.place)
        return sorted(
            (_unambiguous(each, places[each.name]) for each in found), key=lambda each: (each.name, each.place)
        )

    def _files(self) -> Iterator[NetworkDefinition]:
        try:
            names = os.listdir(self.path)
        except FileNotFoundError:
            return
        except OSError as error:
            sentence = f"{_OPTION}, {self.path}, cannot be read: {error.strerror}"
            raise Missing(sentence, option=_OPTION, path=self.path) from error
        for name in names:
            if name.endswith(".xml") and not name.startswith("."):
                path = os.path.join(self.path, name)
                try:
                    found = os.stat(path)
                    if stat.S_ISREG(found.st_mode):
                        yield self._file(path, found)
                except OSError as error:
                    if os.path.lexists(path):  # else it has just been removed
                        message = Problem("$", f"cannot be read: {error.strerror}")
                        yield NetworkDefinition(name="", place=path, problems=(message,))

    def _file(self, path: str, found: os.stat_result) -> NetworkDefinition:
        stamp = (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
        known = self._read.get(path)
        if known and known[0] == stamp:
            return known[1]
        definition = from_text(Path(path).read_bytes(), path)
        if time.time() - max(found.st_mtime, found.st_ctime) > _RACY:
            self._read[path] = (stamp, definition)
        return definition


class StaticNetworks:
    """Networks as objects. Raises InvalidRequest if two have one name."""

    def __init__(self, networks: Iterable[Network]) -> None:
        self._networks = tuple(networks)
        names = [network.name for network in self._networks]
        if repeated := sorted({name for name in names if names.count(name) > 1}):
            message = f"network {joined(repeated, 'and')} is given more than once: expected each name once"
            raise InvalidRequest(message, resource=f"network {repeated[0]}")

    def all(self) -> list[NetworkDefinition]:
        """Return every definition, by name."""
        found = (NetworkDefinition(name=each.name, place="given", network=each) for each in self._networks)
        return sorted(found, key=lambda each: each.name)


#: The networks of a host
NetworkDefinitions = NetworkDirectory | StaticNetworks


def get(definitions: NetworkDefinitions, name: str) -> Network:
    """Return the network of that name. Raises UnknownNetwork if its definition does not exist or has problems."""
    known, resource = definitions.all(), f"network {name}"
    named = [each for each in known if name and each.name == name]
    if named and named[0].network:
        return named[0].network
    if named:
        message = f"{resource} cannot be used: {named[0].place}: {named[0]}"
        raise UnknownNetwork(message, resource=resource, path=named[0].place)
    names = [each.name for each in known if each.network]
    defined = f"defined: {joined(names, 'and')}" if names else "no networks are defined"
    message = f"{resource} is not defined on this host ({defined})"
    if nameless := [each.place for each in known if not each.name]:
        message += f"; {joined(nameless, 'and')} cannot be read: see `vifplug network validate`"
    else:
        message += ": correct the VIF's source, or define it with a file in [vifplug] networks_dir"
    raise UnknownNetwork(message, resource=resource, path=nameless[0] if nameless else None)


def from_text(text: bytes, place: str) -> NetworkDefinition:
    """Return what the text of a file defines."""
    from vifplug.networks import read  # which loads lxml: not for a host without named networks

    try:
        network = read.network(text)
    except InvalidDocument as error:
        return NetworkDefinition(name=read.name(text) or "", place=place, problems=error.problems)
    return NetworkDefinition(name=network.name, place=place, network=network)


def _unambiguous(definition: NetworkDefinition, places: Sequence[str]) -> NetworkDefinition:
    if len(places) == 1 or not definition.name:
        return definition
    others = joined((place for place in sorted(places) if place != definition.place), "and")
    problem = Problem("$.name", f"{definition.name} is the name of the network in {others} as well; remove one")
    return NetworkDefinition(name=definition.name, place=definition.place, problems=(*definition.problems, problem))
