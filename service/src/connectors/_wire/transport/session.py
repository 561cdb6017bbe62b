"""One client connection: HTTP/2 set up with our limits, its events handed on, and its graceful end."""

from __future__ import annotations

import asyncio
import logging
import math
import random
from typing import Protocol, cast

from grpclib.config import Configuration
from grpclib.protocol import EventsProcessor, H2Protocol
from h2.connection import ConnectionState
from h2.errors import ErrorCodes
from h2.events import (
    Event,
    PingAckReceived,
    RemoteSettingsChanged,
    RequestReceived,
    StreamReset,
    TrailersReceived,
    WindowUpdated,
)
from h2.exceptions import ProtocolError
from h2.settings import SettingCodes, Settings
from hyperframe.frame import GoAwayFrame

from connectors._wire.status import Status
from connectors._wire.transport.dispatch import Dispatcher, Service
from connectors._wire.transport.gate import Flood, Gate
from connectors._wire.transport.http2 import Http2
from connectors._wire.transport.inbox import Inbox
from connectors._wire.transport.intake import Intake
from connectors._wire.transport.lane import Lane, Line
from connectors._wire.transport.limits import AGE_SPREAD, LINGER_S, MAX_SETTINGS
from connectors._wire.transport.peer import address_of
from connectors._wire.transport.refusal import Reason, Refusal
from connectors._wire.transport.request import Headers

STREAM_WINDOW_BYTES = 4 * 1024 * 1024
CONNECTION_WINDOW_BYTES = 4 * STREAM_WINDOW_BYTES
"""Several times a stream's, so that one slow reader does not stop the other calls of its connection."""

PING_BOUND_S = 1.0
"""How long a client may take to confirm that it has seen the first GOAWAY, and that no streams are behind."""

_HTTP2_DEFAULT_WINDOW_BYTES = 65_535
# Headers over the advertised limit fail their own call. Only a list this many times larger is taken for an attack,
# which ends the connection: the decoder stops in the middle and cannot be used again.
_HEADER_LIST_HARD_FACTOR = 4
_LAST_STREAM_ID = 2**31 - 1
# Two, since a client may confirm the first before it writes the streams that it had begun by then: gRPC's C core does.
_DRAIN_PINGS = (b"draining", b"drained?")
_GOAWAY = b"\x07"
_TLS_RECORD = b"\x16\x03"
"""How the first message of TLS begins."""

_TOO_OLD = Refusal(Status.UNAVAILABLE, Reason.CONNECTION_AGE, "the connection has reached its greatest age")

_GRPCLIB_CONFIG = Configuration().__for_server__()

_logger = logging.getLogger(__name__)


class SessionOwner(Protocol):
    """What a session tells the server it belongs to."""

    def opened(self, session: Session) -> bool:
        """A client connected; False turns it away."""

    def settled(self, session: Session) -> None:
        """The session draining has named the last stream it serves."""

    def closed(self, session: Session) -> None:
        """The connection is gone."""


class _Events(EventsProcessor):
    connection: Line

    def __init__(self, dispatcher: Dispatcher, connection: Line, session: Session) -> None:
        super().__init__(dispatcher, connection)
        self._session = session

    def process(self, event: Event) -> None:
        try:
            super().process(event)
        except NotImplementedError:
            # Extension frames and the like: HTTP/2 wants what is not understood to be ignored (RFC 9113, section 5.5).
            _logger.debug("ignored %r", event)

    def process_request_received(self, event: RequestReceived) -> None:
        self._session.began(event.stream_id, cast(Headers, event.headers))  # bytes: decoding is turned off

    def process_trailers_received(self, event: TrailersReceived) -> None:
        """What a caller writes behind its messages is only their end, which comes as an event of its own."""

    def process_stream_reset(self, event: StreamReset) -> None:
        self._session.was_reset(event.stream_id)
        super().process_stream_reset(event)

    def process_window_updated(self, event: WindowUpdated) -> None:
        for lane in self.connection.waiting:
            if event.stream_id in (0, lane.id):
                lane.window_updated.set()

    def process_remote_settings_changed(self, event: RemoteSettingsChanged) -> None:
        for lane in self.connection.waiting:  # for a window: it may have changed
            lane.window_updated.set()
        self._session.greeted()

    def process_ping_ack_received(self, event: PingAckReceived) -> None:
        super().process_ping_ack_received(event)
        self._session.confirmed(event.ping_data)


