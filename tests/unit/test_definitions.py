"""The directory of networks: what counts as a definition, what is wrong with one, and when a file is read again."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from vifplug import Network, errors
from vifplug.driver import definitions
from vifplug.driver.definitions import NetworkDefinition, NetworkDirectory, StaticNetworks, get
from vifplug.networks import read


def text(name: str, bridge: str = "br0") -> str:
    return f"<network><name>{name}</name><forward mode='bridge'/><bridge name='{bridge}'/></network>"


def settled(path: Path, content: str) -> None:
    """A file that was written long enough ago for its time stamp to tell it from a later one."""
    path.write_text(content)
    deadline = time.monotonic() + 5
    while time.time() - path.stat().st_ctime < 0.11 and time.monotonic() < deadline:
        time.sleep(0.01)


def names(directory: NetworkDirectory) -> list[str]:
    return [each.name for each in directory.all()]


def bridge(directory: NetworkDirectory, name: str = "red") -> str | None:
    return get(directory, name).bridge


@pytest.fixture
def parsed(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """Every text that is read from now on."""
    seen: list[bytes] = []
    whole: Callable[[bytes], Network] = read.network

    def counted(element: bytes) -> Network:
        seen.append(element)
        return whole(element)

    monkeypatch.setattr(read, "network", counted)
    return seen


# -- what counts --------------------------------------------------------------------------------------------------


def test_a_directory_that_is_not_there_has_no_networks(tmp_path: Path) -> None:
    directory = NetworkDirectory(str(tmp_path / "networks.d"))
    assert directory.all() == []
    with pytest.raises(
        errors.UnknownNetwork,
        match=r"red is not defined on this host \(no networks are defined\): .* \[vifplug\] networks_dir",
    ):
        get(directory, "red")
    (tmp_path / "networks.d").mkdir()
    (tmp_path / "networks.d" / "a.xml").write_text(text("red"))
    assert bridge(directory) == "br0"
    (tmp_path / "networks.d" / "a.xml").unlink()
    (tmp_path / "networks.d").rmdir()
    assert directory.all() == []


def test_only_files_that_end_in_xml_and_are_not_hidden_count(tmp_path: Path) -> None:
    for name in ("red.xml~", ".red.xml", ".#red.xml", "red.xml.bak", "red.xml.dpkg-new", "#red.xml#", "red", "red.XML"):
        (tmp_path / name).write_text(text("red"))
    (tmp_path / "directory.xml").mkdir()
    (tmp_path / "directory.xml" / "inside.xml").write_text(text("red"))
    os.mkfifo(tmp_path / "fifo.xml")
    (tmp_path / "good.xml").write_text(text("green"))
    assert names(NetworkDirectory(str(tmp_path))) == ["green"]


def test_the_name_is_the_elements_and_not_the_files(tmp_path: Path) -> None:
    (tmp_path / "b.xml").write_text(text("alpha"))
    (tmp_path / "a.xml").write_text(text("beta"))
    found = NetworkDirectory(str(tmp_path)).all()
    assert [(each.name, Path(each.place).name) for each in found] == [("alpha", "b.xml"), ("beta", "a.xml")]


def test_a_link_to_a_file_is_followed(tmp_path: Path) -> None:
    (tmp_path / "all").mkdir()
    (tmp_path / "on").mkdir()
    (tmp_path / "all" / "red").write_text(text("red"))
    (tmp_path / "on" / "red.xml").symlink_to("../all/red")
    directory = NetworkDirectory(str(tmp_path / "on"))
    assert bridge(directory) == "br0"
    settled(tmp_path / "all" / "red", text("red", "br-new"))
    assert bridge(directory) == "br-new"


def test_a_link_that_leads_nowhere_hides_no_other_network(tmp_path: Path) -> None:
    (tmp_path / "red.xml").write_text(text("red"))
    (tmp_path / "gone.xml").symlink_to("nothing")
    assert bridge(NetworkDirectory(str(tmp_path))) == "br0"
    (tmp_path / "loop.xml").symlink_to("loop.xml")
    assert bridge(NetworkDirectory(str(tmp_path))) == "br0"


def test_a_directory_that_can_not_be_read_is_told(tmp_path: Path) -> None:
    loop, file = tmp_path / "loop", tmp_path / "file"
    loop.symlink_to("loop")
    file.write_text("")
    for path, reason in ((loop, "Too many levels of symbolic links"), (file, "Not a directory")):
        with pytest.raises(errors.Missing, match=f"networks_dir, {path}, cannot be read: {reason}"):
            NetworkDirectory(str(path)).all()


# -- what is wrong ------------------------------------------------------------------------------------------------


def test_a_broken_file_is_told_with_its_lines_and_hides_no_other(tmp_path: Path) -> None:
    (tmp_path / "a.xml").write_text("<network>\n<name>red</name>\n<forward mode='bridge'/>\n<frob/>\n<nat/></network>")
    (tmp_path / "b.xml").write_text("<network")
    (tmp_path / "c.xml").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "d.xml").write_text("")
    (tmp_path / "e.xml").write_text(text("green"))
    directory = NetworkDirectory(str(tmp_path))
    assert bridge(directory, "green") == "br0"
    assert [(each.name, each.network is None, bool(each.problems)) for each in directory.all()] == [
        ("", True, True),
        ("", True, True),
        ("", True, True),
        ("green", False, False),
        ("red", True, True),
    ]
    with pytest.raises(
        errors.UnknownNetwork, match=r"network red cannot be used: .*a\.xml: .*line 4.*<frob>.*; line 5.*<nat>"
    ):
        get(directory, "red")
    with pytest.raises(
        errors.UnknownNetwork, match=r"network b is not defined.*b\.xml, .*c\.xml and .*d\.xml cannot be read"
    ):
        get(directory, "b")
    with pytest.raises(errors.UnknownNetwork, match=r"network blue is not defined.*defined: green\); .*b\.xml"):
        get(directory, "blue")


def test_a_file_that_can_not_be_read_is_told_and_hides_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Root may read everything, so the kernel's answer is given here by its stand-in."""
    (tmp_path / "red.xml").write_text(text("red"))
    (tmp_path / "green.xml").write_text(text("green"))
    whole = Path.read_bytes

    def refused(path: Path) -> bytes:
        if path.name == "red.xml":
            raise PermissionError(13, "Permission denied")
        return whole(path)

    monkeypatch.setattr(Path, "read_bytes", refused)
    directory = NetworkDirectory(str(tmp_path))
    assert bridge(directory, "green") == "br0"
    with pytest.raises(
        errors.UnknownNetwork,
        match=r"red is not defined on this host \(defined: green\); .*red\.xml cannot be read",
    ):
        get(directory, "red")
    monkeypatch.undo()
    assert bridge(directory) == "br0"


