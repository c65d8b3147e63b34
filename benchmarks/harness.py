"""Starts workers and asks them in turns, so that what the machine does besides meets all of them alike."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
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
    def __init__(self, client: Client, ports: int, *, real: bool) -> None:
        words = [
            sys.executable,
            str(ROOT / "benchmarks/worker.py"),
            client.kind,
            str(ports),
            "real" if real else "instant",
        ]
        environment = {**os.environ, "PYTHONPATH": str(client.tree)}
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed with the worker
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": self._errors}
        self._process = subprocess.Popen(words, text=True, cwd=tempfile.gettempdir(), env=environment, **pipes)
        self._answer()

    def ask(self, form: str, count: int, *, batch: bool = False, calls: bool = False) -> dict[str, dict[str, Any]]:
        """Return, for each verb, what it cost for all VIFs. Raises RuntimeError with what the worker printed."""
        print(json.dumps({"form": form, "count": count, "batch": batch, "calls": calls}), file=self._stdin, flush=True)
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
