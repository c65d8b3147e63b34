"""A machine that systemd boots and reboots: its VIFs are back before its guest starts, by vifplug's units alone."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.support.systemd import DISK, SystemdMachine
from tests.support.vm import Hardware
from vifplug.testing.libvirt import domain

pytestmark = [pytest.mark.slow, pytest.mark.long, pytest.mark.xdist_group("machines")]

_MINUTES = 20

#: name -> its document. None of the modules that they need is loaded before
VIFS: Mapping[str, Mapping[str, object]] = {
    "switched": {
        "type": "bridge",
        "source": {"bridge": "br-int"},
        "virtualport": {"type": "openvswitch"},
        "vlan": 10,
        "bandwidth": {"inbound": {"average": 1000}},
    },
    "bridged": {"type": "bridge", "source": {"bridge": "br0"}, "mtu": 1400},
    "direct": {"type": "direct", "tap_owner": "vifplug", "source": {"dev": "eno1", "mode": "bridge"}},
}
#: ... of no guest, as a lost record leaves them
UNRECORDED: Mapping[str, Mapping[str, object]] = {
    "one": {"type": "bridge", "source": {"bridge": "br-int"}, "virtualport": {"type": "openvswitch"}},
    "two": {"type": "bridge", "source": {"bridge": "br0"}},
}

IDS = [f"aaaaaaaa-0000-4000-8000-{number:012}" for number in range(len(VIFS) + len(UNRECORDED))]

#: What is on a host besides vifplug. Open vSwitch's units are those of its package; what ifupdown would do, and
#: libvirtd's unit, are here. What is bound to the disk outlives a reboot
_BEFORE = f"""\
for place in openvswitch vifplug; do
    mkdir -p {DISK}/$place /var/lib/$place; mount --bind {DISK}/$place /var/lib/$place
done
mkdir -p {DISK}/qemu {DISK}/cache /etc/libvirt/qemu /var/cache/libvirt /etc/tmpfiles.d
mount --bind {DISK}/qemu /etc/libvirt/qemu
mount --bind {DISK}/cache /var/cache/libvirt
grep -q ^libvirt-qemu: /etc/passwd || echo libvirt-qemu:x:64055:64055::/nonexistent:/bin/false >> /etc/passwd
grep -q ^libvirt-qemu: /etc/group || echo libvirt-qemu:x:64055: >> /etc/group
printf '%s\\n' 'auth_unix_rw = "none"' 'auth_unix_ro = "none"' > /etc/libvirt/libvirtd.conf
printf '%s\\n' 'security_driver = "none"' 'user = "root"' 'group = "root"' 'cgroup_controllers = []' \\
    'namespaces = []' 'stdio_handler = "file"' > /etc/libvirt/qemu.conf
cat > /etc/systemd/system/bridges.service << 'END'
[Unit]
Before=network.target
Wants=network.target
[Service]
Type=oneshot
ExecStart=ip link add br0 up type bridge
ExecStart=sysctl -w net.ipv6.conf.br0.accept_ra=0
ExecStart=ip link add eno1 up type dummy
[Install]
WantedBy=multi-user.target
END
cat > /etc/systemd/system/libvirtd.service << 'END'
[Unit]
After=network.target
[Service]
Type=notify
ExecStart=/usr/sbin/libvirtd
KillMode=process
[Install]
WantedBy=multi-user.target
END
cp /opt/vifplug/etc/tmpfiles.d/* /etc/tmpfiles.d
cp -r /opt/vifplug/etc/systemd/* /etc/systemd/system
systemctl --root=/ --quiet enable bridges libvirtd openvswitch-switch vifplug-recover vifplug-gc.timer
"""

_JOB = f"""\
if [ -e {DISK}/facts ]; then
    cd {DISK}/facts
    virsh --quiet list --name > running
    vifplug check -f json > unsettled || :
    for id in {" ".join(IDS[: len(VIFS)])}; do vifplug settle $id; done
    vifplug check -f json > differences || :
    systemctl show --property=Result,ExecMainExitTimestampMonotonic vifplug-recover > recover
    systemctl show --property=ExecMainStartTimestampMonotonic libvirtd > libvirtd
    systemctl is-active vifplug-gc.timer > timer
    printf '[vifplug]\\nstate_path = /run/lost\\n' > /run/lost.conf
    for name in {" ".join(UNRECORDED)}; do vifplug --config-file /run/lost.conf plug /mnt/vifs/$name > /run/$name; done
    (ls /sys/class/net; ovs-vsctl list-ports br-int) > before
    systemctl start vifplug-gc || :
    systemctl show --property=Result vifplug-gc > gc
    (ls /sys/class/net; ovs-vsctl list-ports br-int) > after
    journalctl --no-pager -b -o cat -u vifplug-recover -u vifplug-gc > journal
    cp -r {DISK}/facts /mnt
    systemctl poweroff
else
    ovs-vsctl add-br br-int
    cat /mnt/vifs/head > /run/web
    for name in {" ".join(VIFS)}; do vifplug plug /mnt/vifs/$name; done >> /run/web
    cat /mnt/vifs/tail >> /run/web
    virsh define /run/web
    virsh autostart web
    mkdir {DISK}/facts
    sync
    systemctl reboot
fi
"""


def document(number: int, name: str, fields: Mapping[str, object]) -> str:
    return json.dumps({"id": IDS[number], "mac": f"52:54:00:00:00:{number:02}", "target": f"t-{name}", **fields})


@pytest.fixture(scope="module")
def facts() -> Mapping[str, str]:
    """What was found after the reboot."""
    with SystemdMachine(Hardware(modules=["dummy"], memory=1536), _BEFORE, _JOB) as machine:
        place = machine.directory / "vifs"
        place.mkdir()
        for number, (name, fields) in enumerate({**VIFS, **UNRECORDED}.items()):
            (place / name).write_text(document(number, name, fields))
        head, tail = domain("web", "\n").split("\n")
        (place / "head").write_text(head)
        (place / "tail").write_text(tail)
        deadline = time.monotonic() + 60 * _MINUTES
        while machine.runs() and time.monotonic() < deadline:
            time.sleep(0.5)
        found = machine.directory / "facts"
        assert found.exists(), f"{machine.output()[-6000:]}\n{machine.console()}"
        return {file.name: file.read_text() for file in Path(found).iterdir()}


def properties(shown: str) -> Mapping[str, str]:
    return dict(line.split("=", 1) for line in shown.splitlines())


def test_what_was_plugged_is_back_before_the_guest_starts(facts: Mapping[str, str]) -> None:
    recover, libvirtd = properties(facts["recover"]), properties(facts["libvirtd"])
    assert recover["Result"] == "success", facts["journal"]
    assert 0 < int(recover["ExecMainExitTimestampMonotonic"]) <= int(libvirtd["ExecMainStartTimestampMonotonic"])
    assert facts["running"].split() == ["web"]  # libvirt makes none of its taps, and starts it with nothing less
    assert json.loads(facts["differences"]) == [], facts["journal"]


def test_what_nobody_owns_is_removed(facts: Mapping[str, str]) -> None:
    assert properties(facts["gc"])["Result"] == "success" and facts["timer"] == "active\n", facts["journal"]
    assert set(facts["before"].split()) - set(facts["after"].split()) == {f"t-{name}" for name in UNRECORDED}
