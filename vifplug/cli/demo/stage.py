"""The throw-away host: a network namespace with an Open vSwitch, a Linux bridge and a network card of its own."""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from vifplug.cli.demo.vifs import PLAIN, UPLINK
from vifplug.errors import HostNotReady, Missing, NotPermitted
from vifplug.testing import Lacking, macvtaps, needs, netns
from vifplug.testing.ovs import PrivateOvs

PROGRAMS = ("ip", "bridge", "nsenter", "ping", "ovsdb-server", "ovs-vswitchd", "ovs-vsctl", "ovsdb-tool")

PLAIN_ADDRESS, WIRE_ADDRESS = "198.51.100.1", "203.0.113.1"  # RFC 5737: for documentation

_CONFIG = """\
[vifplug]
state_path = {directory}/state
networks_dir = {directory}/networks.d

[vifplug_ovs]
connection = {connection}
datapath_type = netdev
"""


@dataclass(frozen=True)
class Stage:
    """``netns`` is the namespace's name; ``directory`` has vifplug.conf and takes what comes; ``ovs`` is the switch."""

    netns: str
    directory: Path
    ovs: PrivateOvs


def check_ready() -> None:
    """Raises NotPermitted, Missing where the demo can't be set up here."""
    if os.geteuid() != 0:
        raise NotPermitted("the demo makes network namespaces, and only root may: run it with sudo")
    os.environ["PATH"] = needs.path()  # where Debian has the servers, su does not look
    for program in PROGRAMS:
        if shutil.which(program) is None:
            package = needs.PACKAGES[program]
            raise Missing(f"the demo needs {program}, and it is not in PATH: install {package}")


@contextlib.contextmanager
def stage() -> Iterator[Stage]:
    """The host, while the ``with`` lasts; nothing of it is left. Raises HostNotReady where none can be made."""
    with contextlib.ExitStack() as stack:
        with message():
            host = _set_up(stack)
        yield host


@contextlib.contextmanager
def message() -> Iterator[None]:
    """Raises HostNotReady with what the machine lacks, or what a command says that failed."""
    try:
        yield
    except subprocess.CalledProcessError as error:
        said = " ".join(error.stderr.split())
        raise HostNotReady(f"the demo's host can't be made here: {shlex.join(error.cmd)} says: {said}") from error
    except Lacking as lacking:
        raise HostNotReady(f"the demo's host can't be made here: {lacking}") from lacking


def _set_up(stack: contextlib.ExitStack) -> Stage:
    directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="vifplug-demo-")))
    first = stack.enter_context(macvtaps.claimed())
    [name] = stack.enter_context(netns.named())
    ovs = stack.enter_context(PrivateOvs(netns=name))
    macvtaps.skip(name, first)
    _furnish(name)
    (directory / "vifplug.conf").write_text(_CONFIG.format(directory=directory, connection=ovs.connection))
    return Stage(name, directory, ovs)


def _furnish(name: str) -> None:
    """What a host has before vifplug comes: a Linux bridge with an address, a network card and its far end."""
    for command in (
        f"link add {PLAIN} type bridge",
        f"address add {PLAIN_ADDRESS}/24 dev {PLAIN}",
        f"link set dev {PLAIN} up",
        f"link add {UPLINK} type veth peer name wire",
        f"address add {WIRE_ADDRESS}/24 dev wire",
        "link set dev wire up",
    ):
        netns.ip("-n", name, *command.split())
