"""Every option, and the plain settings that the other rooms get instead of them.

Options belong to a group: ``[vifplug]``, one per backend, one per VIF type (``[vifplug_<name>]``, from the type's own
``options``). Nothing is registered at import.
"""

from __future__ import annotations

import grp
import math
import pwd
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from oslo_config import cfg
from oslo_config import types as kinds

from vifplug.errors import InvalidConfig, NotPermitted
from vifplug.host.ovs.settings import OvsSettings
from vifplug.model.codec import FrozenMap, joined
from vifplug.model.names import parse_device
from vifplug.networks.resolve import DEFAULT_BRIDGE
from vifplug.types import base
from vifplug.types.base import Option, VIFType

PROJECT = "vifplug"
OWN = "vifplug"
OVS = "vifplug_ovs"


#: The largest uid or gid: (uid_t) -1 means "no id" to the kernel (chown(2), TUNSETOWNER).
LARGEST_ID = 2**32 - 2


class DescribedOption(kinds.ConfigType):
    """A type of value that says in words what it allows; ``convert`` raises ValueError or KeyError for the rest."""

    def __init__(self, convert: Callable[[str], Any], allowed: str) -> None:
        super().__init__(type_name=allowed)
        self.convert = convert
        self.allowed = allowed

    def __call__(self, value: object) -> Any:
        try:
            return self.convert(str(value))
        except KeyError as error:
            raise ValueError(str(value)) from error

    def __repr__(self) -> str:
        return self.allowed

    def __eq__(self, other: object) -> bool:
        return isinstance(other, DescribedOption) and self.allowed == other.allowed

    def __hash__(self) -> int:
        return hash(self.allowed)

    def _formatter(self, value: object) -> str:
        return str(value)


def matching(pattern: str, allowed: str) -> DescribedOption:
    """A text of which all matches ``pattern``."""

    def convert(value: str) -> str:
        if not re.fullmatch(pattern, value):
            raise ValueError(value)
        return value

    return DescribedOption(convert, allowed)


def id_of(noun: str, find: Callable[[str], int]) -> DescribedOption:
    """A user or group of this host by name or number; the setting is the number."""

    def convert(value: str) -> int:
        number = int(value) if value.isascii() and value.isdigit() else find(value)
        if number > LARGEST_ID:
            raise ValueError(value)
        return number

    return DescribedOption(convert, f"the name or the number of a {noun} of this host")


PATH = matching(r"/[^\0]*", "an absolute path")
_REMOTE = r"(unix:/[^\0,]+|(tcp|ssl):[^\s,]+:\d{1,5})"
REMOTES = matching(rf"{_REMOTE}(,{_REMOTE})*", "unix:PATH, tcp:HOST:PORT or ssl:HOST:PORT, several with commas between")
MODE = DescribedOption(
    lambda value: int(matching(r"0?[0-7]{3}", "")(value), 8), "a mode of three octal digits, such as 0755"
)
BRIDGE = DescribedOption(parse_device, "the name of a bridge, of at most 15 bytes")
USER = id_of("user", lambda name: pwd.getpwnam(name).pw_uid)
GROUP = id_of("group", lambda name: grp.getgrnam(name).gr_gid)
#: a type's kind of option as oslo.config's
_KINDS: Mapping[str, kinds.ConfigType] = {
    "str": kinds.String(),
    "int": kinds.Integer(),
    "float": kinds.Float(),
    "bool": kinds.Boolean(),
    "user": USER,
    "group": GROUP,
    "mode": MODE,
}

