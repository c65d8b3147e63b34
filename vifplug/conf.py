"""All options, and `Config`, the plain values that other packages get.

Each option belongs to a group: ``[vifplug]``, ``[vifplug_ovs]``, or ``[vifplug_<name>]`` for the options of a VIF type.
Importing this module registers nothing.
"""

from __future__ import annotations

import contextlib
import dataclasses
import difflib
import functools
import grp
import math
import os
import posixpath
import pwd
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vifplug.errors import InvalidConfig, NotPermitted, restated
from vifplug.host.ovs.settings import OvsSettings
from vifplug.model.codec import FrozenMap, described, joined
from vifplug.model.names import DEFAULT_BRIDGE, matching, parse_device, parse_pci
from vifplug.postponed import postponed
from vifplug.types.base import SOCKET_DIRS, Option, TypeSettings, VIFType

with postponed("netaddr", "rfc3986"):  # for addresses and URLs, which no option of vifplug is
    from oslo_config import cfg
    from oslo_config import types as kinds

PROJECT = "vifplug"
OWN = "vifplug"
OVS = "vifplug_ovs"

#: largest uid or gid: (uid_t) -1 means "no id" (chown(2), TUNSETOWNER)
LARGEST_ID = 2**32 - 2


def _device(text: str) -> str:
    """Return the name of a device, which may be an alternative one (ALTIFNAMSIZ: linux/if.h), or its PCI address."""
    return parse_pci(text) if ":" in text else matching(r"[^\s/:]{1,127}", "a device name")(text)


class DescribedOption(kinds.ConfigType):
    """A type of option that describes its allowed values; ``convert`` raises ValueError or KeyError for others."""

    def __init__(self, convert: Callable[[str], Any], allowed: str) -> None:
        super().__init__(type_name=allowed)
        self.convert = convert

    def __call__(self, value: object) -> Any:
        try:
            return self.convert(str(value))
        except KeyError as error:
            raise ValueError(str(value)) from error

    def _formatter(self, value: object) -> str:
        return str(value)


def id_of(noun: str, find: Callable[[str], int]) -> DescribedOption:
    """Return the type of users or groups of this host, by name or number; the value is the number."""

    def convert(value: str) -> int:
        number = int(value) if value.isascii() and value.isdigit() else find(value)
        if number > LARGEST_ID:
            raise ValueError(value)
        return number

    return DescribedOption(convert, f"the name or the number of a {noun} of this host")


def strings(pattern: str, allowed: str) -> DescribedOption:
    """Return the type of strings that match ``pattern`` as a whole."""
    return DescribedOption(matching(pattern, allowed), allowed)


