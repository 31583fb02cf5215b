"""Who may label: tokens that the person who runs the server gives out, the logins made with them, and roles."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import secrets
import threading
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

from smallmines.core.errors import UserError
from smallmines.core.files import flat, read_json, remedy, written
from smallmines.core.layout import UserFolder
from smallmines.labels.event_files import ANNOTATOR

Role = Literal["annotator", "adjudicator", "lead"]
"""annotator: own review and samples. adjudicator: disputed segments, too. lead: the same, and the figures of all people."""

SECRET_BYTES = 32
"""Random bytes of a token, and of a cookie."""

LOGIN_SECONDS = 7 * 86_400
"""A login ends after this time, or with its token if that is sooner."""

DAY = 86_400


@dataclass(frozen=True)
class Person:
    """Who sends a request.

    Attributes:
        annotator: code of the person.
        login: hash of the cookie.
    """

    annotator: str
    role: Role
    login: str = ""

    @property
    def adjudicates(self) -> bool:
        """Whether the person may decide disputed segments."""
        return self.role != "annotator"

    @property
    def leads(self) -> bool:
        """Whether the person may see the figures of other people."""
        return self.role == "lead"


@dataclass(frozen=True)
class Token:
    """A token as it is stored: its SHA-256, never itself.

    Attributes:
        expires: seconds since 1970.
        revoked: seconds since 1970; 0 where it is not.
    """

    hash: str
    annotator: str
    role: Role
    expires: int
    revoked: int = 0

    def valid(self, now: float) -> bool:
        """Whether the token is in force."""
        return not self.revoked and now < self.expires


@dataclass(frozen=True)
class Login:
    """A login as it is stored.

    Attributes:
        hash: SHA-256 of the cookie.
        token: SHA-256 of the token; empty for a login without one, on the machine itself.
        expires: seconds since 1970.
    """

    hash: str
    annotator: str
    token: str
    expires: int


def hashed(secret: str) -> str:
    """Return the SHA-256 of a secret. It has 256 random bits, so that neither salt nor a slow hash adds anything."""
    return hashlib.sha256(secret.encode()).hexdigest()


class Access:
    """Tokens and logins of a run, in two files that only their owner can read.

    The files are read again when they change, so that a token can be given and revoked while the server runs, and logins survive it.

    Args:
        user: `resources/user/<run>`.
        local: the server is bound to this machine; as long as no token was ever given, people log in by their code alone.
    """

    def __init__(self, user: Path, local: bool = False) -> None:
        self.local = local
        folder = UserFolder(user)
        self._tokens_path, self._logins_path = folder.tokens, folder.logins
        self._lock = threading.Lock()
        self._seen: tuple[int, int, int] | None = None
        self._tokens: tuple[Token, ...] = ()
        self._logins = {login.hash: login for login in _read(self._logins_path, Login)}

    # --- tokens -----------------------------------------------------------------------------------------------------------

    def tokens(self) -> tuple[Token, ...]:
        """Return all tokens that were ever given.

        Raises:
            UserError: the file is damaged.
        """
        try:
            state = self._tokens_path.stat()
        except FileNotFoundError:
            self._seen, self._tokens = None, ()
            return ()
        seen = (state.st_mtime_ns, state.st_size, state.st_ino)
        if seen != self._seen:
            self._tokens, self._seen = tuple(_read(self._tokens_path, Token)), seen
        return self._tokens

    def open_to_this_machine(self) -> bool:
        """Whether people log in by their code alone."""
        return self.local and not self.tokens()

    def give(self, annotator: str, role: str, days: int, now: float) -> str:
        """Store a new token and return it. Tokens that the person already has stay valid.

        Raises:
            UserError: the code or role is none.
        """
        if not ANNOTATOR.fullmatch(annotator):
            raise UserError("the code of a person (at most 40 letters, digits and _ . -)", repr(annotator), "use a code, e.g. A01")
        roles: dict[str, Role] = {name: name for name in get_args(Role)}
        if role not in roles:
            raise UserError(f"a role: {', '.join(roles)}", repr(role), "choose one of them")
        secret = secrets.token_urlsafe(SECRET_BYTES)
        with self._lock:
            kept = [token for token in self.tokens() if now - token.expires < 30 * DAY]
            _write(self._tokens_path, [*kept, Token(hashed(secret), annotator, roles[role], int(now) + days * DAY)])
        return secret

    def revoke(self, annotator: str, now: float) -> int:
        """Revoke all tokens of a person, which ends the logins made with them; return how many there were."""
        with self._lock:
            tokens = self.tokens()
            ended = [token for token in tokens if token.annotator == annotator and token.valid(now)]
            _write(self._tokens_path, [replace(token, revoked=int(now)) if token in ended else token for token in tokens])
        return len(ended)

    # --- logins -----------------------------------------------------------------------------------------------------------

    def login(self, token: str, now: float) -> tuple[str, Person] | None:
        """Exchange a token for a cookie; None where the token is wrong, expired or revoked."""
        wanted = hashed(token)
        match = [stored for stored in self.tokens() if hmac.compare_digest(stored.hash, wanted) and stored.valid(now)]
        return self._logged_in(match[0], now) if match else None

    def login_here(self, annotator: str, now: float) -> tuple[str, Person] | None:
        """Log a person in by the code alone; None where tokens are needed, or the code is none."""
        if not self.open_to_this_machine() or not ANNOTATOR.fullmatch(annotator):
            return None
        return self._logged_in(Token("", annotator, "lead", int(now) + LOGIN_SECONDS), now)

    def _logged_in(self, token: Token, now: float) -> tuple[str, Person]:
        cookie = secrets.token_urlsafe(SECRET_BYTES)
        login = Login(hashed(cookie), token.annotator, token.hash, min(token.expires, int(now) + LOGIN_SECONDS))
        with self._lock:
            self._logins = {key: old for key, old in self._logins.items() if old.expires > now} | {login.hash: login}
            _write(self._logins_path, list(self._logins.values()))
        return cookie, Person(token.annotator, token.role, login.hash)

    def logout(self, cookie: str) -> None:
        """End a login."""
        with self._lock:
            if self._logins.pop(hashed(cookie), None):
                _write(self._logins_path, list(self._logins.values()))

    def person(self, cookie: str, now: float) -> Person | None:
        """Return whose cookie this is; None where it is unknown, or its login or token is no longer valid."""
        login = self._logins.get(hashed(cookie)) if cookie else None
        if login is None or now >= login.expires:
            return None
        if not login.token:
            return Person(login.annotator, "lead", login.hash) if self.open_to_this_machine() else None
        tokens = [token for token in self.tokens() if token.hash == login.token and token.valid(now)]
        return Person(login.annotator, tokens[0].role, login.hash) if tokens else None


def _read(path: Path, kind: type[Any]) -> list[Any]:
    """Read tokens or logins; none where there is no file.

    Raises:
        UserError: the file is damaged.
    """
    if not path.exists():
        return []
    rows = read_json(path)
    try:
        return [_of(kind, row) for row in rows]
    except (TypeError, AttributeError, ValueError) as error:
        raise UserError(f"{kind.__name__.lower()}s in {path}", flat(error), remedy(path)) from None


def _of(kind: type[Any], row: Mapping[str, Any]) -> Any:
    made = kind(**row)
    of_role = getattr(made, "role", "annotator") in get_args(Role)
    if not of_role or not isinstance(made.hash, str) or not isinstance(made.annotator, str) or not isinstance(made.expires, int):
        raise ValueError(f"values of other types in {sorted(row)}")
    return made


def _write(path: Path, rows: list[Any]) -> None:
    """Write tokens or logins; only their owner can read the file at any time."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with written(path, durable=True) as beside:
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with open(descriptor, "w", encoding="utf-8") as file:
            json.dump([asdict(row) for row in rows], file, indent=1, sort_keys=True)
            file.write("\n")
