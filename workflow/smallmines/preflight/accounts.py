"""Look for the accounts that providers need, in environment variables and credential files. No value is read or shown."""

from __future__ import annotations

import os
from pathlib import Path

from smallmines.archive.providers import Provider

GOOGLE_FILES = (".config/earthengine/credentials", ".config/gcloud/application_default_credentials.json")
"""Credential files of Google's libraries, relative to the home folder."""


def missing_account(provider: Provider) -> str | None:
    """Return what a provider needs and what is not there, by name; None where nothing is missing.

    A file or variable that exists may still hold wrong values: `smallmines access` tries them.
    """
    if provider.access == "earthengine":
        return _missing_google()
    if provider.signing == "s3":
        return _missing_s3()
    if provider.signing == "bearer":
        unset = [name for name in ("CDSE_USERNAME", "CDSE_PASSWORD") if not os.environ.get(name)]
        return f"{' and '.join(unset)} not set" if unset else None
    return None


def _missing_s3() -> str | None:
    path = Path(os.environ.get("AWS_SHARED_CREDENTIALS_FILE", Path.home() / ".aws/credentials"))
    if (os.environ.get("AWS_ACCESS_KEY_ID") and os.environ.get("AWS_SECRET_ACCESS_KEY")) or path.is_file():
        return None
    return f"neither AWS_ACCESS_KEY_ID with AWS_SECRET_ACCESS_KEY nor {path}"


def _missing_google() -> str | None:
    if key_file := os.environ.get("GOOGLE_APPLICATION_CREDENTIALS"):
        return None if Path(key_file).is_file() else "GOOGLE_APPLICATION_CREDENTIALS names a file that does not exist"
    if any((Path.home() / name).is_file() for name in GOOGLE_FILES):
        return None
    return f"neither GOOGLE_APPLICATION_CREDENTIALS nor {' nor '.join(f'~/{name}' for name in GOOGLE_FILES)}"
