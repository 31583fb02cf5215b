"""Digests of code: what changes them, what does not, and what they rely on."""

from __future__ import annotations

import ast
import dataclasses
import functools
import importlib
import pkgutil
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import smallmines.settings
from policy import breaches
from smallmines.core import rerun
from smallmines.settings.parameters import CONTENT, NOT_CONTENT

REPOSITORY = Path(__file__).resolve().parents[3]
RULES = sorted(path.stem for path in (REPOSITORY / "workflow/scripts").glob("*.py"))

SAMPLE = '''
"""A module with every kind of statement that digests must agree on."""
from __future__ import annotations
from smallmines.errors import UserError
from smallmines.log import logger
LIMIT = 0.5
"""What it is for."""
NAMES = ("a", 'b', u"c", b"d", 1_000, 0x10, 1j, ..., None, True)
class Thing(Base):
    """A docstring."""
    value: int = 3
def work(a, /, b: int = 1, *rest, key="x", **more) -> str | None:
    """Another."""
    if not (found := [one for one in rest if one]):
        raise UserError(f"ten {a:>{b}} things", f"{len(rest)}" " found", "look")
    with open("x") as one, open("y") as two:
        pass
    try:
        logger.info("%d of %s", len(found), f"{a!r}")
    except* ValueError as error:
        raise KeyError("kept") from error
    match found:
        case [1, *_] | {"k": 2}:
            return f"{a}{{}}{b:}{key=}" "tail"
    return lambda x: x[1:2, ...] if x else -x
'''
SAMPLE_DIGEST = "765f46bf65e7"


@functools.cache
def reached() -> list[Path]:
    """Return all scripts and modules that rules reach, sorted."""
    return sorted({path for rule in RULES for path in rerun.sources(rule)})


def digest(text: str, with_texts: bool = False) -> str:
    return rerun.digest_of(ast.parse(text), with_texts)


