"""Compare a type's answers in several processes, with other orders of sets (PYTHONHASHSEED) and other times.

The desired state is compared with what another process recorded, so it must not depend on either.
"""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import Any

from vifplug.model.vif import VIF
from vifplug.plugins import bound
from vifplug.types.base import Context, VIFType

#: hash seeds; two elements of a set come in another order under about every second one
_SEEDS = (0, 1, 2, 3)
_DAY = 86_400  # seconds


class NotComparable(Exception):
    """The answers of other processes are not available; ``str()`` says why."""


def differs(kind: type[VIFType], vifs: Sequence[VIF], context: Context) -> str:
    """Return a sentence with the first difference; empty if there is none. Raises NotComparable."""
    try:
        question = pickle.dumps((kind, [vif.to_data() for vif in vifs], context))
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise NotComparable(f"{kind.__name__} cannot be found by its name from another process: {error}") from None
    children = [_child(seed, day) for day, seed in enumerate(_SEEDS)]
    answers = [_answer(child, question) for child in children]
    other = next((each for each in answers if each != answers[0]), None)
    if other is None:
        return ""
    return f"another process, at another time, gets another answer: {answers[0]} and {other}: sort sets, use no clock"


def _child(seed: int, day: int) -> subprocess.Popen[bytes]:
    """Start an interpreter that answers a question; its clock is ``day`` days ahead before a plugin is imported."""
    environment = {**os.environ, "PYTHONHASHSEED": str(seed), "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    code = f"from vifplug.testing import cross_process; cross_process.answer({day})"
    command = [sys.executable, "-c", code]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, env=environment, stdin=pipe, stdout=pipe, stderr=pipe)


def _answer(child: subprocess.Popen[bytes], question: bytes) -> str:
    out, complaint = child.communicate(question)
    if child.returncode:
        raise NotComparable(complaint.decode(errors="replace").strip().rpartition("\n")[2])
    return out.decode()


def answer(day: int) -> None:
    """Print the answers of the type for each VIF of the question on stdin. Runs in a process of its own."""
    now, now_ns = time.time, time.time_ns
    time.time = lambda: now() + day * _DAY
    time.time_ns = lambda: now_ns() + day * _DAY * 10**9
    cls, documents, context = pickle.load(sys.stdin.buffer)
    kind = cls()
    sys.stdout.write("; ".join(_describe(kind, bound(VIF.from_data(each), kind), context) for each in documents))


def _describe(kind: VIFType, vif: VIF, context: Context) -> str:
    plain: list[Any] = [kind.interface(vif, context).to_data()]
    plain += [{"kind": each.kind, **each.to_data()} for each in kind.desired(vif, context)]
    return json.dumps(plain, sort_keys=True)
