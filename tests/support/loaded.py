"""The modules that a program has loaded after it has plugged, checked and unplugged VIFs."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

from vifplug.testing.host import PrivateHost

CODE = """
import json, sys
from vifplug import VIF, VIFDriver, conf
with VIFDriver(conf.load([sys.argv[1]])) as driver:
    for document in json.loads(sys.argv[2]):
        vif = VIF.from_json(document)
        driver.plug(vif)
        assert not driver.plug(vif).changed
        assert driver.check() == [], driver.check()
        driver.unplug(vif.id)
print(*sys.modules)
"""


def loaded(host: PrivateHost, *documents: dict[str, Any]) -> set[str]:
    """Those of a fresh interpreter on ``host``."""
    command = [sys.executable, "-c", CODE, str(host.config), json.dumps(documents)]
    with host.inside():
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())