def test_a_name_that_several_files_give_is_wrong_in_each_and_the_others_stay(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        (tmp_path / f"{name}.xml").write_text(text("red"))
    (tmp_path / "d.xml").write_text(text("green"))
    directory = NetworkDirectory(str(tmp_path))
    assert bridge(directory, "green") == "br0"
    wrong = [each for each in directory.all() if each.name == "red"]
    assert len(wrong) == 3 and not any(each.network for each in wrong)
    for each in wrong:
        others = {name for name in "abc" if not each.place.endswith(f"{name}.xml")}
        assert all(f"{name}.xml" in str(each) for name in others)
        assert f"{each.place} " not in str(each)
    (tmp_path / "a.xml").unlink()
    (tmp_path / "c.xml").unlink()
    assert bridge(directory) == "br0"


def test_a_broken_copy_has_the_name_as_well(tmp_path: Path) -> None:
    (tmp_path / "a.xml").write_text(text("red"))
    (tmp_path / "b.xml").write_text(text("red").replace("bridge'/>", "nat'/>"))
    with pytest.raises(errors.UnknownNetwork, match="is the name of the network in"):
        get(NetworkDirectory(str(tmp_path)), "red")


def test_a_file_without_a_name_takes_no_name_from_another(tmp_path: Path) -> None:
    (tmp_path / "a.xml").write_text(text("red"))
    (tmp_path / "red.xml").write_text("<network>")
    assert bridge(NetworkDirectory(str(tmp_path))) == "br0"


def test_spaces_around_the_name_of_a_broken_network_do_not_count(tmp_path: Path) -> None:
    (tmp_path / "a.xml").write_text("<network><name>\n red </name><forward mode='nat'/></network>")
    with pytest.raises(errors.UnknownNetwork, match="network red cannot be used"):
        get(NetworkDirectory(str(tmp_path)), "red")


# -- what changes -------------------------------------------------------------------------------------------------


def test_a_file_that_is_replaced_by_renaming_is_read_again(tmp_path: Path) -> None:
    """As editors and configuration management do it; here with the same size and the same time stamps."""
    path, new = tmp_path / "red.xml", tmp_path / ".new"
    directory = NetworkDirectory(str(tmp_path))
    for number in range(30):
        new.write_text(text("red", f"br{number:02}"))
        os.utime(new, (1, 1))
        new.rename(path)
        assert bridge(directory) == f"br{number:02}"


def test_a_file_that_is_rewritten_in_place_is_read_again(tmp_path: Path) -> None:
    """As fast as can be, with the same size and a time of modification that is put back: the kernel's clock ticks."""
    path = tmp_path / "red.xml"
    directory = NetworkDirectory(str(tmp_path))
    for number in range(90):
        path.write_text(text("red", f"br{number:02}"))
        os.utime(path, (1, 1))
        assert bridge(directory) == f"br{number:02}"


def test_a_file_that_is_removed_or_renamed_is_gone_at_once(tmp_path: Path) -> None:
    settled(tmp_path / "red.xml", text("red"))
    directory = NetworkDirectory(str(tmp_path))
    assert names(directory) == names(directory) == ["red"]
    (tmp_path / "red.xml").rename(tmp_path / "red.xml.off")
    assert names(directory) == []
    (tmp_path / "red.xml.off").rename(tmp_path / "red.xml")
    assert names(directory) == ["red"]
    (tmp_path / "red.xml").unlink()
    assert names(directory) == []


def test_a_file_may_go_while_the_directory_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "red.xml").write_text(text("red"))
    (tmp_path / "green.xml").write_text(text("green"))
    whole = os.stat

    def late(path: str) -> os.stat_result:
        (tmp_path / "red.xml").unlink(missing_ok=True)
        return whole(path)

    monkeypatch.setattr("vifplug.driver.definitions.os.stat", late)
    assert bridge(NetworkDirectory(str(tmp_path)), "green") == "br0"


