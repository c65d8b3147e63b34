"""The verb: sets the stage, has the story told on it, and clears everything away."""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from vifplug.cli.output import Verb


class Demo(Verb):
    """plug, break, check, mend and unplug VIFs on a throw-away host of its own; needs root.

    Nothing of this machine is touched: it all happens in a network namespace that goes with the demo.
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        parser.add_argument(
            "--guests",
            type=Path,
            metavar="DIRECTORY",
            help="boot guests and let them ping each other; DIRECTORY has their kernel, as boot/vmlinuz-VERSION and"
            " lib/modules/VERSION",
        )
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> int:
        from vifplug.cli.demo import stage

        stage.check_ready()
        if parsed_args.guests:
            from vifplug.cli.demo import machines

            return machines.play(parsed_args.guests)
        with stage.stage() as host:
            inside = ["ip", "netns", "exec", host.netns, sys.executable, "-m", "vifplug.cli.demo.story"]
            # where ovs-vsctl finds the switch
            return _run([*inside, str(host.directory)], {**os.environ, "OVS_RUNDIR": str(host.ovs.directory)})


def _run(command: Sequence[str], environment: Mapping[str, str]) -> int:
    """Run a process to its end; when this one is interrupted, end it with all that it has started."""
    with subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, start_new_session=True) as process:
        try:
            return process.wait()
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
