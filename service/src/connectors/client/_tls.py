"""How a server is known: by its certificate, as the backends know it. They show none of their own."""

from __future__ import annotations

import ssl
from pathlib import Path

__all__ = ["tls"]


def tls(ca_file: str | Path | None = None) -> ssl.SSLContext:
    """What :class:`connectors.client.ConnectorClient` takes as its ``ssl``: TLS 1.2 or later, HTTP/2 by ALPN (RFC 9113,
    section 3.2), and a certificate that is valid for the address's host.

    :param ca_file: the certificate authorities that are trusted, as PEM. None: the system's.
    :raises ValueError: the file cannot be read, or holds no certificate; the text names it.
    """
    try:
        context = ssl.create_default_context(cafile=None if ca_file is None else str(ca_file))
    except ssl.SSLError:
        raise ValueError(f"{ca_file} holds no certificates in the form PEM") from None
    except OSError as error:
        raise ValueError(f"{ca_file} cannot be read: {error.strerror}") from None
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["h2"])
    return context
