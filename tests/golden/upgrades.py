"""Writes workflow/upgrades/<commit>.json: which rules of an earlier commit make the same products today, by the golden record.

    python tests/golden/upgrades.py COMMIT --rename labels=samples --rename decide=labels --move shift=compare_years
    python tests/golden/upgrades.py

Runs nothing of the workflow: digests of the rules and the record of that commit are read from a temporary worktree. Without a commit it
brings all files up to today's code: rules whose products are no longer the same are dropped. Do that after the golden checks have passed.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[2]
UPGRADES = REPOSITORY / "workflow/upgrades"
RECORD = "tests/golden/products.json"
DIGESTS = """
import json, sys
sys.path.insert(0, "workflow")
try:
    from smallmines.core.rerun import FROZEN, code
except ImportError:  # before the library had rooms
    from smallmines.rerun import FROZEN, code
from pathlib import Path
rules = sorted(path.stem for path in Path("workflow/scripts").glob("*.py"))
try:
    from miniature.make import sources

    world = sources()
except ImportError:  # before the miniature was a package of its own
    import hashlib

    world = [hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(Path("workflow/smallmines/world").glob("*.py"))]
print(json.dumps({"code": {rule: code(rule) for rule in rules if rule not in FROZEN}, "world": world}))
"""

sys.path.insert(0, str(REPOSITORY / "workflow"))

from smallmines.core.files import digest  # noqa: E402
from smallmines.core.rerun import code as code_of  # noqa: E402


def record() -> dict[str, dict[str, str]]:
    """Checksums of products by rule of today's record."""
    return json.loads((REPOSITORY / RECORD).read_text(encoding="utf-8"))["rules"]


def earlier(commit: str, renamed: dict[str, str], moved: dict[str, str]) -> dict[str, Any]:
    """Content of the file of a commit: digests of the rules that make the same products today, with a digest of these products."""
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder) / "tree"
        subprocess.run(["git", "worktree", "add", "--detach", "-q", str(tree), commit], cwd=REPOSITORY, check=True)
        try:
            digests = json.loads(
                subprocess.run([sys.executable, "-c", DIGESTS], cwd=tree, capture_output=True, text=True, check=True).stdout
            )
            before = json.loads((tree / RECORD).read_text(encoding="utf-8"))["rules"]
            full = subprocess.run(["git", "rev-parse", commit], cwd=tree, capture_output=True, text=True, check=True).stdout.strip()
        finally:
            subprocess.run(["git", "worktree", "remove", "--force", str(tree)], cwd=REPOSITORY, check=True)

    def today(name: str) -> str:
        folder, _, rest = name.partition("/")
        return f"{moved.get(folder, folder)}/{rest}" if rest else name

    products = {renamed.get(rule, rule): {today(name): value for name, value in names.items()} for rule, names in before.items()}
    now = record()
    same = {rule: digest(names) for rule, names in products.items() if names == now.get(rule)}
    code = {renamed.get(rule, rule): lines for rule, lines in digests["code"].items()}
    return {
        "commit": full,
        "renamed": renamed,
        "moved": moved,
        "products": {rule: same[rule] for rule in sorted(same) if rule in code or rule == "world"},
        "code": {rule: code[rule] for rule in sorted(same) if rule in code},
        "today": {rule: digest(code_of(rule)) for rule in sorted(same) if rule in code},
        "world": digests["world"] if "world" in same else [],
    }


def current(content: dict[str, Any]) -> dict[str, Any]:
    """Content of a file with today's code, without the rules whose products are no longer the same."""
    now = record()
    same = {rule: value for rule, value in content["products"].items() if digest(now.get(rule)) == value}
    code = {rule: lines for rule, lines in content["code"].items() if rule in same}
    today = {rule: digest(code_of(rule)) for rule in code}
    return content | {"products": same, "code": code, "today": today, "world": content["world"] if "world" in same else []}


def read_all() -> dict[Path, dict[str, Any]]:
    """Content of all files."""
    return {path: json.loads(path.read_text(encoding="utf-8")) for path in sorted(UPGRADES.glob("*.json"))}


def problems() -> list[str]:
    """Files that are not of today's code and products."""
    return [f"{path.name}: run `make generated`" for path, content in read_all().items() if current(content) != content]


def write(path: Path, content: dict[str, Any]) -> None:
    """Write a file."""
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def main() -> None:
    """The command."""

    def pair(text: str) -> tuple[str, str]:
        if not (match := re.fullmatch(r"([\w/]+)=([\w/]+)", text)):
            raise argparse.ArgumentTypeError("expected OLD=NEW")
        return match[1], match[2]

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("commit", nargs="?")
    parser.add_argument("--rename", type=pair, action="append", default=[], metavar="OLD=NEW", help="a rule with another name today")
    parser.add_argument("--move", type=pair, action="append", default=[], metavar="OLD=NEW", help="a folder below results/<run>/")
    options = parser.parse_args()
    if options.commit is None:
        for path, content in read_all().items():
            write(path, current(content))
        return
    content = earlier(options.commit, dict(options.rename), dict(options.move))
    UPGRADES.mkdir(exist_ok=True)
    target = UPGRADES / f"{content['commit'][:7]}.json"
    write(target, content)
    print(f"{target.relative_to(REPOSITORY)}: {len(content['code'])} rules make the same products")


if __name__ == "__main__":
    main()
