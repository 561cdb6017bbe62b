"""The certificate of the gRPC port: read from files, and read again when they change.

The port's address stays, and so do the connections that are open: a new certificate is for the connections after it.
"""

from __future__ import annotations

import asyncio
import logging
import os
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from connectors._settings import Settings

__all__ = ["Certificate", "TlsFault", "TlsFiles", "faults", "files_of"]

log = logging.getLogger("connectors.server")

LOOK_EVERY_S = 2.0
"""Seconds between two looks at the files. A certificate is replaced days before it runs out."""

_KEY_OF_ANOTHER = frozenset({"KEY_VALUES_MISMATCH", "KEY_TYPE_MISMATCH"})
_UNFIT_CERTIFICATE = frozenset({"EE_KEY_TOO_SMALL", "CA_KEY_TOO_SMALL", "CA_MD_TOO_WEAK"})


class TlsFault(Exception):
    """A file cannot be used. The message is one line that names the setting and the file."""


class _Encrypted(Exception):
    """OpenSSL asks for the password of a key."""


@dataclass(frozen=True)
class TlsFiles:
    """The files of a certificate, all of them PEM."""

    certificate: Path
    """The server's certificate, and behind it those that lead to its authority."""
    key: Path
    """Its private key, which is not encrypted."""
    client_ca: Path | None = None
    """The authorities of the clients' certificates: from then on a client needs one. None: clients show none."""

    def context(self) -> ssl.SSLContext:
        """TLS 1.2 or later, HTTP/2 by ALPN. It reads files: not for the event loop. :raises TlsFault: one is unfit."""
        for flag, path in self._named():
            try:
                path.read_bytes()
            except OSError as error:
                raise TlsFault(f"{flag}: {path} cannot be read: {_reason(error)}") from None
        # OpenSSL does not say in which of a pair's files the fault is; so first the certificate alone, as an authority.
        _authorities("--tls-certificate", self.certificate, ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.options |= ssl.OP_NO_RENEGOTIATION
        context.set_alpn_protocols(["h2"])
        self._load_pair(context)
        if self.client_ca is not None:
            _authorities("--tls-client-ca", self.client_ca, context)
            context.verify_mode = ssl.CERT_REQUIRED
        return context

    def seen(self) -> Sequence[object]:
        """What changes with the files, also where a link to them is turned, as Kubernetes does with its secrets.

        :raises TlsFault: one of them is not there.
        """
        found: list[object] = []
        for flag, path in self._named():
            try:
                state = path.stat()
            except OSError as error:
                raise TlsFault(f"{flag}: {path} cannot be read: {_reason(error)}") from None
            found.append((state.st_dev, state.st_ino, state.st_mtime_ns, state.st_size))
        return found

    def _named(self) -> Sequence[tuple[str, Path]]:
        pair = [("--tls-certificate", self.certificate), ("--tls-key", self.key)]
        return pair if self.client_ca is None else [*pair, ("--tls-client-ca", self.client_ca)]

    def _load_pair(self, context: ssl.SSLContext) -> None:
        try:
            context.load_cert_chain(self.certificate, self.key, password=_no_password)
        except _Encrypted:
            raise TlsFault(f"--tls-key: {self.key} is encrypted; the server has no password for it") from None
        except ssl.SSLError as error:
            if error.reason in _KEY_OF_ANOTHER:
                raise TlsFault(f"--tls-key: {self.key} is not the key of {self.certificate}") from None
            if error.reason in _UNFIT_CERTIFICATE:
                said = error.reason.lower().replace("_", " ")
                raise TlsFault(f"--tls-certificate: {self.certificate} is not fit for use: {said}") from None
            raise TlsFault(f"--tls-key: {self.key} holds no private key in the form PEM") from None
        except OSError as error:  # it went away just now
            raise TlsFault(f"--tls-certificate: {self.certificate} cannot be read: {_reason(error)}") from None


class Certificate:
    """What the next connection is shown. It follows the files; while they are unfit the last good ones stay.

    ``on_reload`` is told of every change of the files, on the event loop: True when it is in use, False when it cannot
    be.
    """

    def __init__(
        self, files: TlsFiles, *, on_reload: Callable[[bool], None] = lambda _: None, look_every: float = LOOK_EVERY_S
    ) -> None:
        """:param look_every: seconds between two looks at the files."""
        self._files = files
        self._on_reload = on_reload
        self._look_every = look_every
        self._context: ssl.SSLContext
        self._loaded: Sequence[object] = ()
        self._fault = ""
        self._watch: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Read the files, and look at them from now on. :raises TlsFault: one cannot be used."""
        self._loaded, self._context = await asyncio.to_thread(self._read)
        self._watch = asyncio.create_task(self._follow())

    async def aclose(self) -> None:
        """Look no more."""
        if self._watch is not None:
            self._watch.cancel()
            await asyncio.gather(self._watch, return_exceptions=True)

    def context(self) -> ssl.SSLContext:
        """What the next connection's handshake uses."""
        return self._context

    def _read(self) -> tuple[Sequence[object], ssl.SSLContext]:
        # Looked at before they are read: what changes in between is a change once more.
        return self._files.seen(), self._files.context()

    async def _follow(self) -> None:
        while True:
            await asyncio.sleep(self._look_every)
            try:
                if not self._fault and await asyncio.to_thread(self._files.seen) == self._loaded:
                    continue
                # Of a pair that is being replaced one file may be new and the other old: it is tried until it fits.
                seen, context = await asyncio.to_thread(self._read)
            except TlsFault as fault:
                self._failed(str(fault))
            else:
                self._read_again(seen, context)

    def _read_again(self, seen: Sequence[object], context: ssl.SSLContext) -> None:
        self._fault = ""
        if seen == self._loaded:  # what was gone is back as it was
            return
        self._loaded, self._context = seen, context
        log.info(
            "the TLS certificate changed: new connections are shown the one in %s",
            self._files.certificate,
            extra={"fields": {"event": "tls_reloaded"}},
        )
        self._on_reload(True)

    def _failed(self, fault: str) -> None:
        if fault != self._fault:
            self._fault = fault
            message = "the TLS certificate changed and cannot be used; the last one stays in use: %s"
            log.error(message, fault, extra={"fields": {"event": "tls_unfit"}})
            self._on_reload(False)


def files_of(settings: Settings) -> TlsFiles | None:
    """The files that the settings name; None where the port speaks without TLS."""
    if settings.tls_certificate is None or settings.tls_key is None:
        return None
    return TlsFiles(settings.tls_certificate, settings.tls_key, settings.tls_client_ca)


def faults(settings: Settings) -> Sequence[str]:
    """What keeps a server from starting, a line each."""
    files = files_of(settings)
    if files is None:
        return []
    try:
        files.context()
    except TlsFault as fault:
        return [str(fault)]
    return []


def _authorities(flag: str, path: Path, context: ssl.SSLContext) -> None:
    try:
        context.load_verify_locations(path)
    except ssl.SSLError:
        raise TlsFault(f"{flag}: {path} holds no certificate in the form PEM") from None
    except OSError as error:
        raise TlsFault(f"{flag}: {path} cannot be read: {_reason(error)}") from None


def _no_password() -> str:
    # Without this OpenSSL would ask at the terminal.
    raise _Encrypted


def _reason(error: OSError) -> str:
    return os.strerror(error.errno).lower() if error.errno else str(error)
