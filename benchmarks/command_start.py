"""How long the command takes to start: the wall-clock and processor time of verbs that do little.

``python benchmarks/command_start.py [ROUNDS]``; the first line is Python itself, the next two what cliff and
oslo.config cost alone. The least of all rounds is shown: what the machine does besides only adds to it.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

VIFPLUG = str(Path(sys.executable).with_name("vifplug"))
DOCUMENT = {"id": "aaaaaaaa-0000-4000-8000-000000000001", "type": "ethernet", "mac": "52:54:00:00:00:01"}


def cost(command: list[str]) -> tuple[float, float]:
    """Milliseconds of one run: elapsed, and of processor time."""
    used, began = _processor(), time.monotonic()
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
    return 1000 * (time.monotonic() - began), 1000 * (_processor() - used)


def _processor() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def main(rounds: int) -> None:
    with tempfile.TemporaryDirectory() as directory:
        config, document = Path(directory, "vifplug.conf"), Path(directory, "vif.json")
        config.write_text(f"[vifplug]\nstate_path = {directory}/state\n")
        document.write_text(json.dumps(DOCUMENT))
        verbs = [["--help"], ["xml", str(document)], ["types"], ["list"]]
        commands = {
            "python": [sys.executable, "-c", "pass"],
            "cliff": [sys.executable, "-c", "import cliff.app, cliff.lister, cliff.show"],
            "cliff, oslo.config": [sys.executable, "-c", "import cliff.app, cliff.lister, cliff.show, oslo_config.cfg"],
            **{f"vifplug {verb[0]}": [VIFPLUG, "--config-file", str(config), *verb] for verb in verbs},
        }
        for name, command in commands.items():
            elapsed, processor = map(min, zip(*(cost(command) for _ in range(rounds)), strict=True))
            print(f"{name:20} {elapsed:5.0f} ms {processor:5.0f} ms of processor")


if __name__ == "__main__":
    os.environ.setdefault("PYTHONDONTWRITEBYTECODE", "1")
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 10)
