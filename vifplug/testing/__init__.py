"""For tests of vifplug and of what is built on it: a conformance suite for VIF types, namespaces, a private switch."""
