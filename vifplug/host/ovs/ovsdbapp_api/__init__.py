"""ovsdbapp's whole Open_vSwitch API on vifplug's connections, for programs that speak it; no plug needs it.

tables       the server's own schema, rows by name or UUID, and a row as ovsdbapp's RowView shows it
transaction  the Command and the Transaction of this API
commands     the API's changes
reads        the API's questions
api          the API object
"""
