"""HPACK (RFC 7541) as a gRPC server meets it: what a caller sends is decoded, what nearly every answer says is ready.

hpack's own decoder takes 27 µs for a request of Go's client, most of it for log records that nobody asked for and for
objects in between; this one takes 7, on hpack's table. And hpack copies what is left of a block for each literal, so
that one client's megabyte of headers kept everybody waiting for seconds; here nothing is copied but the fields.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import cast

from hpack import Decoder, Encoder, HeaderTuple, NeverIndexedHeaderTuple
from hpack.exceptions import HPACKDecodingError, InvalidTableIndex, OversizedHeaderListError
from hpack.hpack import decode_integer
from hpack.huffman_table import decode_huffman
from hpack.table import HeaderTable

_STATIC = HeaderTable.STATIC_TABLE
_STATIC_LENGTH = len(_STATIC)
_ENTRY_BYTES = 32  # RFC 7541, section 4.1
_INDEXED, _ADDED, _RESIZED, _NEVER = 0x80, 0x40, 0x20, 0x10
_LONG_INDEX, _LONG_NAME, _LONG = 0x7F, 0x3F, 0x7F
"""What the first byte says where more bytes of the number follow it (section 5.1)."""
_NUMBER_BYTES = 6
"""The most that hpack takes for one."""
_RESIZES = 32
"""Changes of the table's size before one list of fields. There is no use for more than two (section 4.2), they cost a
client one byte each, and no other bound counts them."""
_HUFFMAN = 0x80
_TIMEOUT, _TIMEOUT_BYTES = b"grpc-timeout", 7
"""The one value that is another in each call, so that no connection's table spares the reading of it; and the most that
its eight digits and its unit take by the Huffman code."""
_remembered = lru_cache(2048)(decode_huffman)
"""Reading one anew takes 3 µs. They are kept for all connections, and so nothing else is: it might be a credential."""


class RequestDecoder(Decoder):
    """hpack's decoder, with the fields of an ordinary request read here."""

    def decode(self, data: bytes, raw: bool = False) -> Iterable[HeaderTuple]:
        """What h2 calls; it reads nothing but pairs of bytes, and asks for no other."""
        return cast(list[HeaderTuple], self.fields(data))

    def fields(self, block: bytes) -> list[tuple[bytes, bytes]]:
        """The fields of a header block; one that is never to be indexed is a :class:`NeverIndexedHeaderTuple`.

        :raises HPACKError, IndexError: as hpack's own does.
        """
        table = self.header_table
        added = table.dynamic_entries
        headers: list[tuple[bytes, bytes]] = []
        size = position = resizes = 0
        end = len(block)
        while position < end:
            first = block[position]
            if first > _INDEXED and first & _LONG_INDEX != _LONG_INDEX:
                index = first & _LONG_INDEX
                try:
                    field = _STATIC[index - 1] if index <= _STATIC_LENGTH else added[index - _STATIC_LENGTH - 1]
                except IndexError:
                    raise InvalidTableIndex(f"there is no field {index}") from None
                position += 1
            elif _ADDED <= first < _INDEXED and first & _LONG_NAME != _LONG_NAME:
                position += 1
                index = first & _LONG_NAME
                if index:
                    name = table.get_by_index(index)[0]
                else:
                    name, position = _string(block, position)
                value, position = _string(block, position, name)
                field = (name, value)
                table.add(name, value)
            else:
                position, other = self._other(block, position, begun=bool(headers))
                if other is None:
                    resizes += 1
                    if resizes > _RESIZES:
                        raise HPACKDecodingError(f"the table's size is changed more than {_RESIZES} times")
                    continue
                field = other
            headers.append(field)
            size += _ENTRY_BYTES + len(field[0]) + len(field[1])
            if size > self.max_header_list_size:
                raise OversizedHeaderListError(f"the header list is over {self.max_header_list_size} bytes")
        self._assert_valid_table_size()
        return headers

    def _other(self, block: bytes, position: int, *, begun: bool) -> tuple[int, tuple[bytes, bytes] | None]:
        """What is rare: long numbers, fields that are not added, and, None then, changes of the table's size."""
        table = self.header_table
        first = block[position]
        if first & _INDEXED:
            index, position = _number(block, position, 7)
            return position, table.get_by_index(index)
        if first & (_ADDED | _RESIZED) == _RESIZED:
            if begun:
                raise HPACKDecodingError("the table's size is changed behind a field")
            taken = self._update_encoding_context(block[position : position + _NUMBER_BYTES])
            return position + taken, None
        added = first & _ADDED
        index, position = _number(block, position, 6 if added else 4)
        if index:
            name = table.get_by_index(index)[0]
        else:
            name, position = _string(block, position)
        value, position = _string(block, position, name)
        if added:
            table.add(name, value)
        return position, NeverIndexedHeaderTuple(name, value) if not added and first & _NEVER else (name, value)


class AnswerEncoder(Encoder):
    """hpack's encoder, with a table that is never larger than HTTP/2 begins with. hpack takes whatever size a caller
    allows, keeps that much of what answers said, and looks through all of it for each field.
    """

    @property
    def header_table_size(self) -> int:
        """In bytes, as RFC 7541 section 4.1 counts them."""
        return self.header_table.maxsize

    @header_table_size.setter
    def header_table_size(self, value: int) -> None:
        size = min(value, HeaderTable.DEFAULT_SIZE)
        if size != self.header_table.maxsize:  # the same size again would make hpack forget what it has to announce
            self.header_table.maxsize = size
            self.table_size_changes.append(size)


def _number(data: bytes, position: int, bits: int) -> tuple[int, int]:
    """An integer (section 5.1) of which the first byte has so many bits, and where it ends."""
    number, taken = decode_integer(data[position : position + _NUMBER_BYTES], bits)
    return number, position + taken


def _string(data: bytes, position: int, name: bytes = b"") -> tuple[bytes, int]:
    """A string literal (section 5.2), and where it ends. :param name: that of the field whose value it is."""
    first = data[position]
    length = first & _LONG
    start = position + 1
    if length == _LONG:
        length, start = _number(data, position, 7)
    end = start + length
    text = data[start:end]
    if len(text) != length:
        raise HPACKDecodingError("the header block ends within a string")
    if first & _HUFFMAN:
        text = _remembered(text) if name == _TIMEOUT and length <= _TIMEOUT_BYTES else decode_huffman(text)
    return text, end


def literal_block(fields: Sequence[tuple[bytes, bytes]]) -> bytes:
    """``fields`` as literals without indexing: they mean the same on every connection, whatever was sent before.

    A name that the static table has stands for itself in full, so that this need not know the table. A field of the
    table is its index.
    """
    block = b""
    for name, value in fields:
        known = HeaderTable.STATIC_TABLE_MAPPING.get(name)
        if known is not None and value in known[1]:
            block += bytes([_INDEXED | known[1][value]])
            continue
        if max(len(name), len(value)) >= _LONG:
            raise ValueError("a name and a value take less than 127 bytes here")
        block += b"\0" + bytes([len(name)]) + name + bytes([len(value)]) + value
    return block
