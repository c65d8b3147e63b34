"""The VIF types, one module each: the guest's element and the required state of the host. Pure functions."""