class Session(H2Protocol):
    """One connection, from its first byte to its last."""

    connection: Line
    dispatcher: Dispatcher

    def __init__(self, owner: SessionOwner, service: Service) -> None:
        # grpclib's own constructor keeps the handler and two configurations, for a connection_made that is not ours.
        self._owner = owner
        self._service = service
        self._settle_timer: asyncio.TimerHandle | None = None
        self._linger_timer: asyncio.TimerHandle | None = None
        self._age_timer: asyncio.TimerHandle | None = None
        self._greeting_timer: asyncio.TimerHandle | None = None
        self._reader_timer: asyncio.TimerHandle | None = None
        self._pending = b""
        self._reading = True
        self._draining = False
        self._aged = False
        self._admitted = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Sends our settings, or turns the client away when there are too many."""
        self._transport = cast(asyncio.Transport, transport)
        limits = self._service.limits
        self._h2 = Http2(most_streams=limits.max_concurrent_streams, stream_window=STREAM_WINDOW_BYTES)
        self._h2.local_settings = Settings(
            client=False,
            initial_values={
                SettingCodes.MAX_CONCURRENT_STREAMS: limits.max_concurrent_streams,
                SettingCodes.MAX_HEADER_LIST_SIZE: limits.max_header_list_bytes,
                SettingCodes.INITIAL_WINDOW_SIZE: STREAM_WINDOW_BYTES,
            },
        )
        self._h2.decoder.max_header_list_size = _HEADER_LIST_HARD_FACTOR * limits.max_header_list_bytes
        self._h2.initiate_connection()
        self._h2.increment_flow_control_window(CONNECTION_WINDOW_BYTES - _HTTP2_DEFAULT_WINDOW_BYTES)
        self.connection = Line(self._h2, self._transport, config=_GRPCLIB_CONFIG)
        self._gate = Gate()
        self._intake = Intake(self._h2, self._gate, self)
        self.dispatcher = Dispatcher(
            self._service,
            self._h2,
            self.connection,
            gate=self._gate,
            peer=address_of(transport),
            on_ended=self._call_ended,
        )
        self.processor = _Events(self.dispatcher, self.connection, self)
        self._admitted = self._owner.opened(self)
        if not self._admitted:
            self._service.on_rejected("", Status.UNAVAILABLE, Reason.TOO_MANY_CONNECTIONS)
            self._h2.close_connection(
                ErrorCodes.ENHANCE_YOUR_CALM, additional_data=b"too many connections", last_stream_id=0
            )
            self._hang_up()
            return
        self.connection.flush()
        self.connection.initialize()
        self._greeting_timer = asyncio.get_running_loop().call_later(limits.handshake_timeout, self._mute)
        if limits.max_connection_age < math.inf:
            spread = 1 + random.uniform(-AGE_SPREAD, AGE_SPREAD)  # noqa: S311 - no secret
            self._age_timer = asyncio.get_running_loop().call_later(limits.max_connection_age * spread, self._age)

    def data_received(self, data: bytes) -> None:
        """Feeds HTTP/2 and handles what came of it; a violation ends this connection and no other."""
        if self._pending:  # reading is paused, but TLS may have had some in hand
            self._pending += data
        else:
            self._handle(data)

    def pause_writing(self) -> None:
        """The client does not read: read nothing more from it, or its answers would pile up here without bound."""
        super().pause_writing()
        self._read_or_not()
        timeout = self._service.limits.send_timeout
        self._reader_timer = asyncio.get_running_loop().call_later(timeout, self._unread)

    def resume_writing(self) -> None:
        """The client reads again."""
        super().resume_writing()
        self._read_or_not()
        if self._reader_timer is not None:
            self._reader_timer.cancel()

    def began(self, stream_id: int, headers: Headers) -> None:
        """A request's headers came."""
        lane = Lane(self.connection, self._h2, self._transport, stream_id, self.processor.streams)
        self.dispatcher.begin(lane, headers)

    def ended(self, stream_id: int, data: bytes) -> None:
        """DATA came that ends a request."""
        lane = self.processor.streams.get(stream_id)
        inbox = None if lane is None else cast(Inbox, lane.buffer)
        if inbox is None or inbox.last(data):
            self._h2.give_back(len(data))
        else:
            inbox.add(data, len(data))
            inbox.eof()

    def came(self, data: bytes) -> bool:
        """Any other frame came. False once the connection closes."""
        if data[3:4] == _GOAWAY:
            self.connection.flush()  # h2 would drop what is not written yet
        for event in self.connection.feed(data):
            self.processor.process(event)
        if len(self._h2.remote_settings) > MAX_SETTINGS:
            raise Flood(Reason.FLOOD, f"more than {MAX_SETTINGS} settings")
        return not self.connection.is_closing()

    def was_reset(self, stream_id: int) -> None:
        """A stream is over before its time."""
        self._h2.forget(stream_id)

    def greeted(self) -> None:
        """The client's first settings came: it speaks HTTP/2."""
        if self._greeting_timer is not None:
            self._greeting_timer.cancel()
            self._greeting_timer = None

    def connection_lost(self, exc: BaseException | None) -> None:
        """Cancels every call of this connection."""
        timers = (self._settle_timer, self._linger_timer, self._age_timer, self._greeting_timer, self._reader_timer)
        for timer in timers:
            if timer is not None:
                timer.cancel()
        self.processor.close(reason="connection lost")
        if self._admitted:
            self._owner.closed(self)

    def drain(self) -> None:
        """Asks the client to open no more streams, and waits for it to have seen that before naming the last one.

        Streams that the client opened before it saw the first GOAWAY are served (RFC 9113, section 6.8).
        """
        if self._draining:
            return
        self._draining = True
        if self._linger_timer is not None or self.connection.is_closing():
            self.settle()
            return
        self._goaway(_LAST_STREAM_ID)
        self._h2.ping(_DRAIN_PINGS[0])
        self.connection.flush()
        self._settle_timer = asyncio.get_running_loop().call_later(PING_BOUND_S, self.settle)

    def confirmed(self, ping: bytes) -> None:
        """The client answered a PING. What came with the answer is handled first: streams may be behind it."""
        if ping in _DRAIN_PINGS:
            asyncio.get_running_loop().call_soon(self._confirmed, ping)

    def _confirmed(self, ping: bytes) -> None:
        if self._pending:
            asyncio.get_running_loop().call_soon(self._confirmed, ping)
        elif ping == _DRAIN_PINGS[1]:
            self.settle()
        elif self.dispatcher.accepting and not self.connection.is_closing():
            self._h2.ping(_DRAIN_PINGS[1])
            self.connection.flush()

    def settle(self) -> None:
        """Names the last stream this connection serves; from here on others are refused as safe to send elsewhere."""
        if not self.dispatcher.accepting:
            return
        self.dispatcher.accepting = False
        if self._settle_timer is not None:
            self._settle_timer.cancel()
        self._goaway(self._h2.highest_inbound_stream_id)
        self._owner.settled(self)
        self._call_ended()

    def close(self) -> None:
        """Closes once what was written has left."""
        if not self.connection.is_closing():
            self.connection.flush()
        self.processor.close("connection closed")

    def abort(self) -> None:
        """Closes at once."""
        self._transport.abort()

    def _age(self) -> None:
        """The connection is old: its client is to open another, and this one ends with its last call."""
        self._aged = True
        grace = self._service.limits.max_connection_age_grace
        self._age_timer = asyncio.get_running_loop().call_later(grace, self._outlive)
        self.drain()

    def _outlive(self) -> None:
        self.settle()
        self.dispatcher.refuse(_TOO_OLD)

    def _call_ended(self) -> None:
        if self._aged and not self.dispatcher.accepting and not self.dispatcher.awaited:
            # Not from here: the call that ended is still at it.
            asyncio.get_running_loop().call_soon(self._end_of_age)

    def _end_of_age(self) -> None:
        if self._linger_timer is None and not self.connection.is_closing():
            self.dispatcher.refuse(_TOO_OLD)  # those that never end by themselves
            self._hang_up()

    def _handle(self, data: bytes) -> None:
        if self._linger_timer is not None or self.connection.is_closing():
            return
        try:
            rest = self._intake.take(data)
        except Flood as flood:
            _logger.debug("turned away %s: %s", address_of(self._transport), flood)
            self._violation(flood.reason, Status.RESOURCE_EXHAUSTED, ErrorCodes.ENHANCE_YOUR_CALM)
            return
        except ProtocolError as error:
            said: object = error
            if data.startswith(_TLS_RECORD) and not self._h2.streams:
                said = f"{error} It seems to speak TLS, and this port does not"
            _logger.debug("protocol error from %s: %s", address_of(self._transport), said)
            self._violation(Reason.PROTOCOL_ERROR, Status.INTERNAL, error.error_code)
            return
        if self.connection.is_closing():
            return
        self.connection.flush()
        if rest:
            self._pending = rest
            self._read_or_not()
            asyncio.get_running_loop().call_soon(self._go_on)

    def _go_on(self) -> None:
        data, self._pending = self._pending, b""
        self._handle(data)
        self._read_or_not()

    def _read_or_not(self) -> None:
        if self.connection.is_closing():
            return
        wanted = not self._pending and self.connection.write_ready.is_set()
        if wanted == self._reading:
            return
        self._reading = wanted
        if wanted:
            self._transport.resume_reading()
        else:
            self._transport.pause_reading()

    def _violation(self, reason: Reason, status: Status, code: ErrorCodes | int) -> None:
        self._service.on_rejected("", status, reason)
        # For most errors h2 has prepared the GOAWAY already.
        if self._h2.state_machine.state is not ConnectionState.CLOSED:
            self._h2.close_connection(code)
        self._hang_up()

    def _mute(self) -> None:
        if self._linger_timer is None and not self.connection.is_closing():
            timeout = self._service.limits.handshake_timeout
            _logger.debug("turned away %s: no HTTP/2 within %g s", address_of(self._transport), timeout)
            self._violation(Reason.SLOW_HANDSHAKE, Status.UNAVAILABLE, ErrorCodes.SETTINGS_TIMEOUT)

    def _unread(self) -> None:
        timeout = self._service.limits.send_timeout
        _logger.debug("cut off %s: it did not read for %g s", address_of(self._transport), timeout)
        self._service.on_rejected("", Status.UNAVAILABLE, Reason.SLOW_READER)
        self.abort()

    def _goaway(self, last_stream_id: int) -> None:
        # Written past h2, which takes a sent GOAWAY for the end and would send no more answers after it.
        if self._linger_timer is None and not self.connection.is_closing():
            self.connection.flush()
            frame = GoAwayFrame(0, last_stream_id=last_stream_id, error_code=ErrorCodes.NO_ERROR)
            self._transport.write(frame.serialize())

    def _hang_up(self) -> None:
        # Our GOAWAY says why. The client may close first (LINGER_S says why); what it sends until then is dropped.
        self.connection.flush()
        self.dispatcher.close()
        if self._transport.can_write_eof():
            try:
                self._transport.write_eof()
            except OSError:
                pass  # the client was faster: nothing is there to be ended
        self._linger_timer = asyncio.get_running_loop().call_later(LINGER_S, self.close)
