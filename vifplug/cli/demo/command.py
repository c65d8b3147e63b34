"""The verb demo: create the temporary host, run the demo on it, and remove it."""

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

        stage.check_ready()
        if parsed_args.guests:
            from vifplug.cli.demo import machines

            return machines.play(parsed_args.guests)
        with stage.stage() as host:
            inside = ["ip", "netns", "exec", host.namespace, sys.executable, "-m", "vifplug.cli.demo.story"]
            # where ovs-vsctl finds the switch
            return _run([*inside, str(host.directory)], {**os.environ, "OVS_RUNDIR": str(host.ovs.directory)})


def _run(command: Sequence[str], environment: Mapping[str, str]) -> int:
    """Run a process to its end. On an interrupt, kill it and everything that it started."""
    with subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, start_new_session=True) as process:
        try:
            return process.wait()
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
