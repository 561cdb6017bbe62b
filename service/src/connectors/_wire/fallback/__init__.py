"""Calls for task types that no connector here serves, passed on to another connector service: bytes in, bytes out.

It decides what is passed on, merges the lists, and keeps what belongs to one connection from the next. It opens no
connection itself: it is given an :class:`Other`. It retries nothing and remembers nothing of a job.
"""

from connectors._wire.fallback.lists import Lists
from connectors._wire.fallback.other import Other, Unreachable
from connectors._wire.fallback.passing import Fallback

__all__ = ["Fallback", "Lists", "Other", "Unreachable"]
