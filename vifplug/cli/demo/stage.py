"""The temporary host: a network namespace with an Open vSwitch, a Linux bridge and a network card of its own."""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from vifplug.cli.demo.guests import Booter
from vifplug.cli.demo.vifs import PLAIN, UPLINK
from vifplug.errors import HostNotReady, Missing, NotPermitted
from vifplug.host.links import sysctls
from vifplug.testing import MissingRequirement, macvtaps, needs, netns
from vifplug.testing.guests import Image
from vifplug.testing.host import PrivateHost
from vifplug.testing.kernel import Kernel
from vifplug.testing.libvirt import LibvirtHost

PROGRAMS = ("ip", "bridge", "nsenter", "ping", "ovsdb-server", "ovs-vswitchd", "ovs-vsctl", "ovsdb-tool")

PLAIN_ADDRESS, WIRE_ADDRESS = "198.51.100.1", "203.0.113.1"  # RFC 5737: for documentation


def check_ready() -> None:
    """Raise NotPermitted or Missing if this machine cannot run the demo."""
    if os.geteuid() != 0:
        raise NotPermitted("demo: only root may create network namespaces: run it with sudo")
    os.environ["PATH"] = needs.path()  # PATH under su lacks the directories of Debian's servers
    for program in PROGRAMS:
        if shutil.which(program) is None:
            package = needs.PACKAGES[program]
            raise Missing(f"demo: {program} is not in PATH: install {package}")


@contextlib.contextmanager
def stage(kernel: Path | None) -> Iterator[tuple[PrivateHost, Booter | None]]:
    """Create the host and move this process into it, until the end of the ``with``.

    ``kernel``: the directory of the kernel that guests boot. Raises HostNotReady if the host cannot be created.
    """
    with contextlib.ExitStack() as stack:
        with _explained():
            first = stack.enter_context(macvtaps.claimed())
            host = stack.enter_context(PrivateHost(entered=False))
            macvtaps.skip(host.namespace, first)
            _furnish(host)
            image = Image.made(host.directory, Kernel(kernel)) if kernel else None
            stack.enter_context(host.inside())
            netns.show_links()
            booter = Booter(stack.enter_context(LibvirtHost(host)), image) if image else None
        stack.callback(os.chdir, Path.cwd())
        os.chdir(host.directory)
        os.environ["OVS_RUNDIR"] = str(host.ovs.directory)  # where ovs-vsctl finds the switch
        yield host, booter


@contextlib.contextmanager
def _explained() -> Iterator[None]:
    """Raise HostNotReady with what the machine lacks, or with the message of a command that failed."""
    try:
        yield
    except subprocess.CalledProcessError as error:
        message = " ".join(error.stderr.split())
        raise HostNotReady(f"demo: cannot create its host: {shlex.join(error.cmd)}: {message}") from error
    except MissingRequirement as error:
        raise HostNotReady(f"demo: cannot create its host: {error}") from error


def _furnish(host: PrivateHost) -> None:
    """Create what a host has without vifplug: a Linux bridge with an address, a network card and its far end."""
    for command in (
        f"link add {PLAIN} type bridge",
        f"address add {PLAIN_ADDRESS}/24 dev {PLAIN}",
        f"link set dev {PLAIN} up",
        f"link add {UPLINK} type veth peer name wire",
        f"address add {WIRE_ADDRESS}/24 dev wire",
        "link set dev wire up",
    ):
        host.ip(*command.split())
    with host.inside():
        sysctls.write(PLAIN, {"ipv6/accept_ra": "0"})
