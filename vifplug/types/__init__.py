"""The consolidated VIF types, a module each: what the guest gets and what must hold on the host. Pure."""
