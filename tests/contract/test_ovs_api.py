"""ovsdbapp's API on vifplug's pool, call by call next to ovsdbapp's own implementation, each on a switch of its own."""

from __future__ import annotations

import inspect
import json
import re
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from ovsdbapp.backend.ovs_idl import connection, idlutils
from ovsdbapp.backend.ovs_idl.idlutils import RowNotFound
from ovsdbapp.schema.open_vswitch import api as abstract
from ovsdbapp.schema.open_vswitch import impl_idl

from vifplug.host.ovs.ovsdbapp_api.api import Api
from vifplug.host.ovs.pool import Pool
from vifplug.host.ovs.settings import OvsSettings
from vifplug.host.ovs.transaction import CommandRefused
from vifplug.testing.ovs import PrivateOvs


class Stock(impl_idl.OvsdbIdl):  # type: ignore[misc]
    """ovsdbapp's own, with a connection of its own: ovsdbapp keeps the first one of a process for all."""

    _ovsdb_connection = None


@pytest.fixture
def ovs() -> Iterator[PrivateOvs]:
    with PrivateOvs() as switch:
        yield switch


@pytest.fixture
def ours(ovs: PrivateOvs) -> Iterator[Api]:
    pool = Pool(OvsSettings(connection=ovs.connection))
    yield Api(pool)
    pool.close()


@pytest.fixture
def stock() -> Iterator[Any]:
    with PrivateOvs() as switch:
        helper = idlutils.get_schema_helper(switch.connection, "Open_vSwitch")
        helper.register_all()
        idl = connection.OvsdbIdl(switch.connection, helper)
        line = connection.Connection(idl, timeout=10)
        kind = type("Own", (Stock,), {"_ovsdb_connection": None})
        api = kind(line)
        api.switch = switch
        yield api
        line.stop()


