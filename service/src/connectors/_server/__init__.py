"""Puts the parts together: what ``connectors serve``, ``list`` and ``check`` do, without the printing.

Its modules import what they need and no more: listing the plugins loads no server.
"""
