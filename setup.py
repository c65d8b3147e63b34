"""Everything is in setup.cfg; this only tells pbr the version where git can't."""

import os
import subprocess
from pathlib import Path

import setuptools
from setuptools.config.setupcfg import read_configuration

HERE = Path(__file__).resolve().parent


def git(*arguments: str) -> bool:
    """Whether git succeeds; it fails where there is none, and in a repository of another user."""
    try:
        return subprocess.run(["git", *arguments], cwd=HERE, capture_output=True, check=False).returncode == 0
    except OSError:
        return False


def git_can_tell() -> bool:
    """Whether this is a repository of vifplug at a tag, or with a history: pbr calls a single commit 0.0.0."""
    return git("cat-file", "-e", "HEAD:./setup.py") and (git("describe", "--exact-match") or git("rev-parse", "HEAD~1"))


if not (HERE / "PKG-INFO").exists() and not git_can_tell():
    # an archive, or a clone of the last commit: some state on the way to the version in setup.cfg
    os.environ.setdefault("PBR_VERSION", read_configuration(HERE / "setup.cfg")["metadata"]["version"] + ".dev0")

setuptools.setup(setup_requires=["pbr>=6.1"], pbr=True)
