"""OVN over two hosts: what is plugged is bound there, its guests meet over the tunnel, and only who shall meet."""

from __future__ import annotations

import contextlib

import pytest

from tests.distributed.two_hosts import TwoHosts, address
from vifplug.testing.ovn import PortBinding

pytestmark = pytest.mark.xdist_group("ovn")  # one site serves them all

UNBOUND = PortBinding(None, up=False)


def test_a_plugged_vif_is_an_up_binding_on_its_own_chassis_and_an_unplugged_one_is_none(site: TwoHosts) -> None:
    switch = site.switch()
    vifs = {host: site.vif(switch) for host in site.hosts}
    for host, vif in vifs.items():
        site.ovn.await_binding(vif.id, UNBOUND)
        site.plug(host, vif)
    for host, vif in vifs.items():
        site.ovn.await_binding(vif.id, PortBinding(host, up=True))
        assert site.hosts[host].port(vif.device, "external_ids:ovn-installed") == '"true"'
        site.ovn.nbctl("wait-until", "Logical_Switch_Port", vif.id, "up=true")
    for host, vif in vifs.items():
        site.unplug(host, vif)
        site.ovn.await_binding(vif.id, UNBOUND)


@pytest.mark.needs("tcpdump", "ping")
def test_guests_of_two_hosts_meet_over_a_tunnel_that_says_which_network_they_are_in(site: TwoHosts) -> None:
    switch = site.switch()
    here, there = site.vif(switch), site.vif(switch)
    with site.plugged(("one", here), ("two", there)), site.guest("one", here) as guest, site.guest("two", there):
        with site.listening("one") as frames:
            assert guest.reaches(address(there))
            question = f": IP {address(here)} > {address(there)}: ICMP echo request"
            site.ovn.until(lambda: question in frames.read_text(), f"{question} in {frames}")
        [frame] = [line for line in frames.read_text().splitlines() if question in line][:1]
    datapath = site.ovn.sbctl("get", "Port_Binding", here.id, "datapath")
    network = int(site.ovn.sbctl("get", "Datapath_Binding", datapath, "tunnel_key"))
    assert f"vni {network:#x}," in frame
    assert f"{site.chassis['one'].address}." in frame and f"> {site.chassis['two'].address}.6081: Geneve" in frame


@pytest.mark.needs("ping")
def test_guests_of_another_logical_switch_are_not_reached_on_either_host(site: TwoHosts) -> None:
    red, blue = site.switch(), site.switch()
    here, there, other, near = site.vif(red), site.vif(red), site.vif(blue), site.vif(blue)
    places = [("one", here), ("two", there), ("two", other), ("one", near)]
    with contextlib.ExitStack() as stack:
        stack.enter_context(site.plugged(*places))
        guest, _, _, neighbour = [stack.enter_context(site.guest(host, vif)) for host, vif in places]
        assert guest.reaches(address(there)) and neighbour.reaches(address(other))
        assert guest.is_cut_off_from(address(other)) and guest.is_cut_off_from(address(near))


@pytest.mark.needs("ping")
def test_a_guest_that_takes_another_mac_than_its_ports_is_heard_by_no_one(site: TwoHosts) -> None:
    switch = site.switch()
    honest, liar = site.vif(switch), site.vif(switch)
    site.ovn.nbctl("lsp-set-port-security", liar.id, liar.mac)
    for vif in (honest, liar):
        site.ovn.nbctl("lsp-set-addresses", vif.id, "unknown")  # who is heard at all is also answered
    disguised = liar.replace(mac="52:54:00:ff:ff:" + liar.mac[-2:])
    with site.plugged(("one", honest), ("two", liar)), site.guest("one", honest):
        with site.guest("two", liar) as guest:
            assert guest.reaches(address(honest))
        with site.guest("two", disguised) as guest:
            assert guest.is_cut_off_from(address(honest))
            site.ovn.nbctl("--wait=hv", "lsp-set-port-security", liar.id, "")
            assert guest.reaches(address(honest)), "it was for its MAC that it was not heard"