OPTIONS: tuple[cfg.Opt, ...] = (
    cfg.Opt(
        "state_path",
        PATH,
        default="/var/lib/vifplug",
        help="Directory of the record of what is plugged. It has to survive a reboot and to be on a local file system: "
        "the record is an SQLite database in WAL mode. Made, with mode 0700, when it is not there.",
    ),
    cfg.Opt(
        "networks_dir",
        PATH,
        default="/etc/vifplug/networks.d",
        help="Directory of the named networks: *.xml files, one network each, in libvirt's <network> format. They are "
        "read again when they change.",
    ),
    cfg.StrOpt(
        "tap_owner",
        choices=[
            ("vifplug", "vifplug makes and wires the tap before the guest starts"),
            ("libvirt", "libvirt makes the tap when the guest starts"),
        ],
        help="Who makes the tap of a VIF whose document does not say. Unset: the default of its type, which is vifplug "
        "for bridge and libvirt for direct.",
    ),
    cfg.ListOpt(
        "enabled_types",
        help="Names of the VIF types that may be used. Unset: all that are installed.",
    ),
    cfg.Opt(
        "tap_user",
        USER,
        default="root",
        help="The user who may open the taps that vifplug makes, by name or number: the user that QEMU runs as, when "
        "it opens taps itself. libvirt opens them as root.",
    ),
    cfg.Opt(
        "tap_group",
        GROUP,
        help="The group whose members may open the taps that vifplug makes, by name or number. Unset: no group may.",
    ),
    cfg.FloatOpt(
        "lock_timeout",
        default=30,
        min=0,
        max=3600,
        help="Seconds to wait for another thread or process that works on the same VIF. 0: do not wait.",
    ),
)

OVS_OPTIONS: tuple[cfg.Opt, ...] = (
    cfg.Opt(
        "connection",
        REMOTES,
        default="unix:/run/openvswitch/db.sock",
        help="Where ovsdb-server listens: unix:PATH, tcp:HOST:PORT or ssl:HOST:PORT; several are separated by commas.",
    ),
    cfg.FloatOpt(
        "timeout",
        default=10,
        min=0.1,
        max=3600,
        help="Seconds to wait for an answer of ovsdb-server, and for ovs-vswitchd to do what was asked.",
    ),
    cfg.StrOpt(
        "wait",
        default="ofport",
        choices=[
            ("none", "return when ovsdb-server has committed the port"),
            ("ofport", "return when ovs-vswitchd has made the port"),
            ("ovn-installed", "return when ovn-controller has installed the port's flows"),
        ],
        help="How far a port has to be before plug, update and settle return; their option --wait takes its place.",
    ),
    cfg.StrOpt(
        "datapath_type",
        choices=[("system", "the kernel's datapath"), ("netdev", "the userspace datapath, as DPDK needs it")],
        help="Datapath of the bridges that vifplug makes. A bridge that exists is never changed. Unset: the default "
        "of Open vSwitch, which is system.",
    ),
    cfg.StrOpt(
        "default_qos_type",
        default="linux-noop",
        choices=["linux-htb", "linux-hfsc", "linux-sfq", "linux-codel", "linux-fq_codel", "linux-noop"],
        help="Type of the QoS row of a port on the kernel's datapath for which no bandwidth is asked. linux-noop has "
        "Open vSwitch leave the qdisc of the device alone.",
    ),
    cfg.BoolOpt(
        "isolate_vif",
        default=False,
        help="Let each new port begin in the dead VLAN (4095), where nothing passes until Neutron's Open vSwitch agent "
        "gives it its own. For that agent only: OVN and others would leave it there. A VLAN in the VIF's document "
        "comes first.",
    ),
    cfg.BoolOpt(
        "per_port_bridge",
        default=False,
        help="Put each guest's tap on an Open vSwitch bridge of its own, which a patch joins to the VIF's bridge. A "
        "controller can then install a port's flows before the guest's tap is there.",
    ),
    cfg.Opt(
        "integration_bridge",
        BRIDGE,
        default=DEFAULT_BRIDGE,
        help="The Open vSwitch bridge of named networks that say openvswitch and name no bridge.",
    ),
    cfg.Opt("ssl_ca", PATH, help="File of the CA certificate that ovsdb-server's certificate is checked against."),
    cfg.Opt("ssl_certificate", PATH, help="File of the certificate that is shown to ovsdb-server."),
    cfg.Opt("ssl_key", PATH, help="File of the private key of ssl_certificate."),
)


