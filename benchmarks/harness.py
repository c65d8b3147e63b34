"""Starts workers and asks them in turns, so that what the machine does besides meets all of them alike."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]

#: form, verb -> one answer of each round
Answers = dict[tuple[str, str], list[dict[str, Any]]]


@dataclass(frozen=True)
class Client:
    name: str
    #: of `worker.CLIENTS`
    kind: str = "vifplug"
    #: the checkout whose vifplug is measured
    tree: Path = ROOT


class Worker:
    def __init__(self, client: Client, ports: int, *, real: bool = False, under: Sequence[str] = ()) -> None:
        arguments = (client.kind, str(ports), "real" if real else "instant")
        words = [*under, sys.executable, str(ROOT / "benchmarks/worker.py"), *arguments]
        environment = {**os.environ, "PYTHONPATH": str(client.tree)}
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed with the worker
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": self._errors}
        self._process = subprocess.Popen(words, text=True, cwd=tempfile.gettempdir(), env=environment, **pipes)
        self._answer()

    def ask(self, form: str, count: int, *, batch: bool = False, measure: str = "time") -> dict[str, dict[str, Any]]:
        """Return, for each verb, what it cost for all VIFs. Raises RuntimeError with what the worker printed."""
        request = {"form": form, "count": count, "batch": batch, "measure": measure}
        print(json.dumps(request), file=self._stdin, flush=True)
        return self._answer()

    def close(self) -> None:
        self._stdin.close()
        self._process.wait()
        self._errors.close()

    @property
    def _stdin(self) -> Any:
        return self._process.stdin

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout
        if line := self._process.stdout.readline():
            answer: dict[str, Any] = json.loads(line)
            return answer
        self._errors.seek(0)
        raise RuntimeError(self._errors.read())


@contextmanager
def workers(clients: Iterable[Client], ports: int, *, real: bool) -> Iterator[dict[str, Worker]]:
    started: dict[str, Worker] = {}
    try:
        for client in clients:
            started[client.name] = Worker(client, ports, real=real)
        yield started
    finally:
        for each in started.values():
            each.close()


def own_calls(worker: Worker, form: str, count: int, *, batch: bool = False) -> dict[str, float]:
    """Return the calls of vifplug's own functions for one VIF, by verb."""
    found = worker.ask(form, count, batch=batch, measure="calls")
    return {verb: (sum(rooms.values()) - rooms.get("outside", 0)) / count for verb, rooms in found.items()}


def system_calls(form: str, count: int, *, batch: bool = False) -> dict[str, float]:
    """Return the system calls for one VIF, by verb, as strace(1) sees them."""
    with tempfile.NamedTemporaryFile("r") as trace:
        worker = Worker(Client("traced"), 0, under=("strace", "-f", "-qq", "-o", trace.name))
        try:
            worker.ask(form, count, batch=batch)
            worker.ask(form, count, batch=batch, measure="marks")
        finally:
            worker.close()
        return {verb: number / count for verb, number in _between_marks(trace).items()}


def _between_marks(lines: Iterable[str]) -> Counter[str]:
    found: Counter[str] = Counter()
    verb = ""
    for line in lines:
        if "/vifplug-" in line:
            verb = line.partition("/vifplug-begin/")[2].partition('"')[0]
        elif verb and not any(each in line for each in ("resumed>", "--- SIG", "ERESTARTNOINTR")):
            # the kernel has a call begin again that waits for the RTNL lock, which other tests hold
            found[verb] += 1
    return found


def in_turns(
    running: Mapping[str, Worker], forms: Sequence[str], *, rounds: int, count: int, batch: bool = False
) -> dict[str, Answers]:
    """Return, for each client, its answers; the first round, in which all is new, is not among them."""
    found: dict[str, Answers] = {name: {} for name in running}
    for turn in range(rounds + 1):
        for form in forms:
            for name, worker in running.items():
                for verb, answer in worker.ask(form, count if turn else 2, batch=batch).items():
                    if turn:
                        found[name].setdefault((form, verb), []).append(answer)
    return found


def least(answers: Sequence[Mapping[str, float]], key: str, count: int) -> float:
    """Return the milliseconds a VIF of the best round: what the machine does besides only adds to it."""
    return min(each[key] for each in answers) / count
