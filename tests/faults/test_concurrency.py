"""Many at once: the same VIF from eight threads and eight processes, and neighbours that do not know of each other."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

from tests.support.memory import Bench
from vifplug import VIF, errors
from vifplug.store.store import Store
from vifplug.testing.host import PrivateHost

ID = "9c4e2f10-6a1b-4c2d-9e3f-7a8b9c0d1e2f"
DOCUMENT = {
    "id": ID,
    "type": "bridge",
    "mac": "52:54:00:12:34:56",
    "source": {"bridge": "br-int", "hybrid": True},
    "virtualport": {"type": "openvswitch"},
    "vlan": 10,
}

#: plug and unplug by turns, or only plug; what went wrong is printed
WORKER = """
import json, sys
from vifplug import VIF, VIFDriver
from vifplug import conf
with VIFDriver(conf.load([sys.argv[1]])) as driver:
    vif = VIF.from_json(sys.argv[2])
    for turn in range(int(sys.argv[3])):
        driver.plug(vif)
        if sys.argv[4] == "flip":
            driver.unplug(vif.id)
"""


def workers(host: PrivateHost, documents: list[dict[str, Any]], turns: int, manner: str) -> list[str]:
    """Run a process for each document at once; what they complained of."""
    command = ["ip", "netns", "exec", host.namespace, sys.executable, "-c", WORKER, str(host.config)]
    running = [
        subprocess.Popen([*command, json.dumps(document), str(turns), manner], stderr=subprocess.PIPE, text=True)
        for document in documents
    ]
    return [complaint for each in running if (complaint := each.communicate(timeout=120)[1])]


def test_the_same_vif_from_eight_threads(host: PrivateHost) -> None:
    """os-vif: 22 of 32 such calls raise."""
    from vifplug.testing import netns

    problems: list[Exception] = []

    def work() -> None:
        try:
            with netns.inside(host.namespace):
                for _ in range(4):
                    host.driver.plug(VIF.from_json(DOCUMENT))
        except Exception as error:  # noqa: BLE001 (whatever it is, it is a failure of this test)
            problems.append(error)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == []
    assert host.driver.check() == [] and host.ports("br-int") == {"qvo9c4e2f10-6a"}
    host.driver.unplug(ID)


def test_the_same_vif_from_eight_processes(host: PrivateHost) -> None:
    assert workers(host, [DOCUMENT] * 8, 4, "plug") == []
    assert host.driver.check() == [] and host.ports("br-int") == {"qvo9c4e2f10-6a"}
    host.driver.unplug(ID)
    assert host.links() == {"br-int"} | host.links() & {"ovs-netdev"}


def test_plug_and_unplug_of_the_same_vif_by_turns_from_eight_processes(host: PrivateHost) -> None:
    assert workers(host, [DOCUMENT] * 8, 3, "flip") == []
    host.driver.unplug(ID)
    assert host.driver.list() == [] and host.ports("br-int") == set()
    assert not {link for link in host.links() if link.startswith(("tap", "qbr", "qvo", "qvb"))}


def test_eight_vifs_from_eight_processes_on_a_bridge_that_does_not_exist_yet(host: PrivateHost) -> None:
    documents = [
        {**DOCUMENT, "id": f"{number:08x}-6a1b-4c2d-9e3f-7a8b9c0d1e2f", "mac": f"52:54:00:12:34:{number:02x}"}
        for number in range(8)
    ]
    assert workers(host, documents, 1, "plug") == []
    assert len(host.ports("br-int")) == 8 and host.driver.check() == []


def test_a_vif_that_another_works_on_holds_a_reconcile_up_once(tmp_path: Path) -> None:
    """Those that are not to blame are reconciled; none of the parts in which they are waits as long again."""
    bench = Bench(tmp_path)
    some = [
        VIF.from_data({"id": f"{number:08x}{ID[8:]}", "type": "ethernet", "mac": f"52:54:00:12:34:{number:02x}"})
        for number in range(16)
    ]
    bench.driver.plug_many([(each, None) for each in some])
    with Store(tmp_path / "state").lock([some[7].id], 0), bench.home.driver(lock_timeout=1) as driver:
        began = time.monotonic()
        outcomes = driver.reconcile()
        waited = time.monotonic() - began
    assert {each.vif_id for each in outcomes if isinstance(each.error, errors.Busy)} == {some[7].id}
    assert len(outcomes) == len(some) and waited < 3.5, "a second, and little more"
