"""Open vSwitch: its database (OVSDB, RFC 7047) reached without a replica, and the backend that stands on it.

A `Step` of a plan becomes a `Command`, a command becomes operations, and one transaction sends the operations of all
commands as one message. From the wire up:

settings     what an operator chooses: where the database is, how long to wait and for what
transport    a socket to the server, or why there is none
operations   what is sent: selects, guards, and the parts of writes
decode       what is answered: checked, as values of Python, and as OvsPort and OvsBridge
connection   JSON-RPC on one socket, one request at a time
pool         connections that threads borrow
encode       OvsPort and OvsBridge -> the operations that write them
transaction  ovsdbapp's Command and Transaction, each transaction one request
vswitchd     whether ovs-vswitchd runs, and has applied what was written
ovn          why OVN has not installed a port's flows
survey       all bridges and ports at a glance
commands     plug and unplug a port, make and remove a bridge, attach QoS
adopted      ports that others made, changed in place
takeover     a port that another program made for a VIF becomes the VIF's
errors       what the server refused, as an error for a person
apply        steps as transactions: committed, read back, applied, or rolled back
backend      observe and apply, for the driver

`ovsdbapp_api` is ovsdbapp's whole Open_vSwitch API on the pool, for programs that speak it. No plug needs it.
"""
