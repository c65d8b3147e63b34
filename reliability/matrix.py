"""The crash matrix and the errno matrix of all types, on private hosts: reliability/results/matrix-*.json.

reliability/matrix.py                      # killed before and after each effect
reliability/matrix.py --failing            # each effect fails with each errno, or loses its answer
reliability/matrix.py --looks              # it cannot open a file, make or connect a socket, or take a lock
reliability/matrix.py --events             # others remove or replace a link or a port there
reliability/matrix.py --sample 20          # as many places of each type, at random
reliability/matrix.py --subject hybrid     # one type; nothing is written
"""

from __future__ import annotations

import argparse
import itertools
import os
import random
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))

from reliability.page import write
from vifplug import VIF
from vifplug.model.codec import joined
from vifplug.testing import macvtaps
from vifplug.testing.host import PrivateHost
from vifplug.testing.matrix import Cell, Matrix, Result, Subject

ID = "9c4e2f10-6a1b-4c2d-9e3f-7a8b9c0d1e2f"
SWITCHED: dict[str, Any] = {"source": {"bridge": "br-int"}, "virtualport": {"type": "openvswitch"}}
SHAPED = {"inbound": {"average": 2000, "peak": 4000, "burst": 256}, "outbound": {"average": 1000}}
NETWORK = """<network><name>red</name><forward mode='bridge'/><bridge name='br-int'/><virtualport type='openvswitch'/>
<portgroup name='ten'><vlan><tag id='10'/></vlan><bandwidth><inbound average='2000'/></bandwidth></portgroup>
<portgroup name='all'><vlan trunk='yes'><tag id='10'/><tag id='20'/></vlan></portgroup></network>"""


def _direct(mode: str, **keys: Any) -> dict[str, Any]:
    return {"type": "direct", "source": {"dev": "up0", "mode": mode}, "tap_owner": "vifplug", **keys}


#: of the NIC
MAC = "02:00:00:00:00:01"
#: a document of each type, and what it is changed to
DOCUMENTS: Mapping[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "Open vSwitch tap": (SWITCHED, {**SWITCHED, "vlan": 7}),
    "Open vSwitch with QoS": (
        {**SWITCHED, "vlan": {"trunk": True, "tags": [{"id": 5}, {"id": 6}]}, "bandwidth": SHAPED},
        {**SWITCHED, "mtu": 1400, "bandwidth": {"inbound": {"average": 3000}}},
    ),
    "hybrid": (
        {**SWITCHED, "source": {"bridge": "br-int", "hybrid": True}},
        {**SWITCHED, "source": {"bridge": "br-int", "hybrid": True}, "mtu": 1400, "vlan": 7},
    ),
    "hybrid to tap": ({**SWITCHED, "source": {"bridge": "br-int", "hybrid": True}}, SWITCHED),
    "Linux bridge": (
        {"source": {"bridge": "lbr0"}, "port": {"isolated": True}},
        {"source": {"bridge": "lbr0"}, "mtu": 1400},
    ),
    "ethernet": ({"type": "ethernet", "source": {}}, {"type": "ethernet", "source": {}, "mtu": 1400}),
    "macvtap": (_direct("bridge"), _direct("private")),
    "macvtap passthrough": (_direct("passthrough"), _direct("vepa")),
    "network": (
        {"type": "network", "source": {"network": "red", "portgroup": "ten"}},
        {"type": "network", "source": {"network": "red", "portgroup": "all"}},
    ),
    "vhostuser": (
        {"type": "vhostuser", "source": {"path": "{directory}/vhost/one", "mode": "server"}},
        {"type": "vhostuser", "source": {"path": "{directory}/vhost/two/two", "mode": "server"}},
    ),
}
#: a macvtap's device node has the number of its link, and a host has 200 of its own
_CELLS_OF_A_HOST = 30


@contextmanager
def site(first: int | None = None) -> Iterator[PrivateHost]:
    """A host with what VIFs of all types need.

    Args:
        first: the number of its first link, where no other host comes to; None: one of 200 that are this host's own.
    """
    with macvtaps.claimed() as claimed, PrivateHost(vifplug_ovs={"timeout": 5}) as host:
        macvtaps.skip(host.namespace, first or claimed)
        host.ovs.ctl("add-br", "br-int", "--", "set", "bridge", "br-int", "datapath_type=netdev")
        lay(host)
        (host.networks / "red.xml").write_text(NETWORK)
        yield host


def lay(host: PrivateHost) -> None:
    """Make what the host's own network has after a boot: a bridge, on which a port has been, and a NIC."""
    for words in (
        "add lbr0 up type bridge",
        "add up0 master lbr0 up type veth peer name up1",
        "del up0",
        f"add up0 address {MAC} up type veth peer name up1 address 02:00:00:00:00:03",
        "set up1 up",
    ):
        host.ip("link", *words.split())
    Path("/proc/sys/net/ipv6/conf/lbr0/accept_ra").write_text("0")


def subject(name: str, host: PrivateHost) -> Subject:
    """Return what a matrix of DOCUMENTS is about, on a host."""
    one, two = (vif_of(each, host.directory) for each in DOCUMENTS[name])
    return Subject(name, one, two)


