"""What a document makes of a terminal and of a shell: nothing."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.command import VIFPLUG

ID = "3f8a1c52-77d0-4a6e-9b1d-0c2e5f6a7b81"
BAD = "^\x1b]0;pwned\x07\x1b[2J\x9b31m\u202egpj\u2066\u2028x"
SHOWN = r"^\x1b]0;pwned\x07\x1b[2J\x9b31m\u202egpj\u2066"
DOCUMENT: dict[str, Any] = {"id": ID, "type": "bridge", "mac": "52:54:00:11:22:33", "source": {"bridge": "br0"}}


def on_a_terminal(*command: str, cwd: Path) -> str:
    """What a command writes to a terminal that is its stdout and its stderr."""
    master, slave = pty.openpty()
    with (
        os.fdopen(master, "rb", buffering=0) as terminal,
        subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=slave, stderr=slave, cwd=cwd) as process,
    ):
        os.close(slave)
        written = b""
        try:
            while received := terminal.read(4096):
                written += received
        except OSError:  # EIO: the last writer has closed it
            pass
        process.wait()
    return written.decode()


def files(tmp_path: Path) -> None:
    (tmp_path / "key.json").write_text(json.dumps({**DOCUMENT, BAD: 1}))
    (tmp_path / "value.json").write_text(json.dumps({**DOCUMENT, "model": BAD}))
    (tmp_path / "good.json").write_text(json.dumps(DOCUMENT))
    (tmp_path / "host.json").write_text(json.dumps({"host": BAD, "networks": {}, "types": [BAD]}))
    (tmp_path / "domain.xml").write_text(
        f"<domain><title>\x9b2J\u202e</title><devices><interface type='bridge'><mac address='{DOCUMENT['mac']}'/>"
        "<source bridge='br0'/></interface></devices></domain>"
    )
    (tmp_path / f"{BAD[:20]}.conf").write_text("[vifplug]\nstate_pth = x\n")


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        (("xml", "key.json"), SHOWN),
        (("xml", "value.json"), ""),
        (("candidates", "good.json", "--host", "host.json"), r"^\x1b]0;pwned"),
        (("xml", "edit", "domain.xml", "--mac", DOCUMENT["mac"], "--vlan", "7"), r"\x9b2J\u202e"),
        (("--debug", "xml", "key.json"), SHOWN),
        (("--config-file", f"{BAD[:20]}.conf", "xml", "good.json"), r"^\x1b]0;pwned"),
        ((BAD,), SHOWN),
        (("show", BAD), r"\x1b]0;pwned"),
        (("xml", "good.json", f"--{BAD}"), SHOWN),
    ],
)
def test_text_of_a_document_reaches_a_terminal_escaped(tmp_path: Path, words: tuple[str, ...], shown: str) -> None:
    files(tmp_path)
    written = on_a_terminal(VIFPLUG, *words, cwd=tmp_path)
    assert shown in written and written
    assert not {"\x1b", "\x07", "\x9b", "\u202e", "\u2066", "\u2028"} & set(written), written


def test_a_sentence_is_escaped_wherever_it_goes(tmp_path: Path) -> None:
    """libvirt shows what its hook writes to a pipe."""
    files(tmp_path)
    done = subprocess.run([VIFPLUG, "xml", "key.json"], capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 2 and SHOWN in done.stderr and "\x1b" not in done.stderr


def test_a_shell_runs_nothing_of_what_is_shown(tmp_path: Path) -> None:
    code = """
import sys
from argparse import Namespace
from vifplug.cli.output import Shell, data
bad = "a$(touch ran)`touch ran`' ; touch ran ; \\"x"
values = [bad, "1", data({"a": bad})]
Shell().emit_one(["name", "vif-id", "nested"], values, sys.stdout, Namespace(prefix="", variables=[]))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    script = 'eval "$1"; printf %s "$name"'
    shell = subprocess.run(
        ["sh", "-c", script, "sh", done.stdout], capture_output=True, text=True, cwd=tmp_path, check=True
    )
    assert shell.stdout == "a$(touch ran)`touch ran`' ; touch ran ; \"x"
    assert list(tmp_path.iterdir()) == []