#: Options of Open vSwitch that say what VIFs get, not how it is reached
_NOT_THE_CONNECTIONS = ("default_qos_type", "isolate_vif", "per_port_bridge", "integration_bridge")


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """The values of all options. ``tap_user`` and ``tap_group`` are numeric ids; ``lock_timeout`` is in seconds.

    ``enabled_types`` is None for all. ``types`` has the values of each type's own options.
    """

    state_path: str
    networks_dir: str
    tap_owner: str | None
    enabled_types: tuple[str, ...] | None
    tap_user: int
    tap_group: int | None
    lock_timeout: float
    ovs: OvsSettings
    default_qos_type: str | None
    isolate_vif: bool
    per_port_bridge: bool
    integration_bridge: str
    types: FrozenMap[str, FrozenMap[str, Any]]

    @property
    def common(self) -> base.TypeSettings:
        """What every VIF type gets to know."""
        return base.TypeSettings(
            tap_owner=self.tap_owner,
            tap_user=self.tap_user,
            tap_group=self.tap_group,
            datapath_type=self.ovs.datapath_type,
            default_qos_type=self.default_qos_type,
            isolate_vif=self.isolate_vif,
            per_port_bridge=self.per_port_bridge,
        )


#: A VIF type, as a class or its instance.
Kind = VIFType | type[VIFType]


def load(config_files: Sequence[str] = (), config_dirs: Sequence[str] = ()) -> cfg.ConfigOpts:
    """The options as the files say, with vifplug's own registered.

    Without ``config_files`` the usual ones are read, as oslo.config finds them: /etc/vifplug/vifplug.conf and the like.
    Raises InvalidConfig for a file that is not there or can't be parsed, NotPermitted for one that can't be read.
    """
    conf = cfg.ConfigOpts()
    try:
        conf(arguments(config_files, config_dirs), project=PROJECT, prog=PROJECT)
    except cfg.ConfigFilesPermissionDeniedError as error:
        raise NotPermitted(f"configuration: {_sentence(error)}; run as a user who may read it") from error
    except (cfg.Error, OSError, UnicodeDecodeError) as error:
        raise InvalidConfig(f"configuration: {_sentence(error)}") from error
    register(conf)
    return conf


def register(conf: cfg.ConfigOpts, types: Iterable[Kind] = ()) -> None:
    """Make vifplug's options, and those of the given VIF types, known to ``conf``. Doing it again does no harm."""
    for group, options in _groups(types):
        conf.register_opts(options, group=group)


def enabled_types(conf: cfg.ConfigOpts) -> tuple[str, ...] | None:
    """The names of the VIF types that may be used; None for all."""
    names = conf[OWN].enabled_types
    return None if names is None else tuple(names)


def settings(conf: cfg.ConfigOpts, types: Iterable[Kind] = ()) -> Config:
    """All values, checked; the options must be registered. Raises InvalidConfig that names every wrong one."""
    types, problems = tuple(types), list[str]()
    own, ovs, *others = [_values(conf, group, options, problems) for group, options in _groups(types)]
    if problems:
        raise InvalidConfig("; ".join(problems))
    return Config(
        **own | {"enabled_types": enabled_types(conf)},
        **{name: ovs.pop(name) for name in _NOT_THE_CONNECTIONS},
        ovs=OvsSettings(**ovs),
        types=FrozenMap(dict(zip((each.name for each in types), map(FrozenMap, others), strict=True))),
    )


