"""What to tell where the Hub refuses an upload."""

from __future__ import annotations

import re

from smallmines.archive.hub import PASSING, endpoint, library, of_the_hub
from smallmines.core.errors import UserError
from smallmines.core.files import flat
from smallmines.core.redaction import redacted

CHANGED = (409, 412)
"""Status where somebody else has made a commit meanwhile."""


def address() -> str:
    """Return the address of the Hub without user and password, as `HF_ENDPOINT` may have them."""
    return re.sub(r"(://)[^\s/@]*@", r"\1", endpoint())


def shown(error: object) -> str:
    """Return a message on one line without secrets."""
    return re.sub(r"(://)[^\s/@]*@", r"\1", flat(redacted(str(error))))[:300] or type(error).__name__


def cause_of(error: BaseException) -> BaseException:
    """Return the error of the Hub or the network behind an error; the library wraps those of files that it sends at once."""
    chain: BaseException | None = error
    while chain is not None:
        if isinstance(chain, Exception) and of_the_hub(chain):
            return chain
        chain = chain.__cause__
    return error


def status_of(error: BaseException) -> int | None:
    """Return the HTTP status of an error, None without an answer."""
    answer = getattr(cause_of(error), "response", None)
    return None if answer is None else int(answer.status_code)


def passes(error: Exception) -> bool:
    """Return whether an error may not come again: the network, a busy Hub."""
    cause = cause_of(error)
    if not isinstance(cause, Exception) or not of_the_hub(cause) or isinstance(cause, library().errors.OfflineModeIsEnabled):
        return False
    status = status_of(error)
    return status is None or status >= 500 or status in PASSING


def refusal(repository: str, error: Exception) -> Exception:
    """Return what to raise: three lines for an answer of the Hub or the network, else the error itself."""
    cause, status = cause_of(error), status_of(error)
    if status == 401:
        found = f"status 401: HF_TOKEN is not accepted, or may not see {repository}"
        return UserError(f"a token that may write to {repository}", found, f"make one at {address()}/settings/tokens and set HF_TOKEN")
    if status == 403:
        found = f"status 403: {shown(cause)}"
        return UserError(f"a token that may write to {repository}", found, f"give it the right to write at {address()}/settings/tokens")
    if status in CHANGED:
        return UserError(f"{repository} as it was looked at", f"status {status}: another commit came meanwhile", "run again")
    if isinstance(error, ValueError) or (isinstance(cause, Exception) and of_the_hub(cause)):
        return UserError(f"an upload that {address()} takes", shown(cause), "correct what it names and run again: it goes on where it was")
    return error
