"""The verb topology: a picture of this host's networks."""

from __future__ import annotations

import argparse
import importlib

from vifplug.cli.app import writing
from vifplug.cli.output import Verb

FORMATS = ("text", "mermaid", "dot", "svg")


class Topology(Verb):
    """draw networks, portgroups, bridges, ports, VLANs, pool devices, VIFs and guests of this host."""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        parser.add_argument(
            "-f",
            "--format",
            choices=FORMATS,
            default="text",
            help="text for a terminal, svg to print or to open in a browser, mermaid and dot for those tools",
        )
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> None:
        with self.app.driver() as driver:
            host = driver.topology()
        drawn = getattr(importlib.import_module(f"vifplug.topology.{parsed_args.format}"), parsed_args.format)(host)
        with writing(self.app.stdout):
            self.app.stdout.write(drawn)
