"""For every test: what it needs of the machine, that another has to run it, and when its turn is."""

from __future__ import annotations

import atexit
import os
import shutil
import signal
import tempfile

pytest_plugins = ("tests.plugins.elements", "tests.plugins.machines", "tests.plugins.order", "tests.plugins.skips")

# A shell without job control has what it starts in the background ignore SIGINT, and so would all that tests start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# What the workers and hundreds of commands import is compiled once, outside of the tree: root's files do not go there.
if "PYTEST_XDIST_WORKER" not in os.environ:
    os.environ["PYTHONPYCACHEPREFIX"] = tempfile.mkdtemp(prefix="vifplug-bytecode-")
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    atexit.register(shutil.rmtree, os.environ["PYTHONPYCACHEPREFIX"], ignore_errors=True)
