"""What a named network costs: resolving a VIF, looking a definition up among many, reading one.

    python benchmarks/resolve.py [--rounds 200] [--files 1 50 1000]

The least time of all rounds, beside a yardstick of the same run: parsing a VIF document of one network, and for
look-ups an os.stat of each file, without which nobody knows whether one has changed.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from vifplug import VIF, Network, resolve
from vifplug.driver import definitions
from vifplug.driver.definitions import NetworkDirectory

SWITCHED = """
<network>
  <name>red</name>
  <forward mode='bridge'/>
  <bridge name='br0'/>
  <virtualport type='openvswitch'/>
  <portgroup name='engineering' default='yes'>
    <vlan><tag id='10'/></vlan>
    <bandwidth><inbound average='1000' peak='5000' burst='5120'/></bandwidth>
  </portgroup>
  <portgroup name='sales' trustGuestRxFilters='yes'>
    <vlan trunk='yes'><tag id='42' nativeMode='untagged'/><tag id='47'/></vlan>
    <virtualport><parameters profileid='sales'/></virtualport>
  </portgroup>
</network>
"""


def pooled(count: int) -> str:
    listed = "".join(f"<interface dev='e{number}'/>" for number in range(count))
    return f"<network><name>pool</name><forward mode='passthrough'>{listed}</forward></network>"


def document(network: str, portgroup: str | None = None) -> dict[str, Any]:
    source = {"network": network} | ({"portgroup": portgroup} if portgroup else {})
    id = "9c4e2f10-6a1b-4c2d-9e3f-7a8b9c0d1e2f"
    return {"id": id, "type": "network", "mac": "52:54:00:12:34:56", "source": source}


def least(rounds: int, work: Callable[..., object], *arguments: object) -> float:
    """Microseconds of the fastest round."""
    best = float("inf")
    for _ in range(rounds):
        begun = time.perf_counter()
        work(*arguments)
        best = min(best, time.perf_counter() - begun)
    return best * 1e6


def resolving(rounds: int) -> None:
    red, eight, many = (Network.from_xml(text) for text in (SWITCHED, pooled(8), pooled(128)))
    works: dict[str, tuple[Callable[..., object], *tuple[object, ...]]] = {
        "parsing a VIF document": (VIF.from_json, document("red", "sales")),
        "resolve, bridge, portgroup by default": (resolve, VIF.from_json(document("red")), red),
        "resolve, bridge, portgroup sales": (resolve, VIF.from_json(document("red", "sales")), red),
        "resolve, pool of 8": (resolve, VIF.from_json(document("pool")), eight),
        "resolve, pool of 128": (resolve, VIF.from_json(document("pool")), many),
        "reading a definition, bridge, portgroups": (Network.from_xml, SWITCHED),
        "reading a definition, pool of 8": (Network.from_xml, pooled(8)),
        "reading a definition, pool of 128": (Network.from_xml, pooled(128)),
    }
    taken = {name: least(rounds, *work) for name, work in works.items()}
    yardstick = taken["parsing a VIF document"]
    print(f"{'':44} {'least':>8}   of a document")
    for name, each in taken.items():
        print(f"{name:44} {each:8.0f} us {each / yardstick:8.1f}")


def looking_up(files: int, rounds: int) -> None:
    with tempfile.TemporaryDirectory(prefix="vifplug-bench-") as path:
        names = [f"net{number}" for number in range(files)]
        for name in names:
            Path(path, f"{name}.xml").write_text(SWITCHED.replace("red", name))
            os.utime(Path(path, f"{name}.xml"), (1, 1))
        time.sleep(0.2)  # younger files are read again each time
        known, begun = NetworkDirectory(path), time.perf_counter()
        definitions.get(known, "net0")
        first = (time.perf_counter() - begun) * 1e6
        paths = [str(Path(path, f"{name}.xml")) for name in names]
        stats = least(rounds, lambda: [os.stat(each) for each in paths])
        again = least(max(rounds * 5 // files, 5), definitions.get, known, "net0")
        print(f"{files:8} {first:15.0f} us {again:12.0f} us {stats:10.0f} us {again / stats:8.1f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--files", type=int, nargs="+", default=[1, 50, 1000], help="definitions in the directory")
    arguments = parser.parse_args()
    resolving(arguments.rounds)
    print("\n   files   first look-up    a look-up     os.stat    ratio")
    for files in arguments.files:
        looking_up(files, arguments.rounds)


if __name__ == "__main__":
    main()
