"""For tests of vifplug and of what is built on it: a conformance suite for VIF types, hosts and guests.

conformance, laws   what every VIF type has to hold
netns, ovs, host    a private host: a network namespace, an Open vSwitch, a driver
ovn                 OVN's central databases, and private hosts that are joined to it
libvirt, guests     a private libvirtd on it, and guests of QEMU's that boot and ping
kernel              what emulated machines boot
macvtaps            numbers for the links of hosts that run at the same time
needs               what a test needs of the machine, by name
daemons             what the servers of ovs and ovn have in common
"""

import unittest


class Lacking(unittest.SkipTest):
    """This machine can't run it; ``str()`` names what is lacking.

    pytest, unittest and stestr skip the test that raises it, and every test of a fixture that raises it.
    """