PATH = strings(r"/[^\0]*", "an absolute path")
DIRECTORY = DescribedOption(lambda value: posixpath.normpath(PATH(value)), PATH.type_name)
_REMOTE = r"(unix:/[^\0,]+|(tcp|ssl):[^\s,]+:\d{1,5})"
REMOTES = strings(
    rf"{_REMOTE}(,{_REMOTE})*", "unix:PATH, tcp:HOST:PORT or ssl:HOST:PORT, or several of them, separated by commas"
)
_OCTAL = strings(r"0?[0-7]{3}", "a mode of three octal digits, such as 0755")
MODE = DescribedOption(lambda value: int(_OCTAL(value), 8), _OCTAL.type_name)
DEVICES = DescribedOption(
    lambda text: tuple(map(_device, filter(None, map(str.strip, text.split(","))))),
    "names, alternative names or PCI addresses of network devices, separated by commas",
)
METRICS = strings(r"textfile /[^\0]+\.prom", "textfile PATH, an absolute path that ends with .prom")
BRIDGE = DescribedOption(parse_device, "the name of a bridge, at most 15 bytes")
USER = id_of("user", lambda name: pwd.getpwnam(name).pw_uid)
GROUP = id_of("group", lambda name: grp.getgrnam(name).gr_gid)
#: oslo.config type for each kind of a type's option
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
        help="Directory of the record of plugged VIFs, an SQLite database in WAL mode. It must survive a reboot and "
        "be on a local file system. Created with mode 0700 if it does not exist.",
    ),
    cfg.Opt(
        "networks_dir",
        PATH,
        default="/etc/vifplug/networks.d",
        help="Directory of the named networks: *.xml files in libvirt's <network> format, one network each. A file is "
        "read again when it has changed.",
    ),
    cfg.StrOpt(
        "tap_owner",
        choices=[
            ("vifplug", "vifplug creates the tap and connects it before the guest starts"),
            ("libvirt", "libvirt creates the tap when the guest starts"),
        ],
        help="Who creates the tap of a VIF, unless its document says so. Unset: the default of its type, which is "
        "vifplug for bridge and libvirt for direct.",
    ),
    cfg.ListOpt("enabled_types", help="Names of the VIF types that may be used. Unset: all installed types."),
    cfg.Opt(
        "tap_user",
        USER,
        default="root",
        help="User who may open the taps that vifplug creates, by name or number. Set it to the user that QEMU runs "
        "as if QEMU opens the taps itself; libvirt opens them as root.",
    ),
    cfg.Opt(
        "tap_group",
        GROUP,
        help="Group whose members may open the taps that vifplug creates, by name or number. Unset: no group.",
    ),
    cfg.ListOpt(
        "socket_dirs",
        item_type=DIRECTORY,
        default=list(SOCKET_DIRS),
        help="Directories below which the sockets of vhost-user VIFs may be, as absolute paths. Below them, vifplug "
        "creates missing directories and removes stale sockets, and follows no symbolic link.",
    ),
    cfg.Opt(
        "allow_host_devices",
        DEVICES,
        default="",
        help="The host's own devices that VIFs may have all the same: names, alternative names or PCI addresses, "
        "separated by commas. Others are refused for passthrough, hostdev, vdpa and source.given while they have "
        "addresses or routes, are ports of a bridge or a bond, or are no network controllers.",
    ),
    cfg.FloatOpt(
        "lock_timeout",
        default=30,
        min=0,
        max=3600,
        help="Time to wait for another thread or process that works on the same VIF, or keeps the record locked, in "
        "seconds. 0: do not wait for one that works on the VIF, and 2 s for the record.",
    ),
    cfg.Opt(
        "metrics",
        METRICS,
        help="Where metrics of the verbs go: textfile PATH, for the textfile collector of Prometheus' node_exporter. "
        "Requires the extra metrics (prometheus_client). Unset: nowhere; an agent can serve its own "
        "(vifplug.driver.metrics).",
    ),
    cfg.StrOpt(
        "recover",
        default="auto",
        choices=[
            ("auto", "before the first change in a process: after a reboot, VIFs come back as well"),
            ("manual", "only by the verbs recover and reconcile"),
        ],
        help="When a change that a killed process began is finished or rolled back.",
    ),
    cfg.StrOpt(
        "duplicate_mac",
        default="warn",
        choices=[
            ("refuse", "the second VIF is a conflict"),
            ("warn", "the second VIF is plugged, with a warning; `check` reports both"),
            ("allow", "nothing is said, as for one MAC in several VLANs of a bridge"),
        ],
        help="What happens to a VIF whose MAC another VIF has on the same named network or bridge. The interfaces of a "
        "teaming pair may always have one MAC.",
    ),
)

