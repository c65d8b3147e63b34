"""ovsdbapp's whole Open_vSwitch API on vifplug's connections, for programs that speak it; no plug needs it.

schema       the server's own schema: Python values <-> OVSDB's notation
tables       what the others read with, and a row as ovsdbapp's RowView shows it
transaction  the Command and the Transaction of this API
commands     the API's changes
reads        the API's questions
api          the API object
"""
