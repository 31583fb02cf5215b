"""The modules and data files of the library that each rule reaches, as listed in sources.yaml.

    python tests/rules/list_sources.py          # writes sources.yaml
    python tests/rules/list_sources.py check    # exit status 1 where sources.yaml differs

An edit of a listed file reruns the rules that list it, but for the rules of `smallmines.core.rerun.FROZEN`, which carry a number.
"""

from __future__ import annotations

import sys
from pathlib import Path

import yaml

WORKFLOW = Path(__file__).resolve().parents[2] / "workflow"
LIST = Path(__file__).with_name("sources.yaml")
HEADER = (
    "# Which modules and templates of the library each rule reaches: an edit of one reruns these rules"
    " (those in rerun.FROZEN carry a number).\n"
)
sys.path.insert(0, str(WORKFLOW))

from smallmines.core.rerun import data_files, sources  # noqa: E402


def sources_of_rules() -> dict[str, list[str]]:
    """Return the files of the library that each rule reaches, by rule, relative to workflow/smallmines and sorted."""
    library = WORKFLOW / "smallmines"
    listed = {}
    for script in sorted((WORKFLOW / "scripts").glob("*.py")):
        modules = sources(script.stem)
        reached = {*modules, *(file for module in modules for file in data_files(module))}
        listed[script.stem] = sorted(path.relative_to(library).as_posix() for path in reached if path.is_relative_to(library))
    return listed


def text() -> str:
    """Return the content of sources.yaml."""
    return HEADER + yaml.safe_dump(sources_of_rules(), sort_keys=True)


def main() -> None:
    """Write sources.yaml, or with `check` compare it."""
    if sys.argv[1:] == ["check"]:
        sys.exit(None if LIST.read_text(encoding="utf-8") == text() else f"{LIST} differs: run `make generated`")
    LIST.write_text(text(), encoding="utf-8")


if __name__ == "__main__":
    main()