def vif_of(keys: Mapping[str, Any], directory: Path, id: str = ID, mac: str = "52:54:00:12:34:56") -> VIF:
    """Return the VIF of one of DOCUMENTS, with its socket somewhere in the directory."""
    source = dict(keys["source"])
    if "path" in source:
        source["path"] = source["path"].format(directory=directory)
    return VIF.from_json({"id": id, "type": "bridge", "mac": mac, **keys, "source": source})


#: the matrices, in the reader's words
PROOFS = {
    "crash": "killed at each effect, before and after it",
    "errno": "each effect fails with each errno, or its answer is lost",
    "looks": "a verb cannot open a file, make or connect a socket, or take a lock",
    "events": "others remove or replace a link or a port of the VIF at each effect",
}
NOTES = {
    "crash": "Each cell is repaired with `recover`, with the same verb, and with `unplug`.",
    "errno": "The errnos of a place are repaired in turn with `recover`, the same verb and `unplug`. The longest answer"
    " follows a lost one of the kernel or of Open vSwitch, which is asked again.",
    "looks": "Some eighty places of each type. The longest answer follows a lock that the kernel refuses (ENOLCK),"
    " for which SQLite waits as for one that another process has, for `[vifplug] lock_timeout`.",
    "events": "Some eighty places of each type. Whatever has the name of a VIF's link by then is not touched.",
}


def all_cells(matrix: Matrix, what: str) -> list[Cell]:
    """Return the cells of all verbs; of those with errnos one in turn for each place of a file and each repair.

    Of looks and events some eighty.
    """
    if what in ("looks", "events"):
        places = matrix.looks if what == "looks" else matrix.events
        there = [cell for verb in matrix.verbs() for cell in places(verb)]
        return there[:: max(1, len(there) // 80)]
    cells = [cell for verb in matrix.verbs() for cell in matrix.cells(verb, failing=what == "errno")]
    if what == "crash":
        return cells
    turn = itertools.count()
    files = {each for each in cells if not each.effect.on.startswith(("netlink", "OVSDB", "/"))}
    some = [each for each in cells if each not in files or next(turn) % 4 == each.fault.number % 4]
    return [each for place, each in enumerate(some) if place % 3 == place // 3 % 3]


def sampled(host: PrivateHost, seed: int, *, types: int, cells: int) -> Iterator[Result]:
    """Run cells at random: of some types, and of each verb as many of each matrix."""
    dice = random.Random(seed)
    for name in dice.sample(list(DOCUMENTS), types):
        matrix = Matrix(host, subject(name, host))
        for verb in matrix.verbs():
            killed, failing = matrix.cells(verb), matrix.cells(verb, failing=True)
            for each in (killed, failing, matrix.looks(verb), matrix.events(verb)):
                there = list(each)
                for cell in dice.sample(there, min(cells, len(there))):
                    yield matrix.run(cell)
        matrix.leave()


def whole(name: str, what: str, sample: int = 0) -> list[Result]:
    """Run all cells of a type, or ``sample`` of them."""
    results: list[Result] = []
    with site() as host:
        cells = all_cells(Matrix(host, subject(name, host)), what)
    if 0 < sample < len(cells):
        cells = random.Random(sample).sample(cells, sample)
    few = _CELLS_OF_A_HOST if "macvtap" in name else len(cells)
    for start in range(0, len(cells), few):
        with site() as host:
            results += _run(Matrix(host, subject(name, host)), cells[start : start + few])
    return results


def _run(matrix: Matrix, cells: Iterable[Cell]) -> Iterator[Result]:
    for cell in cells:
        try:
            result = matrix.run(cell)
        except AssertionError as error:
            result = Result(f"{cell}: {error}", 0.0, landed=True)
            matrix.forget()
        if result.problem:
            print(result.problem, flush=True)
        yield result


def main() -> int:
    """Run the matrix; return how many cells do not pass."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--failing", dest="what", action="store_const", const="errno", default="crash")
    parser.add_argument("--looks", dest="what", action="store_const", const="looks")
    parser.add_argument("--events", dest="what", action="store_const", const="events")
    parser.add_argument("--sample", type=int, default=0)
    parser.add_argument("--subject", choices=list(DOCUMENTS))
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    options = parser.parse_args()
    names = [options.subject] if options.subject else list(DOCUMENTS)
    results: list[Result] = []
    with get_context("spawn").Pool(options.jobs, maxtasksperchild=1) as pool:
        for name, found in zip(
            names, pool.starmap(whole, [(each, options.what, options.sample) for each in names], 1), strict=True
        ):
            print(f"{name}: {len(found)} cells", flush=True)
            results += found
    if not options.subject:
        tell(results, options.what, names, options.sample)
    return sum(bool(each.problem) for each in results)


def tell(results: Sequence[Result], what: str, names: Sequence[str], sample: int) -> None:
    """Write the result of a matrix of some types."""
    option = {"crash": "", "errno": " --failing"}.get(what, f" --{what}")
    which = f"{joined(names, 'and')}; {'a sample of ' if sample else ''}plug, again, update, unplug, reconcile"
    write(
        f"matrix-{what}",
        proof=PROOFS[what],
        command=f"reliability/matrix.py{option}{f' --sample {sample}' if sample else ''}",
        cells=len(results),
        faults=sum(each.landed for each in results),
        survived=sum(each.landed and not each.problem for each in results),
        answers=[each.milliseconds for each in results],
        note=f"{which}. {NOTES[what]}",
    )


if __name__ == "__main__":
    sys.exit(min(main(), 1))
