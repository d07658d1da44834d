"""The connection of a GCS store: its client, and as whom it asks.

* One client, and with it one pool of connections, per store; it is made on first use and shared by all threads.
* An emulator (``STORAGE_EMULATOR_HOST``) is spoken to without credentials.
"""

from __future__ import annotations

import os
import threading
from typing import Any

import google.auth
import google.cloud.storage as storage
from google.auth.credentials import AnonymousCredentials
from google.auth.transport.requests import AuthorizedSession, Request
from requests.adapters import HTTPAdapter

from . import bucket


class Connection:
    """To ``emulator``, or to Google; credentials come from where Google's client looks for them."""

    def __init__(self, emulator: str | None) -> None:
        self._emulator = emulator
        self._made = threading.Lock()
        self._client: Any = None
        self._credentials: Any = None

    @property
    def client(self) -> Any:  # noqa: ANN401 (Google's client has no types)
        """Google's client. Raises what Google's library of credentials raises if it finds none."""
        with self._made:
            if self._client is None:
                self._client = self._make_client()
            return self._client

    @property
    def found_nobody(self) -> bool:
        """Credentials were looked for in vain, or not yet."""
        return self._credentials is None

    @property
    def is_anonymous(self) -> bool:
        """The server is an emulator, and is told nobody."""
        return isinstance(self._credentials, AnonymousCredentials)

    @property
    def who(self) -> str:
        """Who the server was told that this is; a machine's own account is known only after it was used."""
        if self.found_nobody or self.is_anonymous:
            return "a client without credentials"
        known = self._credentials
        email = getattr(known, "service_account_email", None) or getattr(known, "account", None)
        return str(email or f"the identity of {type(known).__module__}")

    @property
    def source(self) -> str:
        """Where Google's client found the credentials."""
        ask: Any = getattr(self._credentials, "get_cred_info", None)  # since google-auth 2.35
        told = (ask() if ask else None) or {}
        source = [told[name] for name in ("credential_type", "credential_source") if told.get(name)]
        return ", ".join(source) or type(self._credentials).__module__

    def prove(self) -> None:
        """Get a token. Raises what Google's library of credentials raises if there is none."""
        if self.client and not self._credentials.valid:
            self._credentials.refresh(Request())

    def _make_client(self) -> Any:  # noqa: ANN401
        # Else a thread of Google's client (3.17) asks for the bucket's metadata, which agents may not read.
        os.environ.setdefault("DISABLE_GCS_PYTHON_CLIENT_OTEL_BUCKET_METADATA", "true")
        emulator = self._emulator or os.environ.get("STORAGE_EMULATOR_HOST")
        if emulator:
            self._credentials = AnonymousCredentials()  # type: ignore[no-untyped-call]
        else:
            self._credentials, _ = google.auth.default(scopes=storage.Client.SCOPE)
        # What cannot be renewed is not tried: the session would lose the connection on the way to its error.
        renewing = {"refresh_status_codes": ()} if emulator else {}
        session = AuthorizedSession(self._credentials, **renewing)  # type: ignore[no-untyped-call]
        for scheme in ("http://", "https://"):
            session.mount(scheme, HTTPAdapter(pool_maxsize=bucket.CONNECTIONS))
        options = {"api_endpoint": emulator} if emulator else None
        return storage.Client(project=None, credentials=self._credentials, client_options=options, _http=session)
