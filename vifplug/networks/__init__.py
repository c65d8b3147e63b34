"""Named networks: read libvirt's ``<network>``, pick the portgroup, merge, and pick a device of the pool. Pure."""
