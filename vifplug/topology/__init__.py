"""One picture of a host: its networks, bridges, pool devices, VIFs and guests. Pure: data in, a document's text out.

`view` is the data, `graph` what every picture shows of it, and each format has its module and function of one name.
"""
