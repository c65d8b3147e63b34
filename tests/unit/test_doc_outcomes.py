"""doc/outcomes.md is true: it has every error, with its exit code and whether a retry helps, and every state."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import get_args

from vifplug import errors
from vifplug.store.store import State

TEXT = (Path(__file__).resolve().parents[2] / "doc" / "outcomes.md").read_text()


def test_every_error_is_there_with_its_exit_code_and_whether_a_retry_helps() -> None:
    message = re.findall(r"^\| (\d+) \| `(\w+)` \| (yes|no) \|", TEXT, re.MULTILINE)
    tree = [cls for _, cls in inspect.getmembers(errors, inspect.isclass) if issubclass(cls, errors.VifplugError)]
    there = {(str(cls.exit_code), cls.__name__, "yes" if cls.retryable else "no") for cls in tree}
    assert set(message) == there and len(message) == len(there)


def test_every_state_is_there() -> None:
    message = re.findall(r"^\| (`[a-z`, ]+`) \| ", TEXT, re.MULTILINE)
    assert sorted(re.findall(r"\w+", " ".join(message))) == sorted(get_args(State))
