"""Removal of signatures, tokens and keys from texts."""

from __future__ import annotations

import os
import re

SECRETS = (
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "CDSE_USERNAME",
    "CDSE_PASSWORD",
    "PC_SDK_SUBSCRIPTION_KEY",
    "HF_TOKEN",
    "HUGGING_FACE_HUB_TOKEN",
)
"""Environment variables with secret values."""

QUERY = re.compile(r"(https?://[^\s?'\"<>]+)\?[^\s'\"<>]+")
TOKEN = re.compile(r"(?i)(bearer |access_token['\"]?[:=]\s*['\"]?|sig=)[^\s'\"&]+")
"""Places of signatures and tokens: the query of a URL, the text after these words."""

HUB_TOKEN = re.compile(r"\bhf_[A-Za-z0-9]{20,}")
"""A token of the Hugging Face Hub, which may also come from the vendor's token file."""


def redacted(text: str) -> str:
    """Remove signatures, tokens and keys from a text.

    These are queries of URLs, what follows `Bearer`, tokens of the Hugging Face Hub, and the values of `SECRETS`.
    """
    text = HUB_TOKEN.sub("…", TOKEN.sub(r"\1…", QUERY.sub(r"\1?…", text)))
    for name in SECRETS:
        if value := os.environ.get(name):
            text = text.replace(value, "…")
    return text
