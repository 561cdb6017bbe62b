"""Flyte literals to native Python values and back, once for both protocols.

``flyteidl.core`` and ``flyteidl2.core`` define the same literals, so the code is written once and takes the module of
message classes (``core``) where it has to build one. What does not survive as a Python value (a file, a table, an
error, bytes in an unknown encoding) becomes a class of :mod:`connectors.models`.

It does not read files or offloaded literals, it never unpickles, and it does not judge whether a task's inputs are
complete: that is the connector's knowledge.
"""

from __future__ import annotations

from connectors._literals.declared import literal_type, literal_type_message
from connectors._literals.decode import natives_from_inputs, natives_from_literal_map, to_native
from connectors._literals.encode import inputs, literal_map, outputs, to_literal
from connectors._literals.faults import Unencodable
from connectors._literals.fitting import described
from connectors._literals.structs import native_to_struct, struct_to_native

__all__ = [
    "Unencodable",
    "described",
    "inputs",
    "literal_map",
    "literal_type",
    "literal_type_message",
    "native_to_struct",
    "natives_from_inputs",
    "natives_from_literal_map",
    "outputs",
    "struct_to_native",
    "to_literal",
    "to_native",
]
