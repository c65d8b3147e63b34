"""What an operator can choose about Open vSwitch, validated when it is made."""

from __future__ import annotations

from dataclasses import dataclass

from vifplug.errors import InvalidConfig, about
from vifplug.model.codec import joined
from vifplug.model.names import SOCKET_PATH_BYTES

WAITS = ("none", "ofport", "ovn-installed")
#: ovs-vswitchd.8, "active" connection methods: unix:FILE, tcp:HOST:PORT, ssl:HOST:PORT
METHODS = ("unix", "tcp", "ssl")
#: the option that says where Open vSwitch is
CONNECTION = "[vifplug_ovs] connection"


@dataclass(frozen=True, kw_only=True)
class OvsSettings:
    """How Open vSwitch is reached and how long a change may take. Raises InvalidConfig."""

    #: One remote or several, separated by commas: ``unix:FILE``, ``tcp:HOST:PORT``, ``ssl:HOST:PORT``.
    connection: str = "unix:/run/openvswitch/db.sock"
    #: Bounds each observe and each apply. Seconds.
    timeout: float = 10.0
    #: What an apply waits for: ``none`` (the database has it), ``ofport`` (ovs-vswitchd has applied it) or
    #: ``ovn-installed`` (ovn-controller has installed its flows as well).
    wait: str = "ofport"
    #: Bridge.datapath_type of the bridges that vifplug makes.
    datapath_type: str | None = None
    #: PEM files, needed for ssl remotes.
    ssl_ca: str | None = None
    ssl_certificate: str | None = None
    ssl_key: str | None = None
    #: the name that an ssl remote's certificate must have; None: the host of the remote
    ssl_server_name: str | None = None

    def __post_init__(self) -> None:
        if self.wait not in WAITS:
            message = f"the Open vSwitch option wait is {self.wait!r}; expected {joined(WAITS)}"
            raise InvalidConfig(message, option="[vifplug_ovs] wait")
        if not self.timeout > 0:
            message = f"the Open vSwitch option timeout is {self.timeout}; expected more than 0 seconds"
            raise InvalidConfig(message, option="[vifplug_ovs] timeout")
        with about(option=CONNECTION):
            for remote in self.remotes:
                self._validate(remote)

    @property
    def remotes(self) -> tuple[str, ...]:
        return tuple(remote.strip() for remote in self.connection.split(","))

    def _validate(self, remote: str) -> None:
        method, _, address = remote.partition(":")
        message = f"the Open vSwitch option connection has {remote!r}"
        if method not in METHODS or not address:
            raise InvalidConfig(f"{message}; expected unix:FILE, tcp:HOST:PORT or ssl:HOST:PORT")
        if method == "unix" and (len(address.encode()) > SOCKET_PATH_BYTES or "\0" in address):
            raise InvalidConfig(f"{message}; expected a path of at most {SOCKET_PATH_BYTES} bytes")
        host, _, port = address.rpartition(":")
        if method != "unix" and not (host and port.isdecimal() and 0 < int(port) < 65536):
            raise InvalidConfig(f"{message}; expected HOST:PORT after {method}:")
        if method == "ssl" and not (self.ssl_ca and self.ssl_certificate and self.ssl_key):
            lacking = next(each for each in ("ssl_ca", "ssl_certificate", "ssl_key") if not getattr(self, each))
            sentence = f"{message}; an ssl remote needs the options ssl_ca, ssl_certificate and ssl_key"
            raise InvalidConfig(sentence, option=f"[vifplug_ovs] {lacking}")
