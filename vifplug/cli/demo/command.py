"""The verb demo: create the temporary host, play the story on it, and remove it."""

from __future__ import annotations

import argparse
from pathlib import Path

from vifplug.cli.output import Verb
from vifplug.cli.terminal import unescaped


class Demo(Verb):
    """plug, break, check, repair and unplug VIFs on a temporary host; needs root.

    This machine is not changed: the host is a network namespace, which is removed at the end.
    """

    def arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument(
            "--guests",
            type=Path,
            metavar="DIRECTORY",
            help="boot guests that ping each other; DIRECTORY contains their kernel: boot/vmlinuz-VERSION and "
            "lib/modules/VERSION",
        )

    def take_action(self, parsed_args: argparse.Namespace) -> int:
        from vifplug.cli.demo import stage
        from vifplug.cli.demo.narrator import Narrator
        from vifplug.cli.demo.story import Story

        stage.check_ready()
        with stage.stage(parsed_args.guests) as (host, booter):
            return Story(Narrator(unescaped(self.app.stdout)), host, booter).play()