@pytest.fixture
def workflow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A workflow with one rule, `one`, that reaches `a`, `b` and a template."""
    package = tmp_path / "smallmines"
    (tmp_path / "scripts").mkdir()
    (package / "core").mkdir(parents=True)
    (package / "sub/templates").mkdir(parents=True)
    files = {
        "scripts/one.py": "from smallmines import a\n",
        "smallmines/__init__.py": "",
        "smallmines/core/environment.py": "CACHE = 256\n",
        "smallmines/core/errors.py": "class UserError(Exception): ...\n",
        "smallmines/a.py": "def f():\n    from smallmines.sub import b\n",
        "smallmines/c.py": "x = 1\n",
        "smallmines/sub/__init__.py": "",
        "smallmines/sub/b.py": "from .near import y\nfrom ..c import x\nplace = 'templates'\n",
        "smallmines/sub/near.py": "y = 1\n",
        "smallmines/sub/other.py": "z = 1\n",
        "smallmines/sub/templates/page.html": "<p>",
    }
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(rerun, "WORKFLOW", tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    forget()
    yield tmp_path
    forget()


def forget() -> None:
    """Empty the caches of the module, but that of digests, which are kept by syntax tree."""
    for function in vars(rerun).values():
        if hasattr(function, "cache_clear") and function is not rerun.digest_of:
            function.cache_clear()


def code_now() -> dict[str, str]:
    """The digests of rule `one` as of now, by path."""
    forget()
    return dict(entry.split(" ") for entry in rerun.code("one"))


# --- what a rule reaches ---------------------------------------------------------------------------------------------------


def test_imports_are_followed_relative_ones_too_and_data_files_count(workflow: Path) -> None:
    before = code_now()
    assert list(before) == [
        "scripts/one.py",
        "smallmines/a.py",
        "smallmines/c.py",
        "smallmines/core/environment.py",
        "smallmines/sub/b.py",
        "smallmines/sub/near.py",
        "smallmines/sub/templates/page.html",
    ]
    for name, text in (
        ("smallmines/sub/near.py", "y = 2\n"),
        ("smallmines/sub/templates/page.html", "<p class='x'>"),
        ("smallmines/core/environment.py", "CACHE = 512\n"),
    ):
        (workflow / name).write_text(text)
        after = code_now()
        assert [path for path in after if after[path] != before[path]] == [name]
        before = after
    (workflow / "smallmines/sub/other.py").write_text("z = 2\n")
    (workflow / "smallmines/core/errors.py").write_text("class UserError(Exception): x = 1\n")
    (workflow / "smallmines/c.py").touch()
    assert code_now() == before


def test_an_init_module_counts_with_what_it_imports_as_soon_as_it_says_something(workflow: Path) -> None:
    before = code_now()
    (workflow / "smallmines/sub/__init__.py").write_text('"""Only words."""\nfrom smallmines.sub import other\n')
    after = code_now()
    assert set(after) - set(before) == {"smallmines/sub/__init__.py", "smallmines/sub/other.py"}


def test_a_new_template_counts(workflow: Path) -> None:
    before = code_now()
    (workflow / "smallmines/sub/templates/more.html").write_text("<b>")
    assert set(code_now()) - set(before) == {"smallmines/sub/templates/more.html"}


def test_frozen_rules_carry_a_number_instead_of_their_code() -> None:
    assert rerun.code("search") == ["search 1"]
    assert rerun.code("fetch") == ["fetch 1"]
    assert rerun.code("splits") == ["splits 1"]


# --- digests that are kept --------------------------------------------------------------------------------------------------


def test_digests_are_computed_once_for_each_content_of_the_code(workflow: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    computed: list[str] = []
    compute = rerun._computed_code
    monkeypatch.setattr(rerun, "_computed_code", lambda rule: computed.append(rule) or compute(rule))
    before = code_now()
    assert (code_now(), computed) == (before, ["one"])
    near = workflow / "smallmines/sub/near.py"
    for text, times in (("y = 2\n", 2), ("y = 1\n", 2), ("y = 3\n", 3)):
        near.write_text(text)
        assert (code_now() == before) == (text == "y = 1\n")
        assert len(computed) == times
    assert len(list((workflow / "cache/smallmines/code").iterdir())) == 3


@pytest.mark.parametrize("content", ["", "{", "null", "[1]", '"text"'])
def test_a_damaged_file_of_digests_is_written_again(workflow: Path, content: str) -> None:
    before = code_now()
    (kept,) = (workflow / "cache/smallmines/code").iterdir()
    whole = kept.read_text()
    kept.write_text(content)
    assert code_now() == before
    assert kept.read_text() == whole


def test_digests_are_computed_where_nothing_can_be_kept(workflow: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = code_now()
    (workflow / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(workflow / "file"))
    assert code_now() == before
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr(Path, "home", no_home)
    assert code_now() == before


def no_home() -> Path:
    raise RuntimeError("Could not determine home directory.")


def test_digests_of_code_that_is_edited_meanwhile_are_not_kept(workflow: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compute = rerun._computed_code

    def edited(rule: str) -> list[str]:
        (workflow / "smallmines/sub/near.py").write_text("y = 2\n")
        return compute(rule)

    monkeypatch.setattr(rerun, "_computed_code", edited)
    code_now()
    assert not (workflow / "cache").exists()


def test_the_newest_files_of_digests_are_kept(workflow: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rerun, "MOST_KEPT", 2)
    for number in range(4):
        (workflow / "smallmines/sub/near.py").write_text(f"y = {number}\n")
        code_now()
    assert len(list((workflow / "cache/smallmines/code").iterdir())) == 2


# --- what changes a digest -------------------------------------------------------------------------------------------------

BEFORE = (
    "def f(x):\n    if x > 3:\n        raise UserError('many', f'found {x}', 'less')\n    logger.info('x is %s', x)\n    return x + 1\n"
)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("def f(x):\n", 'def f(x):\n    """What it does."""\n'),
        ("    return", "    # why\n    return"),
        ("x > 3", "(x>3)"),
        ("'many'", '"at most three"'),
        ("f'found {x}'", "f'there are {x}'"),
        ("'x is %s'", "'now x is %s'"),
        ("    return", "    pass\n    return"),
    ],
)
def test_words_and_looks_do_not_count(old: str, new: str) -> None:
    assert old in BEFORE
    assert digest(BEFORE.replace(old, new)) == digest(BEFORE)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("x > 3", "x >= 3"),
        ("x > 3", "x > 4"),
        ("x + 1", "x + 2"),
        ("f'found {x}'", "f'found {x:.2f}' + str(x + 1)"),
        ("raise UserError", "raise OtherError"),
        ("    logger.info('x is %s', x)\n", ""),
        ("'x is %s', x)", "'x is %s', x + 1)"),
        ("return x + 1", "return x + 1 if x else 'many'"),
    ],
)
def test_what_a_program_does_counts(old: str, new: str) -> None:
    assert old in BEFORE
    assert digest(BEFORE.replace(old, new)) != digest(BEFORE)


def test_words_of_errors_count_for_rules_that_write_them_into_a_product(workflow: Path) -> None:
    """A rule that turns an error into data is made again when the words change; one that only stops is not."""
    raising = "from smallmines.core.errors import UserError\ndef f():\n    raise UserError('a', 'WORD', 'c')\n"
    (workflow / "smallmines/c.py").write_text(raising)
    calm = code_now()
    (workflow / "smallmines/c.py").write_text(raising.replace("WORD", "other"))
    assert code_now() == calm
    writing = "from .near import y\nfrom ..c import f\ndef g(out):\n    try:\n        f()\n    except UserError as error:\n        {}\n"
    for body, counts in (
        ("out.append(error.found)", True),
        ("logger.warning('%s', error.found)", False),
        ("raise X(error) from error", False),
    ):
        (workflow / "smallmines/sub/b.py").write_text(writing.format(body))
        (workflow / "smallmines/c.py").write_text(raising)
        before = code_now()
        (workflow / "smallmines/c.py").write_text(raising.replace("WORD", "other"))
        assert (code_now() != before) == counts, body


def test_words_count_where_the_caught_call_leads_and_nowhere_else(workflow: Path) -> None:
    raising = "from smallmines.core.errors import UserError\ndef f():\n    raise UserError('a', 'WORD', 'c')\n"
    catching = "from .near import y\nfrom ..c import f\ndef g(out):\n    try:\n        {}\n    except UserError as error:\n"
    catching += "        out.append(error)\n"
    calls = {"f()": True, "y()": False, "len('a')": False, "out.pop()": True, "unknown()": True}
    texts = {catching.format(call): counts for call, counts in calls.items()}
    texts[catching.format("f()").replace("except UserError", "except* UserError")] = True
    for text, counts in texts.items():
        (workflow / "smallmines/sub/b.py").write_text(text)
        (workflow / "smallmines/c.py").write_text(raising)
        before = code_now()
        (workflow / "smallmines/c.py").write_text(raising.replace("WORD", "other"))
        assert (code_now() != before) == counts, text


def _constants(tree: ast.Module) -> list[ast.Constant]:
    """The constants of a module that count: no docstrings, no words in messages."""
    silent: set[ast.AST] = set()
    for node in ast.walk(tree):
        speaks = rerun._is_logging(node) or rerun._raises_user_error(node)
        if speaks:
            silent.update(part for part in ast.walk(node) if isinstance(part, ast.Constant) and isinstance(part.value, str))
        if rerun._has_no_effect(node) and isinstance(node, ast.Expr):
            silent.add(node.value)
    return [node for node in ast.walk(tree) if isinstance(node, ast.Constant) and node not in silent]


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_changing_any_constant_that_a_rule_reaches_changes_its_digest(data: st.DataObject) -> None:
    path = data.draw(st.sampled_from(reached()))
    statement = ast.Module([data.draw(st.sampled_from(ast.parse(path.read_bytes()).body or [ast.Pass()]))], [])
    constants = _constants(statement)
    if not constants:
        return
    node = data.draw(st.sampled_from(constants))
    before = rerun.canonical(statement)
    if isinstance(node.value, bool) or node.value is None or node.value is Ellipsis:
        other: object = 0
    elif isinstance(node.value, (int, float, complex)):
        other = node.value + data.draw(st.sampled_from([1, -1, 1e-3]))
    elif isinstance(node.value, bytes):
        other = node.value + b"x"
    else:
        other = node.value + data.draw(st.sampled_from([" ", "x", "\n"]))
    node.value = other  # type: ignore[assignment]
    assert rerun.canonical(statement) != before


# --- the same everywhere ---------------------------------------------------------------------------------------------------

PROGRAM = """
import ast, sys
sys.path.insert(0, sys.argv[1])
from smallmines.core import rerun
print(rerun.digest_of(ast.parse(sys.stdin.read())))
for rule in sys.argv[2:]:
    print(rule, *rerun.reached_code(rule), sep="|")
