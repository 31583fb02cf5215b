"""Rules whose code is frozen by a number: their code as it was when the number was raised, or when somebody said why it may differ.

    python tests/rules/frozen.py check
    python tests/rules/frozen.py accept fetch --reason "a variable got another name"

`accept` after raising a number in `smallmines.core.rerun.FROZEN` needs no reason.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import yaml

REPOSITORY = Path(__file__).resolve().parents[2]
LIST = Path(__file__).with_suffix(".yaml")
sys.path.insert(0, str(REPOSITORY / "workflow"))

from smallmines.core.files import digest  # noqa: E402
from smallmines.core.rerun import FROZEN, reached_code  # noqa: E402


def problems(known: dict[str, Any]) -> list[str]:
    """What is wrong with the frozen rules, by rule; empty: nothing."""
    found = []
    for rule, number in FROZEN.items():
        entry = known.get(rule, {})
        if entry.get("number") != number:
            found.append(f"{rule}: number {number}, listed {entry.get('number')}: run `python tests/rules/frozen.py accept {rule}`")
        elif entry["code"] != digest(reached_code(rule)):
            found.append(
                f"{rule}: its code has changed, its number has not. Where products would differ, raise its number in "
                f"workflow/smallmines/core/rerun.py; else say why not: python tests/rules/frozen.py accept {rule} --reason '…'"
            )
    return found


def accepted(known: dict[str, Any], rule: str, reason: str) -> dict[str, Any]:
    """The list with a rule's code of today.

    Raises:
        SystemExit: the number stands and there is no reason.
    """
    entry = known.get(rule, {})
    raised = entry.get("number") != FROZEN[rule]
    if not raised and not reason.strip():
        sys.exit(f"expected  a reason why no product of `{rule}` changes\nfound     none\ndo        add --reason '…', or raise the number")
    waivers = [] if raised else [*entry.get("waivers", []), {"instead_of": entry["code"], "reason": reason}]
    return known | {rule: {"number": FROZEN[rule], "code": digest(reached_code(rule)), "waivers": waivers}}


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(dest="verb", required=True)
    verbs.add_parser("check", help="say which frozen rules have other code than listed; exit status 1 where one has")
    accept = verbs.add_parser("accept", help="list the code of today")
    accept.add_argument("rule", choices=sorted(FROZEN))
    accept.add_argument("--reason", default="", help="why no product changes, where the number stands")
    given = parser.parse_args()
    known = yaml.safe_load(LIST.read_text(encoding="utf-8")) if LIST.is_file() else {}
    if given.verb == "check":
        sys.exit("\n".join(problems(known)) or None)
    LIST.write_text(
        yaml.safe_dump(accepted(known, given.rule, given.reason), sort_keys=True, allow_unicode=True, width=140), encoding="utf-8"
    )


if __name__ == "__main__":
    main()
