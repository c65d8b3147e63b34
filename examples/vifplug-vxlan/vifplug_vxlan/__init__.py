"""A VIF type for vifplug: a guest on a VXLAN segment (RFC 7348)."""
