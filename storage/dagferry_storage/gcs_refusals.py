"""What Google's client raises, as the errors that callers of a store know: what was asked, of which store, by whom, and
why not.

Three libraries have their say: that of the interface (what the server answered), that of the credentials (what their
own server answered, before the store is asked for anything), and that of the connection.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import google.auth.exceptions as unproven
import urllib3.exceptions
from google.api_core import exceptions as refusals

from dagferry_schemas.errors import DeliveryFailed, Forbidden

from . import bucket, outage
from .retrying import Passing
from .store import SET_THE_CLOCK, Absent, Missing

try:
    from google.cloud.storage.exceptions import DataCorruption
except ModuleNotFoundError:  # before 3.0
    from google.resumable_media import DataCorruption

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .gcs_connection import Connection

_SKEWED: Final = "Check your iat and exp values"
"""What Google's server of tokens answers, and says of nothing else, where a key's signature is not of this hour."""


class Refusals:
    """Those of the store ``url``, which is asked over ``connection``."""

    def __init__(self, url: str, connection: Connection) -> None:
        self._url = url
        self._connection = connection

    @contextmanager
    def telling(self, action: str, key: str) -> Iterator[None]:
        """Turn what Google's client raises into the errors that callers know, or `Unchanged` or `Unmet` of `bucket`."""
        what = f"store {self._url}: cannot {action} {key}"
        try:
            yield
        except refusals.NotModified:
            raise bucket.Unchanged from None
        except refusals.PreconditionFailed:
            raise bucket.Unmet from None
        except refusals.GoogleAPICallError as error:
            raise self._refused(error, what) from error
        except unproven.GoogleAuthError as error:
            raise self._unproven(error, what) from error
        except DataCorruption as error:
            raise Passing(f"{what}: the bytes were damaged on the way", "try again; look at the network") from error
        except (OSError, urllib3.exceptions.HTTPError) as error:
            raise Passing(f"{what}: {outage.told(error)}", "look at the network, then try again") from error

    def _refused(self, error: refusals.GoogleAPICallError, what: str) -> DeliveryFailed | Missing:
        status, said = int(error.code or 0), _words(error)
        if status == 404:
            if "No such object" in said:
                return Missing(
                    f"{what}: there is no such object", "check the name, and that the store is the right one"
                )
            if not _is_googles(error):
                return DeliveryFailed(
                    f"{what}: {_server(error)}as no server of Google Cloud Storage does: HTTP 404 {said}".rstrip(),
                    "look at STORAGE_EMULATOR_HOST, and at what is in between",
                )
            told = f"there is no such bucket ({said}; asked as {self._connection.who})"
            return Absent(f"{what}: {told}", "check --store, or create the bucket")
        # A limit of so many requests in a time has had its answers under both numbers.
        if status == 429 or (status == 403 and "ratelimitexceeded" in _text(error).lower()):
            return bucket.busy(what, said)
        if status == 401:
            return self._not_accepted(what, said)
        if status == 403:
            return bucket.may_not(what, self._connection.who, said)
        kind = Passing if status >= 500 or status == 408 else DeliveryFailed
        return kind(f"{what}: {_server(error)}HTTP {status} {said}".rstrip(), "try again; look at the server's state")

    def _unproven(self, error: unproven.GoogleAuthError, what: str) -> DeliveryFailed:
        if self._connection.found_nobody:
            said = str(error).partition("\n")[0]
            hint = "give this process Google credentials: workload identity, GOOGLE_APPLICATION_CREDENTIALS or gcloud"
            return Forbidden(f"{what}: {said}", hint, code="no_credentials")
        if isinstance(error, unproven.TransportError):
            said = f"the credentials' server: {outage.told(error)}"
            return Passing(f"{what}: {said}", "look at the network, then try again")
        if _SKEWED in str(error):
            said = f"this machine's clock is too far from Google's, who refuses a token to {self._connection.who}"
            return DeliveryFailed(f"{what}: {said} ({error})", SET_THE_CLOCK, code="clock_skew")
        return self._not_accepted(what, str(error))

    def _not_accepted(self, what: str, said: str) -> Forbidden:
        return Forbidden(
            f"{what}: the credentials of {self._connection.who} are not accepted ({said})",
            "renew them, or check which ones this process finds",
            code="no_credentials" if self._connection.is_anonymous else "expired_credentials",
        )


def _words(error: refusals.GoogleAPICallError) -> str:
    """What the server said: the message of its JSON answer, else the beginning of whatever it answered."""
    try:
        return str(error.response.json()["error"]["message"])
    except (AttributeError, KeyError, TypeError, ValueError):
        return outage.words(_text(error) or str(error.message or ""))


def _is_googles(error: refusals.GoogleAPICallError) -> bool:
    """Whether the answer has the form of an error of Google's, or of what it says of a download."""
    text = _text(error).lstrip()
    return not text.startswith("<") or "NoSuchBucket" in text


def _server(error: refusals.GoogleAPICallError) -> str:
    url = getattr(error.response, "url", None)
    return f"{outage.server(url)} answers " if url else ""


def _text(error: refusals.GoogleAPICallError) -> str:
    return str(getattr(error.response, "text", ""))
