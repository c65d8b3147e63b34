"""Waiting for what comes by itself."""

from __future__ import annotations

import time
from collections.abc import Callable


def becomes(condition: Callable[[], bool], seconds: float = 30) -> bool:
    """Whether ``condition`` holds within so many seconds; it is asked again and again."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True
