"""Open vSwitch: its database (OVSDB, RFC 7047) reached without a replica, and the backend that stands on it.

settings  what an operator chooses: where the database is, how long to wait and for what
remote    a socket to the server, or why there is none
wire      one connection, one request at a time; pool lends connections to threads
values    Python values <-> OVSDB's JSON notation, by the server's schema
api       ovsdbapp's abstract Open_vSwitch API on the pool; transaction, commands, reads and row are its parts
rows      OvsPort and OvsBridge -> operations; reading: rows -> OvsPort and OvsBridge; ops: the notation (all pure)
verbs     plug and unplug as ovsdbapp commands
vswitchd  is ovs-vswitchd there, and has it applied what was written
change    a set of verbs as one transaction: committed, read back, applied, or taken back
takeover  a port that another program made for a VIF becomes the VIF's
conflict  what the server refused, as a sentence for a person
backend   the door: observe and apply
"""
