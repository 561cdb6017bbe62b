"""The ledger: every external job that the store knows, whose it is, and what has become of it.

It reads and changes the store that the servers share, while they run and from any machine that reaches it. It calls no
platform and no server: what it asks for, the servers carry out.
"""

from connectors._ledger.entry import Entry
from connectors._ledger.fates import Fate
from connectors._ledger.ledger import Filter, Ledger, LedgerError, open_ledger

__all__ = ["Entry", "Fate", "Filter", "Ledger", "LedgerError", "open_ledger"]