CALLS: list[tuple[Any, ...]] = [
    ("add_br", "br0"),
    ("add_br", "br0", True, "netdev"),
    ("add_br", "br1", False, "netdev"),
    ("add_br", "br2"),
    ("br_exists", "br0"),
    ("br_exists", "none"),
    ("list_br",),
    ("add_port", "br0", "p0"),
    ("add_port", "br0", "p0"),
    ("add_port", "br0", "p1", False, {"type": "internal", "external_ids": {"a": "b", "c": "d"}}),
    ("add_port", "none", "p2"),
    ("list_ports", "br0"),
    ("list_ifaces", "br0"),
    ("list_ports", "none"),
    ("port_to_br", "p0"),
    ("iface_to_br", "p1"),
    ("port_to_br", "none"),
    ("br_set_external_id", "br0", "k", "v"),
    ("br_get_external_id", "br0", "k"),
    ("br_get_external_id", "br0", "none"),
    ("iface_set_external_id", "p0", "k", "v"),
    ("iface_get_external_id", "p0", "k"),
    ("iface_set_external_id", "none", "k", "v"),
    ("set_controller", "br0", ["tcp:127.0.0.1:6653", "tcp:127.0.0.1:6654"]),
    ("get_controller", "br0"),
    ("del_controller", "br0"),
    ("get_controller", "br0"),
    ("set_fail_mode", "br0", "secure"),
    ("db_get", "Bridge", "br0", "fail_mode"),
    ("add_manager", "ptcp:0:127.0.0.1"),
    ("get_manager",),
    ("remove_manager", "ptcp:0:127.0.0.1"),
    ("remove_manager", "none"),
    ("get_manager",),
    ("db_set", "Port", "p0", ("tag", 5), ("trunks", [1, 2]), ("other_config", {"x": "y"})),
    ("db_set", "Port", "p0", ("other_config", {"x": "z", "w": "1"})),
    ("db_set", "Port", "none", ("tag", 5)),
    ("db_set", "Port", "p1", {"if_exists": False, "tag": 8}),
    ("db_get", "Port", "p0", "tag"),
    ("db_get", "Port", "p0", "trunks"),
    ("db_get", "Port", "p0", "other_config"),
    ("db_get", "Port", "p0", "vlan_mode"),
    ("db_get", "Port", "none", "tag"),
    ("db_add", "Port", "p0", "trunks", 3, 4),
    ("db_add", "Port", "p0", "other_config", {"x": "kept", "v": "new"}),
    ("db_remove", "Port", "p0", "trunks", 1, 9),
    ("db_remove", "Port", "p0", "other_config", "w"),
    ("db_remove", "Port", "p0", "other_config", {"v": "other"}),
    ("db_remove", "Port", "p0", "other_config", {"v": "new"}),
    ("db_remove", "Port", "none", "trunks", 1, {"if_exists": True}),
    ("db_remove", "Port", "none", "trunks", 1),
    ("db_clear", "Port", "p0", "tag"),
    ("db_clear", "Port", "p0", "other_config"),
    ("db_list", "Port", ["p0", "p1"], ["name", "tag", "trunks"]),
    ("db_list", "Port", ["p0", "none"], ["name"]),
    ("db_list", "Port", ["p0", "none"], ["name"], True),
    ("db_list", "Interface", None, ["name", "type", "external_ids", "mtu_request"]),
    ("db_list_rows", "Port", ["p1"]),
    ("db_find", "Port", ("name", "=", "p0"), {"columns": ["name", "trunks"]}),
    ("db_find", "Port", ("tag", "=", 8), {"columns": ["name"]}),
    ("db_find", "Port", ("tag", "=", []), {"columns": ["name"]}),
    ("db_find", "Port", ("tag", "!=", []), {"columns": ["name"]}),
    ("db_find", "Port", ("name", "!=", "p0"), {"columns": ["name"]}),
    ("db_find", "Port", ("trunks", "=", [2]), {"columns": ["name"]}),
    ("db_find", "Port", ("trunks", "!=", [2]), {"columns": ["name"]}),
    ("db_find", "Interface", ("external_ids", "=", {"a": "b"}), {"columns": ["name"]}),
    ("db_find", "Interface", ("external_ids", "!=", {"a": "x"}), {"columns": ["name"]}),
    ("db_find_rows", "Interface", ("external_ids", "=", {"a": "b"})),
    ("db_create", "QoS", {"type": "linux-htb", "other_config": {"max-rate": "1"}}),
    ("db_create_row", "Queue", {"other_config": {"min-rate": "1"}}),
    ("db_list", "QoS", None, ["type", "other_config"]),
    ("db_destroy", "Port", "none"),
    ("del_port", "p0", "br0", False),
    ("del_port", "p0"),
    ("del_port", "p0", None, False),
    ("del_port", "p1", "br1", False),
    ("del_port", "p1"),
    ("del_br", "br1", False),
    ("del_br", "br1"),
    ("del_br", "br1", False),
    ("list_br",),
]


def outcome(api: Any, call: tuple[Any, ...]) -> Any:
    """What a call answers, with UUIDs and rows made comparable; of an error that there is one."""
    name, *arguments = call
    keywords = arguments.pop() if arguments and isinstance(arguments[-1], dict) and name not in ("db_add",) else {}
    try:
        return plain(getattr(api, name)(*arguments, **keywords).execute(check_error=True, log_errors=False))
    except (RuntimeError, KeyError, StopIteration):
        return "error"


