"""How an href becomes an address that GDAL opens now, and what it means when an archive refuses.

Manifests keep unsigned hrefs. Signatures, tokens and keys are made or looked up right before each opening, from environment
variables or the vendors' own credential files, and never written anywhere.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from smallmines.archive.providers import Provider
from smallmines.core.errors import UserError
from smallmines.core.redaction import redacted

HTTP: Mapping[str, str] = {
    "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",
    "GDAL_HTTP_MAX_RETRY": "5",
    "GDAL_HTTP_RETRY_DELAY": "1",
    "GDAL_HTTP_CONNECTTIMEOUT": "20",
    "GDAL_HTTP_TIMEOUT": "120",
    "GDAL_HTTP_LOW_SPEED_TIME": "30",
    "GDAL_HTTP_LOW_SPEED_LIMIT": "1000",
    "CPL_VSIL_CURL_NON_CACHED": "/vsicurl/:/vsis3/",  # a failed opening would else be remembered for the life of the process
    "VSI_CACHE": "TRUE",
}
"""GDAL's settings for remote reads; an environment variable of the same name takes precedence."""

CDSE_TOKENS = "https://identity.dataspace.copernicus.eu/auth/realms/CDSE/protocol/openid-connect/token"
"""Where tokens for `bearer` come from; the environment variable `CDSE_TOKEN_URL` takes its place."""

REFUSED = re.compile(
    r"\b(401|403)\b|InvalidAccessKeyId|SignatureDoesNotMatch|Access ?Denied|InvalidCredentials|AWS_SECRET_ACCESS_KEY|no_sign_request",
    re.IGNORECASE,
)
ABSENT = re.compile(r"\b404\b|NoSuchKey|NoSuchBucket|does not exist in the file system|No such file", re.IGNORECASE)


@dataclass(frozen=True)
class Readable:
    """An address for `rasterio.open` and the GDAL settings that go with it; not for any log."""

    path: str
    options: Mapping[str, str] = field(default_factory=dict)


def is_remote(href: str) -> bool:
    """Whether reading an href needs a network."""
    return "://" in href


def readable(href: str, provider: Provider) -> Readable:
    """What to open now for an unsigned href.

    Raises:
        UserError: credentials are missing, or the service that signs does not answer or refuses.
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
    """Make the next `readable` ask for new tokens: the last one was refused, whatever its own expiry says."""
    import planetary_computer.sas

    planetary_computer.sas.TOKEN_CACHE.clear()
    _TOKENS.clear()


def text_of(href: str, provider: Provider) -> str:
    """A small text file of an archive, such as a product's metadata.

    Raises:
        UserError: it cannot be read; names the provider and the (unsigned) href.
    """
    try:
        if not is_remote(href):
            return Path(href).read_text(encoding="utf-8")
        if href.startswith("s3://"):
            bucket, _, key = href.removeprefix("s3://").partition("/")
            return str(_s3_client(provider).get_object(Bucket=bucket, Key=key)["Body"].read().decode())
        headers = {"Authorization": f"Bearer {_bearer(provider)}"} if provider.signing == "bearer" else {}
        address = _pc_signed(href, provider) if provider.signing == "planetary_computer" else href
        answer = session().get(address, headers=headers, timeout=(20, 120))
        answer.raise_for_status()
        return str(answer.text)
    except UserError:
        raise
    except Exception as error:
        raise refusal(f"{href}", error, provider) from error


def refusal(what: str, error: BaseException, provider: Provider) -> UserError:
    """An archive's refusal or failure in words: no access, not there, or not readable."""
    found = redacted(str(error)).replace("\n", " ")
    if REFUSED.search(found):
        return UserError(f"access to {what} of the provider {provider.name}", found, provider.account)
    if ABSENT.search(found):
        return UserError(
            f"{what} of the provider {provider.name}",
            found,
            "the catalogue names a file that is not there: run again later, or leave the item out "
            "(an edited copy of the manifest in resources/user/<run>/manifests/ takes the place of the search)",
        )
    return UserError(
        f"a readable {what} of the provider {provider.name}",
        found,
        "run again (what is in the cache stays); where it fails again restore the file, or leave the item out",
    )


def session() -> Any:
    """A `requests` session that repeats what fails for the moment."""
    import requests
    from requests.adapters import HTTPAdapter

    made = requests.Session()
    for scheme in ("http://", "https://"):
        made.mount(scheme, HTTPAdapter(max_retries=retries()))
    return made


def retries() -> Any:
    """Up to six repetitions on 429 and 5xx, for GET and POST, with growing pauses or those the server asks for."""
    from urllib3.util.retry import Retry

    return Retry(
        total=6,
        backoff_factor=float(os.environ.get("GDAL_HTTP_RETRY_DELAY", HTTP["GDAL_HTTP_RETRY_DELAY"])) / 2,
        status_forcelist=[429, 500, 502, 503, 504],
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
    """Host of the S3 service, and whether it is asked through HTTPS."""
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
"""Tokens of `bearer` and the time until which they are used."""


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
        told = answer.json()
    except Exception as error:
        raise refusal("a token", error, provider) from error
    token = str(told["access_token"])
    _TOKENS[provider.name] = (token, time.monotonic() + max(0.0, float(told.get("expires_in", 600)) - 60))
    return token
