"""The tests themselves on a machine that lacks something: those that need it are skipped, and none fails."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.command import WITHOUT_CAPABILITIES
from tests.support.places import ROOT
from vifplug.testing import needs

#: run "$@" where $HIDDEN is gone: directories are empty, and files are no programs and no libraries
HIDE = """
for each in $HIDDEN; do
    if [ -d "$each" ]; then mount -t tmpfs none "$each"; else mount --bind "$EMPTY" "$each"; fi
done
exec "$@"
"""


def programs(*packages: str) -> list[str]:
    """Where this machine has the programs of Debian packages, as far as it has them."""
    found = (shutil.which(name, path=needs.path()) for name, package in needs.PACKAGES.items() if package in packages)
    return [str(Path(each).resolve()) for each in found if each]


def library() -> list[str]:
    """The file of libvirt's library, which a process maps that has looked for it."""
    needs.NEEDS["libvirt library"]()
    return re.findall(r"/\S*/libvirt\.so\S*", Path("/proc/self/maps").read_text())[:1]


#: what is taken away; tests most of which need it; what they say
LACKS = {
    "tun": (
        ["/dev/net"],
        "contract/test_resource_conformance.py contract/test_takeover.py functional/test_docs.py "
        "functional/test_driver.py functional/test_example_vxlan.py functional/test_ovs_kernel.py",
        ["no /dev/net/tun"],
    ),
    "Open vSwitch": (
        programs("openvswitch-switch"),
        "contract/test_takeover.py faults/test_kill.py functional/test_compat_os_vif.py "
        "functional/test_docs.py::test_the_program_of_the_ovsdbapp_page_runs_and_what_it_expects_to_fail_does "
        "functional/test_driver.py functional/test_ovs_kernel.py",
        ["no ovsdb-tool, ovsdb-server, "],
    ),
    "libvirt": (
        [*programs("libvirt-daemon", "libvirt-clients"), *library(), str(needs.SCHEMAS)],
        "functional/test_adopt.py functional/test_libvirt_networks.py golden unit/test_hook.py",
        ["no libvirtd, virsh (Debian: ", "no library of libvirt", "no schemas in "],
    ),
    "QEMU": (
        programs("qemu-system-x86"),
        "functional/test_adopt.py golden/test_libvirtd.py kernel",
        ["no qemu-system-x86_64 (Debian: "],
    ),
    "ip": (programs("iproute2"), "contract/test_takeover.py functional/test_driver.py", ["no ip (Debian: iproute2)"]),
}


def reasons(files: str, *under: str, **environment: str) -> str:
    """Why tests were skipped, a line each. None may fail."""
    tests = [f"tests/{file}" for file in files.split()]
    command = [*under, sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--tb=line", *tests]
    environment = {"PATH": needs.path(), "HOME": "/nonexistent", **environment}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr
    return "".join(re.findall(r"^\d+ skipped: .*\n", done.stdout, re.MULTILINE))


@pytest.mark.needs("mounts", "namespaces", "tun", "openvswitch")
@pytest.mark.parametrize("lack", LACKS)
def test_what_the_machine_lacks_is_named_and_no_test_fails(lack: str, tmp_path: Path) -> None:
    hidden, files, wanted = LACKS[lack]
    (tmp_path / "empty").touch(0o644)
    under = ("unshare", "--mount", "sh", "-e", "-c", HIDE, "hide")
    message = reasons(files, *under, HIDDEN=" ".join(hidden), EMPTY=str(tmp_path / "empty"))
    assert [reason for reason in wanted if f"skipped: {reason}" not in message] == [], message


@pytest.mark.needs("root", "setpriv")
def test_root_without_roots_rights_skips_what_they_are_for() -> None:
    message = reasons("faults/test_kill.py functional/test_driver.py functional/test_libvirt_networks.py",
                   *WITHOUT_CAPABILITIES)  # fmt: skip
    assert "skipped: no network namespaces: ip netns add NAME says: Operation not permitted" in message
    assert "skipped: needs root with its capabilities" in message
