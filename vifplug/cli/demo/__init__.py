"""``vifplug demo``: show and check what vifplug does, on a temporary host.

``command`` is the verb; ``stage`` creates the host (a network namespace, an Open vSwitch of its own, a directory) and
removes it; ``story`` is the sequence of steps; ``vifs`` has the documents; ``guest`` stands for a virtual machine.
"""
