"""Sign hrefs for GDAL and requests, and convert an archive's refusal to a user error.

Manifests hold unsigned hrefs. Signatures, tokens and keys are made or looked up right before each opening, from environment
variables or the vendors' own credential files, and are never written to a file.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit
from urllib.request import url2pathname

from smallmines.archive.providers import Provider
from smallmines.core.errors import UserError
from smallmines.core.log import logger
from smallmines.core.redaction import redacted

HTTP: Mapping[str, str] = {
    "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",
    "GDAL_HTTP_MAX_RETRY": "5",
    "GDAL_HTTP_RETRY_DELAY": "1",
    "GDAL_HTTP_CONNECTTIMEOUT": "20",
    "GDAL_HTTP_TIMEOUT": "120",
    "GDAL_HTTP_LOW_SPEED_TIME": "30",
    "GDAL_HTTP_LOW_SPEED_LIMIT": "1000",
    "CPL_VSIL_CURL_NON_CACHED": "/vsicurl/:/vsis3/",  # else a failed opening is cached for the life of the process
    "VSI_CACHE": "TRUE",
}
"""GDAL settings for remote reads; an environment variable of the same name takes precedence."""

CDSE_TOKENS = "https://identity.dataspace.copernicus.eu/auth/realms/CDSE/protocol/openid-connect/token"
"""Address of the token service for `bearer`; the environment variable `CDSE_TOKEN_URL` takes precedence."""

REFUSED = re.compile(
    r"\b(401|403)\b|InvalidAccessKeyId|SignatureDoesNotMatch|Access ?Denied|InvalidCredentials|AWS_SECRET_ACCESS_KEY|no_sign_request",
    re.IGNORECASE,
)
"""Texts of errors that mean: no access."""

ABSENT = re.compile(r"\b404\b|NoSuchKey|NoSuchBucket|does not exist in the file system|No such file", re.IGNORECASE)
"""Texts of errors that mean: no such file."""

BROKE_OFF = re.compile(r"IncompleteRead|Connection broken|total bytes expected|reading from response stream|Read timed out", re.IGNORECASE)
"""Texts of errors that mean: the body of an answer broke off, which HTTP clients do not repeat."""

BODY_ATTEMPTS = 4
"""Most attempts where the body of an answer breaks off."""

T = TypeVar("T")

RETRY_STATUS = (429, 500, 502, 503, 504)
"""HTTP statuses after which a request is repeated."""


@dataclass(frozen=True)
class Readable:
    """A signed address for `rasterio.open` and its GDAL settings; never logged."""

    path: str
    options: Mapping[str, str] = field(default_factory=dict)


def is_remote(href: str) -> bool:
    """Return whether an href is an address on a network; `file://` and GDAL's own `/vsi…` are none."""
    return "://" in href and not href.startswith(("file:", "/vsi", "<"))


def local_path(href: str) -> str:
    """Return the path of a `file://` address; another href as it is."""
    return url2pathname(urlsplit(href).path) if href.startswith("file:") else href


def readable(href: str, provider: Provider) -> Readable:
    """Sign an href.

    Raises:
        UserError: credentials are missing, or the signing service fails or refuses.
    """
    if not is_remote(href):
        return Readable(href)
    options = {name: value for name, value in HTTP.items() if name not in os.environ}
    if provider.signing == "planetary_computer":
        return Readable("/vsicurl/" + _pc_signed(href, provider), options)
    if href.startswith("s3://"):
        return Readable("/vsis3/" + href.removeprefix("s3://"), options | _s3_options(provider))
    if provider.signing == "bearer":
        options |= {"GDAL_HTTP_AUTH": "BEARER", "GDAL_HTTP_BEARER": _bearer(provider), "CPL_VSIL_CURL_USE_HEAD": "NO"}
    return Readable("/vsicurl/" + href, options)


def forget_signatures() -> None:
    """Drop cached tokens, so that the next `readable` asks for new ones."""
    import planetary_computer.sas

    planetary_computer.sas.TOKEN_CACHE.clear()
    _TOKENS.clear()


def text_of(href: str, provider: Provider) -> str:
    """Read a small text file of an archive, such as a product's metadata; repeat it where the answer breaks off.

    Raises:
        UserError: it cannot be read; names the provider and the (unsigned) href.
    """
    try:
        return repeated(href, lambda: _text(href, provider))
    except UserError:
        raise
    except Exception as error:
        raise refusal(href, error, provider) from error


def repeated(address: str, work: Callable[[], T]) -> T:
    """Return `work()`; repeat it where the body of an answer breaks off, which the sessions do not.

    Args:
        address: for the log, unsigned.
    """
    for attempt in range(1, BODY_ATTEMPTS + 1):
        try:
            return work()
        except Exception as error:
            text = redacted(str(error)).replace("\n", " ")
            if attempt == BODY_ATTEMPTS or not BROKE_OFF.search(text):
                raise
            logger.warning("%s: %s; again (%d of %d)", address, text, attempt, BODY_ATTEMPTS - 1)
            time.sleep(retry_delay() * 2**attempt)
    raise AssertionError("unreachable")


def _text(href: str, provider: Provider) -> str:
    if not is_remote(href):
        return Path(local_path(href)).read_text(encoding="utf-8")
    if href.startswith("s3://"):
        bucket, _, key = href.removeprefix("s3://").partition("/")
        return str(_s3_client(provider).get_object(Bucket=bucket, Key=key)["Body"].read().decode())
    headers = {"Authorization": f"Bearer {_bearer(provider)}"} if provider.signing == "bearer" else {}
    address = _pc_signed(href, provider) if provider.signing == "planetary_computer" else href
    answer = session().get(address, headers=headers, timeout=(20, 120))
    answer.raise_for_status()
    return str(answer.text)