OVS_OPTIONS: tuple[cfg.Opt, ...] = (
    cfg.Opt(
        "connection",
        REMOTES,
        default="unix:/run/openvswitch/db.sock",
        help="Address of ovsdb-server: unix:PATH, tcp:HOST:PORT or ssl:HOST:PORT. Separate several addresses by "
        "commas.",
    ),
    cfg.FloatOpt(
        "timeout",
        default=10,
        min=0.1,
        max=3600,
        help="Time to wait for an answer of ovsdb-server, and for ovs-vswitchd to apply a change, in seconds.",
    ),
    cfg.StrOpt(
        "wait",
        default="ofport",
        choices=[
            ("none", "ovsdb-server has committed the port"),
            ("ofport", "ovs-vswitchd has created the port"),
            ("ovn-installed", "ovn-controller has installed the flows of the port"),
        ],
        help="What plug, update and settle wait for before they return. Their option --wait overrides it.",
    ),
    cfg.BoolOpt(
        "ensure_bridge",
        default=False,
        help="Create the Open vSwitch bridge of a VIF if it does not exist. Such a bridge has no uplink, so a misspelt "
        "name leaves the guest without network. source.ensure does the same for one VIF.",
    ),
    cfg.StrOpt(
        "datapath_type",
        choices=[("system", "the kernel's datapath"), ("netdev", "the userspace datapath, which DPDK requires")],
        help="Datapath of the bridges that vifplug creates; existing bridges are not changed. Unset: Open vSwitch's "
        "default, which is system.",
    ),
    cfg.StrOpt(
        "default_qos_type",
        default="linux-noop",
        choices=["linux-htb", "linux-hfsc", "linux-sfq", "linux-codel", "linux-fq_codel", "linux-noop"],
        help="Type of the QoS row of a port on the kernel's datapath if no bandwidth is requested. With linux-noop, "
        "Open vSwitch does not change the qdisc of the device.",
    ),
    cfg.BoolOpt(
        "isolate_vif",
        default=False,
        help="Create each new port in the dead VLAN (4095), which passes no traffic, until Neutron's Open vSwitch "
        "agent sets its VLAN. Use it with that agent only: OVN and others would leave the port there. A VLAN in the "
        "VIF's document overrides it.",
    ),
    cfg.BoolOpt(
        "per_port_bridge",
        default=False,
        help="Put each guest's tap on an Open vSwitch bridge of its own, which a patch port connects to the VIF's "
        "bridge. A controller can then install the flows of the port before the tap exists.",
    ),
    cfg.Opt(
        "integration_bridge",
        BRIDGE,
        default=DEFAULT_BRIDGE,
        help="Open vSwitch bridge of named networks whose virtualport is openvswitch and that name no bridge.",
    ),
    cfg.Opt("ssl_ca", PATH, help="File of the CA certificate that verifies ovsdb-server's certificate."),
    cfg.Opt("ssl_certificate", PATH, help="File of the certificate that vifplug presents to ovsdb-server."),
    cfg.Opt(
        "ssl_key",
        PATH,
        help="File of the private key of ssl_certificate. Only its owner and group may have access to it.",
    ),
    cfg.StrOpt(
        "ssl_server_name",
        help="Host name or address that ovsdb-server's certificate must be for. Unset: the host in connection.",
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """The values of all options."""

    state_path: str
    networks_dir: str
    #: None: all installed types
    enabled_types: tuple[str, ...] | None
    #: names and PCI addresses of the host's own devices that VIFs may have
    allow_host_devices: tuple[str, ...]
    #: seconds
    lock_timeout: float
    duplicate_mac: str
    #: ``auto`` or ``manual``
    recover: str
    #: the path of a file for metrics; None: there is none
    metrics: str | None
    ovs: OvsSettings
    integration_bridge: str
    #: what every VIF type gets
    common: TypeSettings
    #: values of the options of each type
    types: FrozenMap[str, FrozenMap[str, Any]]


#: A VIF type, as a class or an instance.
Kind = VIFType | type[VIFType]


def load(config_files: Sequence[str] = (), config_dirs: Sequence[str] = ()) -> cfg.ConfigOpts:
    """Return the options of the given files, with vifplug's own options registered.

    Args:
        config_files: paths; empty: the default files of oslo.config, such as /etc/vifplug/vifplug.conf.
        config_dirs: directories of further files.

    Raises:
        InvalidConfig: a file does not exist or cannot be parsed.
        NotPermitted: a file cannot be read.
    """
    conf = cfg.ConfigOpts()
    try:
        conf(arguments(config_files, config_dirs), project=PROJECT, prog=PROJECT)
    except cfg.ConfigFilesPermissionDeniedError as error:
        message = f"configuration: {_sentence(error)}; run as a user who may read it"
        raise NotPermitted(message, path=_file_of(error)) from error
    except (cfg.Error, OSError, UnicodeDecodeError) as error:
        sentence, path = _unread(error, config_files, config_dirs)
        raise InvalidConfig(f"configuration: {sentence}", path=path) from error
    except SystemExit as error:  # oslo.config takes [DEFAULT] shell_completion for an argument of the command
        option = "[DEFAULT] shell_completion"
        raise InvalidConfig(f"configuration: {option}: remove it, it is for a command line", option=option) from error
    register(conf)
    return conf


def register(conf: cfg.ConfigOpts, types: Iterable[Kind] = ()) -> None:
    """Register vifplug's options, and those of the given VIF types, with ``conf``. Repeating it has no effect."""
    for group, options in _groups(types):
        conf.register_opts(options, group=group)


def enabled_types(conf: cfg.ConfigOpts) -> tuple[str, ...] | None:
    """Return the names of the VIF types that may be used; None: all. Raises InvalidConfig."""
    problems: list[InvalidConfig] = []
    found = _value(conf, OWN, next(each for each in OPTIONS if each.dest == "enabled_types"), problems)
    if problems:
        raise problems[0]
    return None if found is None else tuple(found)


def settings(conf: cfg.ConfigOpts, types: Iterable[Kind] = ()) -> Config:
    """Return the validated values of all options, which must be registered.

    Raises:
        InvalidConfig: a value is not allowed; the error names every such option.
    """
    types, problems = tuple(types), list[InvalidConfig]()
    own, ovs, *others = [
        {option.dest: _value(conf, group, option, problems) for option in options} for group, options in _groups(types)
    ]
    if problems:
        raise restated(problems[0], "; ".join(map(str, problems)))
    every = own | ovs
    return Config(
        state_path=own["state_path"],
        networks_dir=own["networks_dir"],
        enabled_types=None if own["enabled_types"] is None else tuple(own["enabled_types"]),
        allow_host_devices=own["allow_host_devices"],
        lock_timeout=own["lock_timeout"],
        duplicate_mac=own["duplicate_mac"],
        recover=own["recover"],
        metrics=own["metrics"] and own["metrics"].removeprefix("textfile "),
        ovs=_record(OvsSettings, every),
        integration_bridge=ovs["integration_bridge"],
        common=_record(TypeSettings, every),
        types=FrozenMap(dict(zip((each.name for each in types), map(FrozenMap, others), strict=True))),
    )


def _record(cls: Any, values: Mapping[str, Any]) -> Any:
    """Return the dataclass ``cls`` with those of the values that it has a field for."""
    given = {field.name: values[field.name] for field in dataclasses.fields(cls)}
    return cls(**{name: tuple(value) if isinstance(value, list) else value for name, value in given.items()})


def list_opts() -> list[tuple[str, list[cfg.Opt]]]:
    """Return the options of vifplug and of its own types, for oslo-config-generator."""
    from vifplug.types import bridge, direct, ethernet, hostdev, vhostuser

    own = (bridge.BridgeType, ethernet.EthernetType, vhostuser.VhostUserType, hostdev.HostDeviceType, direct.DirectType)
    return [(OWN, list(OPTIONS)), (OVS, list(OVS_OPTIONS)), *type_opts(own)]


def type_opts(types: Iterable[Kind]) -> list[tuple[str, list[cfg.Opt]]]:
    """Return the options of VIF types of other packages, for oslo-config-generator."""
    return [(group, list(options)) for group, options in _groups(types)[2:] if options]


def _groups(types: Iterable[Kind]) -> list[tuple[str, Sequence[cfg.Opt]]]:
    of_types = [(f"{OWN}_{each.name}", [_option(option) for option in each.options]) for each in types]
    return [(OWN, OPTIONS), (OVS, OVS_OPTIONS), *of_types]


def _option(option: Option) -> cfg.Opt:
    """Return the oslo.config option for an option of a type."""
    kind = kinds.String(choices=list(option.choices)) if option.choices else _KINDS[option.kind]
    return cfg.Opt(option.name, kind, default=option.default, help=option.help)


def arguments(config_files: Iterable[str], config_dirs: Iterable[str]) -> list[str]:
    """Return the command-line arguments of oslo.config for these files and directories."""
    files = [word for path in config_files for word in ("--config-file", path)]
    return files + [word for path in config_dirs for word in ("--config-dir", path)]


def _unread(error: Exception, config_files: Iterable[str], config_dirs: Iterable[str]) -> tuple[str, str | None]:
    """Return what is wrong with a configuration that could not be read, with the name of the file; and the file."""
    if isinstance(error, OSError):
        return f"{error.filename} cannot be read: {error.strerror}", error.filename
    if not isinstance(error, UnicodeDecodeError):
        return _sentence(error), _file_of(error)
    paths = [*(config_files or cfg.find_config_files(PROJECT)), *_inside(config_dirs or cfg.find_config_dirs(PROJECT))]
    wrong = next((path for path in paths if _is_odd(path)), None)
    return f"{wrong or 'a file'} is not UTF-8 text: byte {error.start} is 0x{error.object[error.start]:02x}", wrong


def _is_odd(path: str) -> bool:
    with contextlib.suppress(OSError):
        try:
            Path(path).read_text(encoding="utf-8")
        except UnicodeDecodeError:
            return True
    return False


def _file_of(error: Exception) -> str | None:
    """Return the file or directory that could not be read, as oslo.config names it."""
    files: list[str] = [*getattr(error, "config_files", ())]
    files += [found for name in ("config_file", "config_dir") if (found := getattr(error, name, None))]
    return files[0] if files else None


def _sentence(error: Exception) -> str:
    return " ".join(str(error).split()).rstrip(".")


# -- values and their problems ------------------------------------------------------------------------------------


def _value(conf: cfg.ConfigOpts, group: str, option: cfg.Opt, problems: list[InvalidConfig]) -> Any:
    """Return the value of an option; if it is not allowed, return None and add the error to ``problems``."""
    try:
        value = conf[group][option.dest]
        if isinstance(value, float) and math.isnan(value):  # which passes every comparison with a bound
            raise ValueError(value)
        if value is None and option.default is not None and isinstance(option.type, kinds.Number):  # written as nothing
            raise ValueError(value)
        return value
    except (ValueError, cfg.Error, RecursionError) as error:  # the last two: $name in a value, which may name itself
        value, place, path = _as_written(conf, group, option)
        reason = f"expected {allowed(option)}" if isinstance(error, ValueError) else _SUBSTITUTION
        name = f"[{group}] {option.name}"
        problems.append(InvalidConfig(f"{name}: {reason}, got {described(value)}{place}", option=name, path=path))
        return None


_SUBSTITUTION = "expected $$ for a dollar sign, or $name with the name of another option that has a value"


def _as_written(conf: cfg.ConfigOpts, group: str, option: cfg.Opt) -> tuple[str | None, str, str | None]:
    """Return the string of an option, its place in words, and its file. oslo.config keeps none of them."""
    variable = f"OS_{group.upper()}__{option.dest.upper()}"  # as oslo_config.sources names it; it precedes the files
    if variable in os.environ:
        return os.environ[variable], f" in the environment variable {variable}", None
    for path in reversed(_files(conf)):
        sections = [keys for name, keys in _written(path).items() if name.lower() == group]  # as oslo.config takes them
        if values := [each for keys in sections for key, each in keys.items() if _spelt(key) == option.dest]:
            return values[-1][-1], f" in {path}", path
    return None, "", None


def has_log_options(conf: cfg.ConfigOpts) -> bool:
    """Whether a file of the configuration, or the environment (OS_DEFAULT__DEBUG), has options of [DEFAULT]."""
    return any(name.startswith("OS_DEFAULT__") for name in os.environ) or any(
        "DEFAULT" in _written(path) for path in _files(conf)
    )


def misspelt(conf: cfg.ConfigOpts, known: Mapping[str, Iterable[str]]) -> list[str]:
    """Return a sentence for each unknown option, and for each unknown group whose name is nearly a known one.

    Each is returned once in a process. oslo.config ignores what nobody has registered: it may be another program's.

    Args:
        conf: the configuration, which has read its files.
        known: the names of the options of each group.
    """
    found = [(path, group, keys) for path in _files(conf) for group, keys in _written(path).items()]
    sentences = [
        f"[{group}] {name}: unknown option in {path}{_nearest(name, known[group.lower()], 0.6)}"
        for path, group, keys in found
        for name in (keys if group.lower() in known else ())
        if _spelt(name) not in known[group.lower()]
    ]
    sentences += [
        f"[{group}]: unknown group in {path}{near}"
        for path, group, _ in found
        if group.lower() not in known and not group.startswith(_OF_OSVIF)
        if (near := _nearest(group, known, 0.85))
    ]
    fresh = [each for each in dict.fromkeys(sentences) if each not in _reported]
    _reported.update(fresh)
    return fresh


#: what `misspelt` has returned
_reported: set[str] = set()

#: os-vif's groups, which are one character off
_OF_OSVIF = "vif_plug_"


def names(types: Iterable[Kind] = ()) -> dict[str, set[str]]:
    """Return the names of the options of each group, for `misspelt`."""
    return {group: {option.dest for option in options} for group, options in _groups(types)}


def _nearest(name: str, known: Iterable[str], cutoff: float) -> str:
    near = difflib.get_close_matches(_spelt(name), known, 1, cutoff)
    return f": did you mean {near[0]}?" if near else ""


def _spelt(name: str) -> str:
    """Return the name of an option as oslo.config looks it up."""
    return name.replace("-", "_")


def _files(conf: cfg.ConfigOpts) -> list[str]:
    """Return the files that the configuration was read from; later ones override earlier ones."""
    found = list(getattr(conf, "config_file", None) or ())
    return found + _inside(getattr(conf, "config_dir", None) or ())


def _inside(directories: Iterable[str]) -> list[str]:
    """Return the configuration files in directories, in the order in which oslo.config reads them."""
    found: list[str] = []
    for directory in directories:
        with contextlib.suppress(OSError):  # oslo.config has read it, or has refused it
            found += sorted(map(str, Path(directory).glob("*.conf")))
    return found


@functools.lru_cache(maxsize=32)
def _written(path: str) -> Mapping[str, Mapping[str, list[str]]]:
    """Return the options of a file by group, as strings; nothing if it cannot be read any more."""
    sections: dict[str, dict[str, list[str]]] = {}
    with contextlib.suppress(OSError, ValueError, cfg.ParseError):
        cfg.ConfigParser(path, sections).parse()
    return sections


def allowed(option: cfg.Opt) -> str:
    """Return a description of the allowed values of an option, for a sentence."""
    kind = option.type
    if isinstance(kind, DescribedOption):
        return kind.type_name
    if isinstance(kind, kinds.Boolean):
        return "true or false"
    if isinstance(kind, kinds.Number):
        return _allowed_number(kind)
    if isinstance(kind, kinds.List) and isinstance(kind.item_type, DescribedOption):
        return f"a list of items that are each {kind.item_type.type_name}"
    choices = getattr(kind, "choices", None)
    return joined(choices) if choices else f"a {type(kind).__name__.lower()}"


def _allowed_number(kind: kinds.Number) -> str:
    bounds = [f"at least {kind.min:g}"] if kind.min is not None else []
    bounds += [f"at most {kind.max:g}"] if kind.max is not None else []
    noun = "an integer" if isinstance(kind, kinds.Integer) else "a number"
    return " of ".join([noun, " and ".join(bounds)] if bounds else [noun])
