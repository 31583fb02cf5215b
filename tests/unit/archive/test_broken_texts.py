"""Text files of an archive whose body breaks off: they are asked for again, other failures are not."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import requests

from smallmines.archive import signing
from smallmines.archive.providers import provider_of
from smallmines.core.errors import UserError

BROKEN = requests.exceptions.ChunkedEncodingError("Connection broken: IncompleteRead(573 bytes read, 574 more expected)")
HREF = "https://example.org/product_metadata.xml"


def asked(monkeypatch: pytest.MonkeyPatch, *failures: Exception) -> list[str]:
    """Let the first requests fail; return the list that collects all."""
    waiting, requested = list(failures), list[str]()

    def get(address: str, **_: object) -> SimpleNamespace:
        requested.append(address)
        if waiting:
            raise waiting.pop(0)
        return SimpleNamespace(raise_for_status=lambda: None, text="<xml/>")

    monkeypatch.setattr(signing, "session", lambda: SimpleNamespace(get=get))
    monkeypatch.setenv("GDAL_HTTP_RETRY_DELAY", "0")
    return requested


def test_a_body_that_breaks_off_is_asked_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    requested = asked(monkeypatch, BROKEN, BROKEN)
    assert signing.text_of(HREF, provider_of("s2", "earth_search")) == "<xml/>"
    assert requested == [HREF] * 3


@pytest.mark.parametrize(("error", "requests_made"), [(BROKEN, 4), (requests.HTTPError("404 Client Error"), 1)])
def test_what_does_not_pass_is_refused(monkeypatch: pytest.MonkeyPatch, error: Exception, requests_made: int) -> None:
    requested = asked(monkeypatch, *[error] * 9)
    with pytest.raises(UserError, match="of the provider earth_search"):
        signing.text_of(HREF, provider_of("s2", "earth_search"))
    assert len(requested) == requests_made
