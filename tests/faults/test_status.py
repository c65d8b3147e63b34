"""What a monitor is told: all is well, something is to be mended, or a verb would fail."""

from __future__ import annotations

import json
from typing import Any

from tests.support import command, records
from tests.support.command import WITHOUT_CAPABILITIES
from vifplug import VIF
from vifplug.testing.host import PrivateHost

ID = "9c4e2f10-6a1b-4c2d-9e3f-7a8b9c0d1e2f"
DOCUMENT: dict[str, Any] = {
    "id": ID,
    "type": "bridge",
    "mac": "52:54:00:12:34:56",
    "source": {"bridge": "br-int"},
    "virtualport": {"type": "openvswitch"},
}
TAP = f"tap{ID[:11]}"
#: as in some containers: the sysctls of IPv6 are not to be seen
MASKED = ("unshare", "-m", "sh", "-c", 'mount -t tmpfs none /proc/sys/net/ipv6; exec "$@"', "-")


def status(host: PrivateHost, *under: str) -> tuple[int, dict[str, tuple[str, str]]]:
    """Return the exit code, and the state and the detail of each subject."""
    answer = command.vifplug("status", "-f", "json", config=host.config, under=under)
    return answer.code, {each["subject"]: (each["state"], each["detail"]) for each in json.loads(answer.out)}


def states(found: dict[str, tuple[str, str]], state: str) -> list[str]:
    return [subject for subject, (each, _) in found.items() if each == state]


def test_all_is_well(host: PrivateHost) -> None:
    host.driver.plug(VIF.from_data(DOCUMENT))
    code, found = status(host)
    assert code == 0 and states(found, "ok") == ["record", "boot", "kernel", "Open vSwitch", "VIFs"] == list(found)
    [row] = json.loads(host.ovs.ctl("--format=json", "--columns=_uuid", "list", "Open_vSwitch"))["data"]
    assert row[0][1] in found["Open vSwitch"][1], "the generation of the database"
    assert host.driver.check() == [], "nothing was changed"


def test_what_is_to_be_mended(host: PrivateHost) -> None:
    host.driver.plug(VIF.from_data(DOCUMENT))
    host.ip("link", "set", TAP, "down")
    code, found = status(host)
    assert code == 1 and states(found, "different") == ["VIFs"] and "1 of tap" in found["VIFs"][1]
    records.execute(host, "UPDATE vif SET state = 'updating'")
    assert "1 updating" in status(host)[1]["changes"][1]
    records.execute(host, "DELETE FROM vif")
    code, found = status(host)
    assert code == 1 and states(found, "different") == ["marks"] and ID in found["marks"][1]
    host.driver.close()
    records.path_of(host).write_bytes(b"")
    code, found = status(host)
    assert code == 1 and states(found, "different") == ["record", "marks"]
    assert "was removed or emptied: run `vifplug recover`" in found["record"][1]


def test_what_would_fail(host: PrivateHost) -> None:
    """An ovs-vswitchd that holds its lock and does nothing is alive for the database, and gives no answer."""
    host.driver.plug(VIF.from_data(DOCUMENT))
    for under in (WITHOUT_CAPABILITIES, MASKED):
        code, found = status(host, *under)
        assert code == 3 and "kernel" in states(found, "not ready")
    host.ovs.pause("ovs-vswitchd")
    code, found = status(host)
    host.ovs.resume("ovs-vswitchd")
    assert code == 3 and states(found, "not ready") == ["Open vSwitch"]
    assert "did not apply it in time" in found["Open vSwitch"][1]
    host.driver.close()
    records.path_of(host).write_bytes(b"x" * 4096)
    code, found = status(host)
    assert code == 3 and "record" in states(found, "not ready")


def test_no_tap_is_plugged_without_its_hardening(host: PrivateHost) -> None:
    """Where the sysctls of IPv6 are masked, as in a container, a guest's router advertisement would be accepted."""
    answer = command.vifplug("plug", "-", config=host.config, under=MASKED, stdin=json.dumps(DOCUMENT))
    assert answer.code == 3 and "disable_ipv6" in answer.err and host.driver.list() == []
    assert TAP not in host.links()
    host.driver.plug(VIF.from_data(DOCUMENT))
    answer = command.vifplug("check", ID, "-f", "json", config=host.config, under=MASKED)
    assert answer.code == 1 and "disable_ipv6" in answer.out
    assert command.vifplug("unplug", ID, config=host.config, under=MASKED).code == 0
