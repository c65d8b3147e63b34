"""``vifplug demo``: what vifplug does, shown and proven on a host that is thrown away.

``command`` sets the stage and clears it again; ``stage`` is that host (a network namespace, an Open vSwitch of its own,
a directory); ``story`` is played on it; ``vifs`` has the documents; ``guest`` stands for a virtual machine.
"""