def plain(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return sorted((plain(each) for each in value), key=repr)
    if isinstance(value, dict):
        return {key: plain(each) for key, each in value.items()}
    if isinstance(value, uuid.UUID) or hasattr(value, "uuid"):
        return "row"
    return value


STATE = {
    "_uuid", "statistics", "status", "datapath_id", "datapath_version", "ifindex", "mac_in_use", "ofport",
    "admin_state", "link_state", "link_speed", "duplex", "mtu", "link_resets", "error", "lldp",
    "role", "is_connected", "rstp_status",
}  # fmt: skip


def dump(ovs: PrivateOvs) -> Any:
    """The whole configuration, with UUIDs numbered and without what ovs-vswitchd reports."""
    tables = ("Bridge", "Port", "Interface", "QoS", "Queue", "Controller", "Manager")
    commands = [word for table in tables for word in ("--", "list", table)]
    message = {}
    for table, line in zip(tables, ovs.ctl("--format=json", *commands).splitlines(), strict=True):
        listed = json.loads(line)
        keep = [index for index, heading in enumerate(listed["headings"]) if heading not in STATE]
        rows = [[row[index] for index in keep] for row in listed["data"]]
        message[table] = sorted(
            re.sub(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "U", json.dumps(row)) for row in rows
        )
    return message


def test_every_call_answers_and_changes_what_ovsdbapps_own_does(ours: Api, ovs: PrivateOvs, stock: Any) -> None:
    answers = []
    for call in CALLS:
        answers.append(outcome(ours, call))
        assert (call, answers[-1]) == (call, outcome(stock, call))
        assert (call, dump(ovs)) == (call, dump(stock.switch))
    assert 10 < answers.count("error") < 20 and answers.count(None) < 45
    assert {call[0] for call in CALLS} == abstract.API.__abstractmethods__ - {"create_transaction"} | {"db_create_row"}


def test_every_method_takes_what_the_abstract_one_takes() -> None:
    for name in abstract.API.__abstractmethods__ - {"create_transaction"}:
        _, *wanted = inspect.signature(getattr(abstract.API, name)).parameters.values()
        given = inspect.signature(getattr(Api, name)).parameters
        for parameter in wanted:
            if parameter.kind is parameter.POSITIONAL_OR_KEYWORD:
                assert given[parameter.name].default == parameter.default


# -- where it is stricter -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "columns", [[("tag", 5000)], [("tag", "x")], [("external_ids", {"a": 5})], [("vlan_mode", "no")], [("nosuch", 1)]]
)
def test_a_bad_value_is_an_error_and_names_the_command(ours: Api, columns: list[tuple[str, Any]]) -> None:
    ours.add_br("br0").execute(check_error=True)
    ours.add_port("br0", "p0").execute(check_error=True)
    with pytest.raises(CommandRefused, match="command: db_set"):
        ours.db_set("Port", "p0", *columns).execute(check_error=True, log_errors=False)
    assert ours.db_get("Port", "p0", "tag").execute() == []


def test_without_check_error_an_error_is_logged_and_not_raised(ours: Api, caplog: pytest.LogCaptureFixture) -> None:
    assert ours.db_get("Port", "none", "tag").execute() is None
    assert "none" in caplog.text and "is ignored" in caplog.text
    with ours.transaction() as transaction:
        transaction.add(ours.del_br("none", if_exists=False))
    assert "does not exist" in caplog.text


def test_a_port_on_another_bridge_is_an_error(ours: Api) -> None:
    for bridge in ("br0", "br1"):
        ours.add_br(bridge).execute(check_error=True)
    ours.add_port("br0", "p0").execute(check_error=True)
    with pytest.raises(RuntimeError, match="p0 is expected on bridge br1 and exists on br0"):
        ours.add_port("br1", "p0").execute(check_error=True, log_errors=False)
    with pytest.raises(CommandRefused, match="identical values"):
        ours.add_port("br0", "p0", may_exist=False).execute(check_error=True, log_errors=False)


def test_an_existing_port_gets_the_columns(ours: Api) -> None:
    ours.add_br("br0").execute(check_error=True)
    for kind in ("internal", ""):
        ours.add_port("br0", "p0", type=kind, external_ids={"k": kind}).execute(check_error=True)
        assert ours.db_get("Interface", "p0", "type").execute() == kind
        assert ours.db_get("Interface", "p0", "external_ids").execute() == {"k": kind}


