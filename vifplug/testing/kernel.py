"""A kernel for emulated machines, and what it boots into.

A directory has it as a distribution's package unpacks to: ``boot/vmlinuz-VERSION`` and ``lib/modules/VERSION``, with
the lists that depmod(8) makes.
"""

from __future__ import annotations

import functools
import lzma
import os
import re
import shutil
import struct
import subprocess
import tempfile
import zlib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from vifplug.testing import MissingRequirement
from vifplug.testing.needs import require

BUSYBOX = "/bin/busybox"


class Kernel:
    """The kernel in a directory. Raises MissingRequirement if there is none."""

    def __init__(self, place: Path) -> None:
        self.place = place.resolve()
        image = next(self.place.glob("boot/vmlinuz-*"), None)
        if image is None:
            raise MissingRequirement(f"no boot/vmlinuz-* in {self.place}")
        #: the compressed kernel
        self.image = image
        self.version = image.name.removeprefix("vmlinuz-")

    @classmethod
    def named(cls, variable: str) -> Kernel:
        """Return the kernel in the directory that an environment variable names. Raises MissingRequirement."""
        if variable not in os.environ:
            raise MissingRequirement(f"{variable} names no directory with boot/vmlinuz-* and lib/modules/*")
        return cls(Path(os.environ[variable]))

    def modules(self, names: Iterable[str]) -> list[Path]:
        """Return the files of modules in the order of loading. Raises MissingRequirement for an unknown module."""
        require("modprobe")
        command = ["modprobe", "--dirname", str(self.place), "--set-version", self.version, "--show-depends", "--all"]
        found = subprocess.run([*command, *names], capture_output=True, text=True, check=False)
        if found.returncode:
            raise MissingRequirement(f"kernel {self.version} in {self.place}: {found.stderr.strip()}")
        return [Path(each) for each in dict.fromkeys(re.findall(r"^insmod (\S+)", found.stdout, re.MULTILINE))]

    def elf(self) -> bytes:
        """Return the uncompressed kernel: under emulation, decompression takes thrice as long as the boot.

        Raises MissingRequirement for an unknown compression.
        """
        payload = _payload(self.image.read_bytes())
        for magic, decompressed in _COMPRESSIONS.items():
            if payload.startswith(magic):
                return decompressed(payload)
        raise MissingRequirement(f"{self.image} unknown compression (its payload begins with {payload[:6].hex()})")


def initramfs(target: Path, kernel: Kernel, modules: Iterable[str], files: Mapping[str, str]) -> None:
    """Write a root file system: busybox with all its programs, programs of one's own, and ``/modules``.

    ``files`` are programs by path, ``init`` among them. ``/modules`` lists the files of ``modules``, in the order in
    which insmod(8) takes them. Raises MissingRequirement.
    """
    require(BUSYBOX, "cpio")
    with tempfile.TemporaryDirectory(prefix="vifplug-initramfs-") as directory:
        tree = Path(directory)
        for place in ("bin", "proc", "sys", "dev", "lib", "tmp"):
            (tree / place).mkdir()
        shutil.copy(BUSYBOX, tree / "bin/busybox")
        for program in _programs():
            (tree / "bin" / program).symlink_to("busybox")
        copied = [Path(shutil.copy(file, tree / "lib")) for file in kernel.modules(modules)]
        (tree / "modules").write_text("".join(f"/lib/{file.name}\n" for file in copied))
        for name, text in files.items():
            (tree / name).write_text(text)
            (tree / name).chmod(0o755)
        _archive(tree, target)


def _archive(tree: Path, target: Path) -> None:
    listed = "\n".join(str(path.relative_to(tree)) for path in sorted(tree.rglob("*")))
    with target.open("wb") as archive:
        command = ["cpio", "--create", "--format=newc", "--quiet"]
        subprocess.run(command, cwd=tree, input=listed.encode(), stdout=archive, check=True)


def _programs() -> list[str]:
    listed = subprocess.run([BUSYBOX, "--list"], capture_output=True, text=True, check=True)
    return [name for name in listed.stdout.split() if name != "busybox"]


def _payload(image: bytes) -> bytes:
    """Return a bzImage's compressed part (Documentation/arch/x86/boot.rst: setup_sects, payload_offset, _length)."""
    sectors = image[0x1F1] or 4
    offset, length = struct.unpack_from("<II", image, 0x248)
    start = (sectors + 1) * 512 + offset
    return image[start : start + length]


def _filtered(program: str, payload: bytes) -> bytes:
    """Return the payload without its last four bytes, which the kernel's build adds: the uncompressed size."""
    require(program)
    return subprocess.run([program, "-dc"], input=payload[:-4], stdout=subprocess.PIPE, check=True).stdout


_COMPRESSIONS: Mapping[bytes, Callable[[bytes], bytes]] = {
    b"\xfd7zXZ\0": lambda payload: lzma.LZMADecompressor().decompress(payload),
    b"\x1f\x8b": lambda payload: zlib.decompressobj(31).decompress(payload),
    b"\x28\xb5\x2f\xfd": functools.partial(_filtered, "zstd"),
    b"\x02\x21\x4c\x18": functools.partial(_filtered, "lz4"),
}
