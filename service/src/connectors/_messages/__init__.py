"""Protobuf messages: their bytes, and their translation to and from the words that connectors use.

Both directions and both protocols in one place, for the server, the client and the store's payloads. It calls nobody
and decides nothing: which request is refused, and with which status, is the wire's affair.
"""
