"""The verb topology: a picture of this host's networks."""

from __future__ import annotations

import argparse
import importlib
import subprocess

from vifplug.cli.app import writing
from vifplug.cli.output import Verb
from vifplug.errors import HostNotReady, Missing

FORMATS = ("text", "mermaid", "dot", "svg")

#: How long Graphviz may take, in seconds: 500 VIFs take it half a second.
_TIMEOUT = 60


class Topology(Verb):
    """draw networks, portgroups, bridges, ports, VLANs, pool devices, VIFs and guests of this host."""

    def arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument(
            "-f",
            "--format",
            choices=FORMATS,
            default="text",
            help="text for a terminal, svg for a browser or a printer (needs Graphviz), mermaid or dot for those tools",
        )

    def take_action(self, parsed_args: argparse.Namespace) -> None:
        svg = parsed_args.format == "svg"
        language = "dot" if svg else parsed_args.format
        with self.app.driver() as driver:
            host = driver.topology()
        picture = getattr(importlib.import_module(f"vifplug.topology.{language}"), language)(host)
        with writing(self.app.stdout):
            self.app.stdout.write(draw(picture) if svg else picture)


def draw(picture: str) -> str:
    """Return the SVG that Graphviz makes of a picture in its language.

    Equivalent to: dot -Tsvg

    Raises:
        Missing: Graphviz is not installed.
        HostNotReady: Graphviz failed, or did not end in time.
    """
    command = ["dot", "-Tsvg"]
    try:
        done = subprocess.run(command, input=picture.encode(), capture_output=True, timeout=_TIMEOUT, check=True)
    except FileNotFoundError:
        raise Missing(
            "dot, the program of Graphviz that draws the SVG, is not in PATH: install graphviz, or use --format dot"
        ) from None
    except subprocess.TimeoutExpired:
        raise HostNotReady(f"dot did not draw the SVG within {_TIMEOUT} seconds: use --format dot or text") from None
    except subprocess.CalledProcessError as error:
        message = " ".join(error.stderr.decode(errors="replace").split())
        raise HostNotReady(f"dot could not draw the SVG ({message}): use --format dot or text") from None
    return done.stdout.decode()
