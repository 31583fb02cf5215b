"""Tokens and keys are removed from texts."""

from __future__ import annotations

import pytest

from smallmines.config.secrets import secrets_in
from smallmines.core.redaction import redacted

TOKEN = "hf_AbcdefghijAbcdefghijAbcdefghijAbcd"


def test_tokens_of_the_hub_are_removed_wherever_they_come_from(monkeypatch: pytest.MonkeyPatch) -> None:
    assert redacted(f"401 for {TOKEN} at the Hub") == "401 for … at the Hub"
    monkeypatch.setenv("HF_TOKEN", "another-form-of-token")
    assert redacted("refused another-form-of-token.") == "refused …."
    assert redacted("hf_hub_download and hf_hub_url") == "hf_hub_download and hf_hub_url"


def test_a_token_of_the_hub_in_a_configuration_is_found_and_not_repeated() -> None:
    (found,) = secrets_in({"released": {"repository": TOKEN}})
    assert found == "released.repository: a token of the Hugging Face Hub"
    assert secrets_in({"released": {"repository": "ellaampy/SmallMinesDS"}}) == []