def test_only_files_that_have_changed_are_parsed_again(tmp_path: Path, parsed: list[bytes]) -> None:
    for name in ("a", "b"):
        (tmp_path / f"{name}.xml").write_text(text(name))
    settled(tmp_path / "c.xml", "<network><name>c</name></network>")
    directory = NetworkDirectory(str(tmp_path))
    first = directory.all()
    assert len(parsed) == 3
    assert directory.all() == first and len(parsed) == 3
    settled(tmp_path / "b.xml", text("b", "br-new"))
    directory.all()
    assert [b"br-new" in each for each in parsed[3:]] == [True]
    (tmp_path / "c.xml").unlink()
    directory.all()
    settled(tmp_path / "c.xml", text("c"))
    directory.all()
    assert len(parsed) == 5
    assert directory.all() and len(parsed) == 5


def test_a_file_that_was_just_written_is_not_trusted_yet(
    tmp_path: Path, parsed: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its time stamp may be that of another write a moment later; how long a moment is depends on the kernel."""
    monkeypatch.setattr(definitions, "_RACY", 3600)
    (tmp_path / "red.xml").write_text(text("red"))
    directory = NetworkDirectory(str(tmp_path))
    assert directory.all() == directory.all()
    assert len(parsed) == 2


def test_threads_may_ask_while_files_change(tmp_path: Path) -> None:
    """Nobody sees a network that is in the directory all the time missing, nor half a file."""
    for number in range(20):
        (tmp_path / f"{number}.xml").write_text(text(f"n{number}"))
    directory, done = NetworkDirectory(str(tmp_path)), threading.Event()

    def ask() -> int:
        asked = 0
        while not done.is_set() or not asked:
            found = {each.name: each for each in directory.all()}
            assert {f"n{number}" for number in range(20)} <= set(found)
            assert all(each.network for each in found.values())
            asked += 1
        return asked

    with ThreadPoolExecutor(4) as pool:
        asking = [pool.submit(ask) for _ in range(4)]
        for number in range(200):
            new = tmp_path / ".new"
            new.write_text(text(f"n{number % 20}", f"br{number}"))
            new.rename(tmp_path / f"{number % 20}.xml")
        done.set()
        assert all(future.result() for future in asking)
    assert bridge(directory, "n19") == "br199"


# -- objects ------------------------------------------------------------------------------------------------------


def test_networks_may_be_given_as_objects() -> None:
    red, blue = (Network.from_data({"name": name, "mode": "vepa", "devices": ["e0"]}) for name in ("red", "blue"))
    given = StaticNetworks([red, blue])
    assert given.all() == [
        NetworkDefinition(name="blue", place="given", network=blue),
        NetworkDefinition(name="red", place="given", network=red),
    ]
    assert get(given, "red") is red
    with pytest.raises(errors.UnknownNetwork, match="defined: blue and red"):
        get(given, "green")
