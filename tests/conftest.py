"""For every test: what it needs of the machine, that another has to run it, and when its turn is."""

from __future__ import annotations

import signal

pytest_plugins = ("tests.plugins.elements", "tests.plugins.machines", "tests.plugins.order", "tests.plugins.skips")

# A shell without job control has what it starts in the background ignore SIGINT, and so would all that tests start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
