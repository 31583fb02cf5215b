"""Tokens and logins: hashed, private, expiring, revocable, and read again when they change."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from smallmines.annotation.server.access import DAY, LOGIN_SECONDS, Access, Person
from smallmines.core.errors import UserError

NOW = 1_800_000_000.0


def test_a_token_logs_in_and_neither_it_nor_the_cookie_is_stored(tmp_path: Path) -> None:
    access = Access(tmp_path)
    token = access.give("A01", "annotator", 30, NOW)
    cookie, person = access.login(token, NOW)
    assert len(token) == 43
    assert len(cookie) == 43
    assert access.person(cookie, NOW) == person == Person("A01", "annotator", person.login)
    files = {path.name: path for path in (tmp_path / "browser").iterdir()}
    assert set(files) == {"tokens.json", "logins.json"}
    for path in files.values():
        assert path.stat().st_mode & 0o777 == 0o600
        assert token not in path.read_text()
        assert cookie not in path.read_text()
    assert json.loads(files["tokens.json"].read_text())[0]["expires"] == NOW + 30 * DAY


def test_wrong_expired_and_revoked_tokens_log_nobody_in(tmp_path: Path) -> None:
    access = Access(tmp_path)
    token = access.give("A01", "annotator", 1, NOW)
    assert access.login(token + "x", NOW) is None
    assert access.login("", NOW) is None
    assert access.login(token, NOW + DAY - 1) is not None
    assert access.login(token, NOW + DAY) is None
    assert access.revoke("A02", NOW) == 0
    assert access.revoke("A01", NOW) == 1
    assert access.revoke("A01", NOW) == 0
    assert access.login(token, NOW) is None


def test_a_login_ends_with_its_token_with_time_and_with_a_logout(tmp_path: Path) -> None:
    access = Access(tmp_path)
    cookies = [access.login(access.give(name, "lead", days, NOW), NOW)[0] for name, days in (("A01", 1), ("A02", 30), ("A03", 30))]
    assert [bool(access.person(cookie, NOW + DAY)) for cookie in cookies] == [False, True, True]
    assert [bool(access.person(cookie, NOW + LOGIN_SECONDS)) for cookie in cookies] == [False, False, False]
    Access(tmp_path).revoke("A02", NOW)  # by the verb, while the server runs
    access.logout(cookies[2])
    assert [bool(access.person(cookie, NOW)) for cookie in cookies] == [True, False, False]
    assert access.person("", NOW) is None


def test_logins_survive_a_restart_and_a_new_token_counts_at_once(tmp_path: Path) -> None:
    access = Access(tmp_path)
    cookie, person = access.login(access.give("A01", "adjudicator", 30, NOW), NOW)
    again = Access(tmp_path)
    assert again.person(cookie, NOW) == person
    assert person.adjudicates
    assert not person.leads
    token = access.give("A02", "annotator", 30, NOW)
    assert again.login(token, NOW)[1].annotator == "A02"


def test_a_person_may_have_several_tokens_and_expired_ones_are_dropped_later(tmp_path: Path) -> None:
    access = Access(tmp_path)
    first, second = (access.give("A01", "annotator", 1, NOW) for _ in range(2))
    assert access.login(first, NOW)
    assert access.login(second, NOW)
    access.give("A01", "annotator", 1, NOW + 40 * DAY)
    assert len(access.tokens()) == 1


def test_codes_alone_log_in_only_on_this_machine_and_before_any_token(tmp_path: Path) -> None:
    assert Access(tmp_path, local=False).login_here("A01", NOW) is None
    access = Access(tmp_path, local=True)
    cookie, person = access.login_here("A01", NOW)
    assert person.leads
    assert access.login_here("../A01", NOW) is None
    assert access.login_here("", NOW) is None
    assert access.person(cookie, NOW)
    access.give("A01", "annotator", 1, NOW)
    assert access.login_here("A01", NOW) is None
    assert access.person(cookie, NOW) is None, "a login without a token ends when tokens are given"
    assert not access.open_to_this_machine()
    access.revoke("A01", NOW)
    assert not access.open_to_this_machine(), "revoking the last token opens nothing"


@pytest.mark.parametrize(("annotator", "role"), [("a@b.org", "lead"), ("../x", "lead"), ("", "lead"), ("A01", "owner")])
def test_other_codes_and_roles_get_no_token(tmp_path: Path, annotator: str, role: str) -> None:
    with pytest.raises(UserError, match=r"code of a person|a role"):
        Access(tmp_path).give(annotator, role, 1, NOW)


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[1]",
        '[{"hash": 1}]',
        '[{"hash": 1, "annotator": "A01", "role": "lead", "expires": 1}]',
        '[{"hash": "x", "annotator": "A01", "role": "owner", "expires": 1}]',
    ],
)
def test_a_damaged_file_lets_nobody_in(tmp_path: Path, text: str) -> None:
    access = Access(tmp_path, local=True)
    (tmp_path / "browser").mkdir()
    (tmp_path / "browser/tokens.json").write_text(text)
    with pytest.raises(UserError, match="tokens"):
        access.login_here("A01", NOW)
    (tmp_path / "browser/logins.json").write_text(text)
    with pytest.raises(UserError, match="logins"):
        Access(tmp_path)