"""


def other_pythons() -> list[str]:
    """Pythons from 3.11 on that are at hand."""
    places = [shutil.which(f"python3.{minor}") for minor in range(11, 20)]
    places += sorted(str(path) for path in (Path.home() / ".pyenv/versions").glob("3.*/bin/python3"))
    ask = "import sys; print(sys.version_info[:2] >= (3, 11), sys.version_info[:2])"
    found: dict[str, str] = {}
    for place in filter(None, places):
        answer = subprocess.run([place, "-c", ask], capture_output=True, text=True, check=False).stdout
        if answer.startswith("True"):
            found.setdefault(answer, place)
    return list(found.values())


def test_golden_digest_of_the_sample() -> None:
    """A change here is a change of the digests of all code: everything is made again once. Never without need."""
    assert digest(SAMPLE) == SAMPLE_DIGEST


@pytest.mark.heavy
def test_every_python_at_hand_finds_the_same_digests() -> None:
    expected = "\n".join([digest(SAMPLE), *("|".join([rule, *rerun.reached_code(rule)]) for rule in RULES), ""])
    pythons = other_pythons()
    assert pythons
    for python in pythons:
        command = [python, "-c", PROGRAM, str(REPOSITORY / "workflow"), *RULES]
        done = subprocess.run(command, input=SAMPLE, capture_output=True, text=True, check=True)
        assert done.stdout == expected, python


# --- what the digests rely on ----------------------------------------------------------------------------------------------


def test_reached_code_keeps_the_rules_of_the_digest() -> None:
    all_breaches = {str(path): breaches(rerun.tree_of(path), is_script=path.parent.name == "scripts") for path in reached()}
    assert len(all_breaches) > 200
    assert {path: lines for path, lines in all_breaches.items() if lines} == {}


ERROR = "from smallmines.core.errors import UserError\n"
LOG = "from smallmines.core.log import logger\n"


@pytest.mark.parametrize(
    ("text", "what"),
    [
        (ERROR + "KIND = UserError('a', 'b', 'c').found", "uses UserError"),
        (ERROR + "def f(): return UserError('a', 'b', 'c')", "uses UserError"),
        ("import smallmines.core.errors", "as a module"),
        ("from smallmines.core import log", "as a module"),
        (LOG + "level = logger.level", "uses logger"),
        (LOG + "x = logger.info('a')", "uses logger"),
        ("from smallmines.core.job import job\nwith job('x'): pass", "uses job"),
        ("from smallmines.core.job import TOOK\nx = TOOK", "uses TOOK"),
        (LOG + "logger.info('%s', (n := 3))", "assigns"),
        (LOG + "logger.info('%s', names.pop('a'))", "calls pop()"),
        (ERROR + "raise UserError('a', found.pop('x'), 'b')", "calls pop()"),
        ("import importlib", "cannot be followed"),
        ("module = __import__('smallmines.x')", "cannot be followed"),
        ("exec('x = 1')", "cannot be followed"),
        ("text = f.__doc__", "leaves out"),
        ("text = getattr(f, '__doc__')", "leaves out"),
        ("import inspect", "leaves out"),
        ("text = open(__file__).read()", "__file__"),
        ("text = Path(__file__).with_name(name).read_text()", "__file__"),
    ],
)
def test_a_change_that_would_be_missed_is_refused(text: str, what: str) -> None:
    """One for each way around the digest."""
    assert any(what in line for line in breaches(ast.parse(text))), breaches(ast.parse(text))


@pytest.mark.parametrize(
    "text",
    [
        ERROR + "def f(x: UserError | None) -> UserError:\n    return UserError('a', 'b', 'c')",
        ERROR + "try:\n    f()\nexcept (OSError, UserError) as error:\n    raise UserError('a', str(error), 'c') from error",
        LOG + "logger.warning('%s', ', '.join(sorted(names)))",
        "import re\nP = re.compile('x')\nfolder = Path(__file__).with_name('templates')",
    ],
)
def test_what_is_harmless_is_allowed(text: str) -> None:
    assert breaches(ast.parse(text)) == []


def test_modules_outside_the_digest_set_no_environment() -> None:
    for name in rerun.OUTSIDE:
        tree = rerun.tree_of(rerun.WORKFLOW / "smallmines" / name)
        assert not [node for node in ast.walk(tree) if isinstance(node, ast.Attribute) and node.attr in ("environ", "putenv", "setrlimit")]


def test_no_rule_reaches_the_configuration_or_the_verbs() -> None:
    modules = {"settings/parameters.py", "core/rerun.py"}
    names = [path.relative_to(REPOSITORY / "workflow").as_posix() for path in reached()]
    assert not [name for name in names if name.startswith(("smallmines/config/", "smallmines/cli/")) or name.partition("/")[2] in modules]


def test_settings_have_no_defaults_and_cannot_be_changed() -> None:
    for module in pkgutil.iter_modules(smallmines.settings.__path__):
        found = vars(importlib.import_module(f"smallmines.settings.{module.name}")).values()
        for kind in (kind for kind in found if dataclasses.is_dataclass(kind)):
            assert kind.__dataclass_params__.frozen, kind
            for field in dataclasses.fields(kind):
                assert (field.default, field.default_factory) == (dataclasses.MISSING, dataclasses.MISSING), (kind, field.name)


def test_each_key_that_may_shape_pixels_is_covered_by_the_tags_or_named_as_harmless() -> None:
    """A new key stands in neither list at first: say which it is."""
    from smallmines.config.sections import Config

    for section, covered in CONTENT.items():
        keys = set(Config.model_fields[section].annotation.model_fields)
        assert keys == set(covered) | set(NOT_CONTENT.get(section, ())), section
        assert not set(covered) & set(NOT_CONTENT.get(section, ()))
