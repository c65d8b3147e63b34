"""What each verb costs: vifplug, os-vif, ovs-vsctl with ip, and the floor, in turns in one run.

    python benchmarks/verbs.py [--ports 0 1000 5000] [--batch 300] [--rounds 4] [--count 20] [--real]

Run as root. Results go to benchmarks/results: verbs.json, verbs.md (the table) and verbs.svg. Processor time is that of
the client and what it starts, the least of all rounds; so is wall time. Without ``--real`` a stand-in for ovs-vswitchd
applies every configuration at once.
"""

from __future__ import annotations

import argparse
import json
import platform
from collections.abc import Iterable, Sequence
from typing import Any

from harness import ROOT, Answers, Client, in_turns, least, workers

RESULTS = ROOT / "benchmarks/results"
CLIENTS = (Client("vifplug"), Client("os-vif", "os-vif"), Client("ip, ovs-vsctl", "commands"), Client("floor", "raw"))
VERBS = ("plug", "again", "unplug")
OTHER_FORMS = ("linux", "ethernet", "macvtap", "hybrid")

#: one line of the table: what is measured, the verb, the client, milliseconds of processor and of wall time
Line = dict[str, Any]


def lines(about: str, found: dict[str, Answers], count: int) -> list[Line]:
    return [
        {
            "about": about if form == "ovs" else form,
            "verb": verb,
            "client": client,
            **{key: round(least(each, key, count), 3) for key in ("cpu", "wall")},
        }
        for client, answers in found.items()
        for (form, verb), each in answers.items()
    ]


def measured(arguments: argparse.Namespace) -> list[Line]:
    found: list[Line] = []
    rounds, count = arguments.rounds, arguments.count
    for ports in arguments.ports:
        clients = (
            CLIENTS if ports in arguments.ports[:1] else [each for each in CLIENTS if each.name != "ip, ovs-vsctl"]
        )
        with workers(clients, ports, real=arguments.real) as running:
            found += lines(f"{ports} ports", in_turns(running, ["ovs"], rounds=rounds, count=count), count)
            if ports == arguments.ports[0]:
                own = {"vifplug": running["vifplug"]}
                found += lines("", in_turns(own, OTHER_FORMS, rounds=rounds, count=count), count)
                for size in arguments.batch:
                    answers = in_turns(own, ["ovs"], rounds=2, count=size, batch=True)
                    found += lines(f"batch of {size}", answers, size)
    return found


def ratio(found: Sequence[Line], line: Line, key: str) -> str:
    """Return the line's figure beside os-vif's of the same run."""
    same = (each for each in found if each["client"] == "os-vif" and each["about"] == line["about"])
    other = next((each for each in same if each["verb"] == line["verb"]), None)
    return f"{line[key] / other[key]:.2f}" if other else ""


def table(found: Sequence[Line]) -> Iterable[str]:
    yield "| | verb | client | processor ms | of os-vif's | wall ms | of os-vif's |"
    yield "|---|---|---|---|---|---|---|"
    for each in found:
        cells = (each["about"], each["verb"], each["client"], f"{each['cpu']:.2f}", ratio(found, each, "cpu"))
        yield "| " + " | ".join([*cells, f"{each['wall']:.2f}", ratio(found, each, "wall")]) + " |"


BAR, WIDTH, LEFT = 22, 520, 190  # pixels
COLOURS = {"vifplug": "#1b7837", "os-vif": "#9970ab", "ip, ovs-vsctl": "#bf812d", "floor": "#bbbbbb"}


def plot(found: Sequence[Line]) -> str:
    """Draw the processor time of an Open vSwitch tap, a bar for each verb and client, as SVG."""
    about = found[0]["about"]
    bars = [each for each in found if each["about"] == about and each["client"] in COLOURS and each["verb"] in VERBS]
    bars.sort(key=lambda each: VERBS.index(each["verb"]))
    most = max(each["cpu"] for each in bars)
    title = f"Processor time of one VIF, an Open vSwitch tap, on a switch with {about} (ms)"
    size = f'width="{LEFT + WIDTH + 120}" height="{50 + BAR * len(bars)}"'
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif" font-size="13">',
        f'<rect width="100%" height="100%" fill="white"/><text x="10" y="24" font-size="15">{title}</text>',
    ]
    for number, each in enumerate(bars):
        y, long = 40 + BAR * number, each["cpu"] / most * WIDTH
        lines.append(
            f'<text x="{LEFT - 8}" y="{y + 14}" text-anchor="end">{each["verb"]}, {each["client"]}</text>'
            f'<rect x="{LEFT}" y="{y}" width="{long:.0f}" height="{BAR - 5}" fill="{COLOURS[each["client"]]}"/>'
            f'<text x="{LEFT + long + 6:.0f}" y="{y + 14}">{each["cpu"]:.2f}</text>'
        )
    return "\n".join([*lines, "</svg>\n"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--ports", type=int, nargs="+", default=[0, 1000, 5000], help="how many are there already")
    parser.add_argument("--batch", type=int, nargs="*", default=[300], help="how many VIFs are plugged at once")
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--count", type=int, default=20, help="VIFs of a round")
    parser.add_argument("--real", action="store_true", help="with a real ovs-vswitchd, on its userspace datapath")
    arguments = parser.parse_args()
    found = measured(arguments)
    RESULTS.mkdir(exist_ok=True)
    name = "verbs-real" if arguments.real else "verbs"
    about = {"python": platform.python_version(), "kernel": platform.release(), "arguments": vars(arguments)}
    (RESULTS / f"{name}.json").write_text(json.dumps({**about, "lines": found}, indent=1) + "\n")
    (RESULTS / f"{name}.md").write_text("\n".join(table(found)) + "\n")
    (RESULTS / f"{name}.svg").write_text(plot(found))
    print("\n".join(table(found)))


if __name__ == "__main__":
    main()