def list_opts() -> list[tuple[str, list[cfg.Opt]]]:
    """For oslo-config-generator: the options of vifplug and of the types that come with it."""
    from vifplug.types.bridge import BridgeType
    from vifplug.types.direct import DirectType
    from vifplug.types.ethernet import EthernetType
    from vifplug.types.hostdev import HostDeviceType
    from vifplug.types.vhostuser import VhostUserType

    own = [(OWN, list(OPTIONS)), (OVS, list(OVS_OPTIONS))]
    return own + type_opts((BridgeType, EthernetType, VhostUserType, HostDeviceType, DirectType))


def type_opts(types: Iterable[Kind]) -> list[tuple[str, list[cfg.Opt]]]:
    """The same for VIF types of other packages."""
    return [(group, list(options)) for group, options in _groups(types)[2:] if options]


def _groups(types: Iterable[Kind]) -> list[tuple[str, Sequence[cfg.Opt]]]:
    of_types = [(f"{OWN}_{each.name}", [_option(option) for option in each.options]) for each in types]
    return [(OWN, OPTIONS), (OVS, OVS_OPTIONS), *of_types]


def _option(option: Option) -> cfg.Opt:
    """A type's option as oslo.config's."""
    kind = kinds.String(choices=list(option.choices)) if option.choices else _KINDS[option.kind]
    return cfg.Opt(option.name, kind, default=option.default, help=option.help)


def arguments(config_files: Iterable[str], config_dirs: Iterable[str]) -> list[str]:
    """The words that have oslo.config read these files and directories."""
    files = [word for path in config_files for word in ("--config-file", path)]
    return files + [word for path in config_dirs for word in ("--config-dir", path)]


def _sentence(error: Exception) -> str:
    return " ".join(str(error).split()).rstrip(".")


# -- values and what is wrong with them ---------------------------------------------------------------------------


def _values(conf: cfg.ConfigOpts, group: str, options: Iterable[cfg.Opt], problems: list[str]) -> dict[str, Any]:
    return {option.dest: _value(conf, group, option, problems) for option in options}


def _value(conf: cfg.ConfigOpts, group: str, option: cfg.Opt, problems: list[str]) -> Any:
    """The value of one option; None, and a sentence in ``problems``, when it is not allowed."""
    try:
        value = conf[group][option.dest]
        if isinstance(value, float) and math.isnan(value):  # which passes every comparison with a bound
            raise ValueError(value)
        return value
    except ValueError:
        value, place = _as_written(conf, group, option)
        problems.append(f"[{group}] {option.name} is {value!r}{place} and has to be {allowed(option)}")
        return None


def _as_written(conf: cfg.ConfigOpts, group: str, option: cfg.Opt) -> tuple[str | None, str]:
    """An option's value as text, and where it comes from: read again as a text, because oslo.config keeps neither."""
    twin = cfg.ConfigOpts()
    twin.register_opt(cfg.StrOpt(option.name, dest=option.dest), group=group)
    twin(arguments(conf.config_file or (), conf.config_dir or ()), default_config_files=[], default_config_dirs=[])
    location = twin.get_location(option.dest, group)
    detail = getattr(location, "detail", "") if location and location.location.is_user_controlled else ""
    return cast("str | None", twin[group][option.dest]), f" in {detail}" if detail else ""


def allowed(option: cfg.Opt) -> str:
    """What an option may be, in words that end a sentence."""
    kind = option.type
    if isinstance(kind, DescribedOption):
        return kind.allowed
    if isinstance(kind, kinds.Boolean):
        return "true or false"
    if isinstance(kind, kinds.Number):
        return _allowed_number(kind)
    choices = getattr(kind, "choices", None)
    return joined(choices) if choices else f"a {type(kind).__name__.lower()}"


def _allowed_number(kind: kinds.Number) -> str:
    bounds = [f"at least {kind.min:g}"] if kind.min is not None else []
    bounds += [f"at most {kind.max:g}"] if kind.max is not None else []
    return " ".join(["an integer" if isinstance(kind, kinds.Integer) else "a number", " and ".join(bounds)]).strip()