def test_commands_of_one_transaction_see_each_other_and_happen_together(ours: Api) -> None:
    with ours.transaction(check_error=True) as transaction:
        transaction.add(ours.add_br("br0"))
        row = transaction.add(ours.add_port("br0", "p0"))
        transaction.add(ours.db_set("Interface", "p0", ("external_ids", {"a": "1"})))
        transaction.add(ours.db_set("Interface", "p0", ("external_ids", {"a": "2", "b": "3"}), ("type", "internal")))
        qos = transaction.add(ours.db_create("QoS", type="linux-htb"))
        transaction.add(ours.db_set("Port", "p0", ("qos", qos)))
    assert ours.db_get("Interface", "p0", "external_ids").execute() == {"a": "2", "b": "3"}
    assert row.result.name == "p0" and row.result.interfaces[0].type == "internal"
    assert row.result.qos[0].uuid == qos.result and row.result.asdict()["name"] == "p0"
    with pytest.raises(RowNotFound), ours.transaction(check_error=True, log_errors=False) as transaction:
        transaction.add(ours.add_port("br0", "p1"))
        transaction.add(ours.add_port("none", "p2"))
    assert ours.list_ports("br0").execute() == ["p0"]


def test_rows_are_found_by_name_uuid_row_and_command(ours: Api) -> None:
    command = ours.add_br("br0")
    row = command.execute(check_error=True)
    for record in ("br0", row.uuid, str(row.uuid), row, command):
        assert ours.lookup("Bridge", record) == row
    assert ours.lookup("Bridge", "none", None) is None
    with pytest.raises(RowNotFound, match="Cannot find Bridge"):
        ours.lookup("Bridge", uuid.uuid4())
    assert ours.db_get("Open_vSwitch", ".", "bridges").execute() == row.uuid
    with pytest.raises(KeyError, match="no column 'nosuch'"):
        ours.db_find("Bridge", ("nosuch", "=", 1)).execute(check_error=True, log_errors=False)


def test_may_exist_wins_every_race(ovs: PrivateOvs, ours: Api) -> None:
    """Four writers add the same port while two delete it: nobody sees an error (ovsdbapp's own: 42 of 240 raise)."""
    ours.add_br("br0").execute(check_error=True)

    def write(make: Callable[[], Any]) -> None:
        for _ in range(25):
            make().execute(check_error=True, log_errors=False)

    makers = [lambda: ours.add_port("br0", "p0", type="internal")] * 4 + [lambda: ours.del_port("p0")] * 2
    with ThreadPoolExecutor(len(makers)) as pool:
        for job in [pool.submit(write, make) for make in makers]:
            job.result()


def test_a_name_that_a_row_of_another_kind_has_is_said_at_once(ovs: PrivateOvs, ours: Api) -> None:
    """Neither is a race that another try could win: a bridge named like a port, a port named like a bond's member."""
    ovs.ctl("add-br", "br0", "--", "add-port", "br0", "p0", "--", "add-bond", "br0", "bond0", "m0", "m1")
    for command, message in (
        (ours.add_br("p0"), "Bridge p0 cannot be created: a row of the table Port has that name"),
        (ours.add_port("br0", "m0"), "Port m0 cannot be created: a row of the table Interface has that name"),
    ):
        with pytest.raises(RuntimeError, match=f"^{message}$"):
            command.execute(check_error=True, log_errors=False)


def test_a_transaction_that_vswitchd_does_not_apply_is_a_timeout(ovs: PrivateOvs, ours: Api) -> None:
    from ovsdbapp.exceptions import TimeoutException

    ovs.stop("ovs-vswitchd")
    with pytest.raises(TimeoutException, match="ovs-vswitchd has not applied it"):
        ours.add_br("br0").execute(check_error=True, log_errors=False, timeout=5)
    assert ours.list_br().execute() == ["br0"], "committed all the same"
    ours.add_br("br1").execute(check_error=True, wait=False)
