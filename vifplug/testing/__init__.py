"""For tests of vifplug and of plugins: conformance suites, private hosts and switches, guests.

conformance, laws   the suite for VIF types, and the laws that it tests
backends            the suite for kinds of resource and their backends
netns, ovs, host    a private host: a network namespace, an Open vSwitch, a driver
ovn                 OVN's central databases, and private hosts that are joined to it
libvirt, guests     a private libvirtd on it, and QEMU guests that boot and ping
kernel              the kernel and the initramfs of emulated machines
memory              a host in memory, for tests of what plans and drives
faults, matrix      kill a verb, or let it fail, at each of its effects, and compare the whole host (picture)
macvtaps            link numbers for hosts that run at the same time
tracing             what faults traces system calls with
needs               the requirements of a test, by name
daemons             what the servers of ovs and ovn share
"""

import unittest


class MissingRequirement(unittest.SkipTest):
    """This machine lacks what a test needs; ``str()`` names what is missing.

    pytest, unittest and stestr skip the test that raises it, and every test of a fixture that raises it.
    """