def refusal(thing: str, error: BaseException, provider: Provider) -> UserError:
    """Return the user error for an archive's error: no access, not there, or not readable.

    Args:
        thing: what was asked for, for the message.
    """
    message = redacted(str(error)).replace("\n", " ")
    if REFUSED.search(message):
        return UserError(f"access to {thing} of the provider {provider.name}", message, provider.account)
    if ABSENT.search(message):
        return UserError(
            f"{thing} of the provider {provider.name}",
            message,
            "the catalogue names a file that is not there: run again later, or leave the item out "
            "(`exclude_items` of the sensor in the config file)",
        )
    return UserError(
        f"a readable {thing} of the provider {provider.name}",
        message,
        "run again (what is in the cache stays); where it fails again restore the file, or leave the item out "
        "(`exclude_items` of the sensor in the config file)",
    )


def session() -> Any:
    """Return a `requests` session that retries temporary failures."""
    import requests
    from requests.adapters import HTTPAdapter

    retrying = requests.Session()
    for scheme in ("http://", "https://"):
        retrying.mount(scheme, HTTPAdapter(max_retries=retries()))
    return retrying


def retry_delay() -> float:
    """Return the base of the pauses between retries, in s."""
    return float(os.environ.get("GDAL_HTTP_RETRY_DELAY", HTTP["GDAL_HTTP_RETRY_DELAY"]))


def retries() -> Any:
    """Return the retry policy of HTTP clients: six retries on 429 and 5xx, of GET and POST, with growing pauses or the server's own."""
    from urllib3.util.retry import Retry

    return Retry(
        total=6,
        backoff_factor=retry_delay() / 2,
        status_forcelist=RETRY_STATUS,
        allowed_methods={"GET", "POST"},
        raise_on_status=False,
    )


def _pc_signed(href: str, provider: Provider) -> str:
    import planetary_computer

    try:
        return str(planetary_computer.sign(href))
    except Exception as error:
        raise refusal(f"a signature for {href}", error, provider) from error


def _s3_endpoint(provider: Provider) -> tuple[str, bool]:
    """Return the host of the S3 service, and whether it uses HTTPS."""
    address = os.environ.get(f"SMALLMINES_{provider.name.upper()}_S3_ENDPOINT") or provider.endpoint or "s3.amazonaws.com"
    scheme, _, host = address.rpartition("://")
    return host.rstrip("/"), scheme != "http"


def _s3_options(provider: Provider) -> dict[str, str]:
    host, https = _s3_endpoint(provider)
    options = {"AWS_S3_ENDPOINT": host, "AWS_HTTPS": "YES" if https else "NO", "AWS_VIRTUAL_HOSTING": "FALSE"}
    options |= {"AWS_REGION": provider.region or "us-east-1", "AWS_DEFAULT_REGION": provider.region or "us-east-1"}
    if provider.signing == "s3_anonymous":
        return options | {"AWS_NO_SIGN_REQUEST": "YES"}
    _require_s3_keys(provider)
    return options


def _require_s3_keys(provider: Provider) -> None:
    shared = Path(os.environ.get("AWS_SHARED_CREDENTIALS_FILE", Path.home() / ".aws/credentials"))
    if not (os.environ.get("AWS_ACCESS_KEY_ID") and os.environ.get("AWS_SECRET_ACCESS_KEY")) and not shared.is_file():
        raise UserError(
            f"S3 keys for the provider {provider.name}",
            f"neither AWS_ACCESS_KEY_ID with AWS_SECRET_ACCESS_KEY nor {shared}",
            provider.account,
        )


def _s3_client(provider: Provider) -> Any:
    import boto3
    from botocore import UNSIGNED
    from botocore.config import Config

    anonymous = provider.signing == "s3_anonymous"
    if not anonymous:
        _require_s3_keys(provider)
    host, https = _s3_endpoint(provider)
    settings: dict[str, Any] = {"s3": {"addressing_style": "path"}, "retries": {"max_attempts": 6, "mode": "standard"}}
    if anonymous:
        settings["signature_version"] = UNSIGNED
    region = provider.region or "us-east-1"
    return boto3.client("s3", endpoint_url=f"{'https' if https else 'http'}://{host}", region_name=region, config=Config(**settings))


_TOKENS: dict[str, tuple[str, float]] = {}
"""By provider, its token of `bearer` and the monotonic time until which it is used."""


def _bearer(provider: Provider) -> str:
    token, until = _TOKENS.get(provider.name, ("", 0.0))
    if time.monotonic() < until:
        return token
    user, password = os.environ.get("CDSE_USERNAME"), os.environ.get("CDSE_PASSWORD")
    if not (user and password):
        raise UserError(f"an account for the provider {provider.name}", "CDSE_USERNAME or CDSE_PASSWORD is not set", provider.account)
    form = {"client_id": "cdse-public", "grant_type": "password", "username": user, "password": password}
    try:
        answer = session().post(os.environ.get("CDSE_TOKEN_URL", CDSE_TOKENS), data=form, timeout=(20, 60))
        answer.raise_for_status()
        content = answer.json()
    except Exception as error:
        raise refusal("a token", error, provider) from error
    token = str(content["access_token"])
    _TOKENS[provider.name] = (token, time.monotonic() + max(0.0, float(content.get("expires_in", 600)) - 60))
    return token
