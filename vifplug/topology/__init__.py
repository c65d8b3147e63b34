"""A picture of a host: its networks, bridges, pool devices, VIFs and guests. Pure: it turns data into text.

`view` is the data, and `graph` what every format shows of it. Each format has a module with a function of its name.
"""
