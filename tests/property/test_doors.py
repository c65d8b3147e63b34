"""Every door takes what the golden cases have, with parts of it exchanged: an answer or a sentence, and soon."""

from __future__ import annotations

import copy
import json
import random
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from lxml import etree

from tests.support.places import ROOT
from vifplug import VIF, Network, errors, interface_xml
from vifplug.guest import read
from vifplug.guest.domain import metadata
from vifplug.guest.xml import root_name
from vifplug.model.guestxml import NAMESPACE, escaped
from vifplug.neutron import vif_from_binding

GOLDEN = ROOT / "tests" / "golden"
ODD: tuple[Any, ...] = (
    *(None, True, -1, 4095, 2**32, 10**400, 0.5, float("nan"), "", "\0", "\x1b[2J", "\u202e", "\ud800", "x" * 300),
    *("9" * 5000, "1-4094," * 30, "0x10", "٣", "../../etc/passwd", "$(id)", "default", [], {}, [[]], {"a": 1}),
)
MAC = "52:54:00:6b:3c:58"


def documents(*folders: str) -> list[dict[str, Any]]:
    return [json.loads(each.read_text()) for folder in folders for each in sorted((GOLDEN / folder).glob("*/*.json"))]


def elements(folder: str, name: str) -> list[str]:
    texts = (each.read_text() for each in sorted((GOLDEN / folder).glob("*/*.xml")))
    return [text for text in texts if text.startswith(name) and root_name(text)]


def places(data: Any) -> Iterator[tuple[Any, Any]]:
    for key, value in data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ():
        yield data, key
        yield from places(value)


def changed(chance: random.Random, document: dict[str, Any]) -> dict[str, Any]:
    made = copy.deepcopy(document)
    for _ in range(chance.choice((1, 1, 2, 4))):
        if found := list(places(made)):
            where, key = chance.choice(found)
            where[key] = copy.deepcopy(chance.choice((*ODD, [where[key]] * 50, str(where[key])[:500])))
    return made


def mutilated(chance: random.Random, text: str) -> str:
    """Change an element: attributes, children of its own or of others; or the text itself."""
    root = etree.fromstring(text.encode())
    for _ in range(chance.choice((1, 1, 2, 4))):
        element = chance.choice([each for each in root.iter() if isinstance(each.tag, str)])
        value = str(chance.choice((*ODD[:5], "", "x" * 300, "9" * 5000, "1-4094", "../x")))[:6000]
        name = chance.choice([*map(str, element.attrib), "type", "id", "a"])
        action = chance.randrange(5)
        if action < 2:
            element.set(name, value)
        elif action == 2:
            element.attrib.pop(name, None)
        elif action == 3:
            element.extend(
                etree.Element(chance.choice(("tag", "vlan", "source", "x"))) for _ in range(chance.choice((1, 200)))
            )
        else:
            element.text = value
    made = etree.tostring(root, encoding="unicode")
    at = chance.randrange(len(made))
    return made if chance.random() < 0.7 else made[:at] + chance.choice(("<", "&", "\0", "'", "")) + made[at + 1 :]


def _json(chance: random.Random) -> None:
    vif = VIF.from_json(changed(chance, chance.choice(documents("cases"))))
    assert VIF.from_json(vif.to_json()) == vif and str(vif) and hash(vif)
    interface_xml(vif)


def _element(chance: random.Random) -> None:
    vif = VIF.from_xml(mutilated(chance, chance.choice(elements("cases", "<interface"))))
    assert VIF.from_data(json.loads(vif.to_json())) == vif


def _network(chance: random.Random) -> None:
    Network.from_xml(mutilated(chance, chance.choice(elements("networks", "<network"))))


def _port(chance: random.Random) -> None:
    bound = changed(chance, chance.choice(documents("neutron")))
    vif_from_binding(bound.get("port"), bound.get("guest"))


def _domain(chance: random.Random) -> None:
    document = json.dumps(changed(chance, chance.choice(documents("cases"))))
    interface = chance.choice(elements("cases", "<interface"))
    described = f"<v:vifs xmlns:v='{NAMESPACE}'><v:vif>{escaped(document)}</v:vif></v:vifs>"
    guest = f"<name>web</name><uuid>{'1' * 32}</uuid><metadata>{described}</metadata><devices>{interface}</devices>"
    text = mutilated(chance, f"<domain type='kvm'>{guest}</domain>")
    metadata.guest(text)
    read.domain(text)


@pytest.mark.parametrize("door", [_json, _element, _network, _port, _domain])
def test_a_door_answers_or_says_why_not(door: Callable[[random.Random], None]) -> None:
    for seed in range(80):
        started = time.process_time()
        try:
            door(random.Random(seed))
        except errors.VifplugError as error:
            assert str(error), seed
        assert time.process_time() - started < 2, seed
