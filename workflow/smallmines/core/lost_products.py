"""Products that are lost: made once, missing now, while what was made from them is still there.

When a job fails, Snakemake removes its outputs, but records them as made with today's code and parameters. The next run then finds nothing
to do: a missing file between sources and results is no reason for it, and the record agrees. The results of older labels or settings would
stay without a word.

A lost input that is `ancient` is no reason to run a job whose own products are there: masks made again after a failure would otherwise move
tiles to another split, and a lost grid would ask the archives again.

And a job that only has `ancient` inputs from jobs that run is looked at as if they did not: Snakemake takes it for one that runs anyway,
compares none of its parameters, and then does not run it. A new grid would be filled with what was fetched for the old one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any

from snakemake.dag import DAG
from snakemake.io import _IOFile
from snakemake.persistence import PersistenceBase

_PLANS: ContextVar[bool] = ContextVar("plans", default=False)
"""Whether Snakemake is finding out which jobs must run."""


def rerun_lost_products() -> None:
    """Let Snakemake take missing outputs that it has a record of for incomplete ones, which it makes again, with all that follows.

    Outputs without a record are unknown to it: then their job runs where something needs them, as always.
    """
    persistence: Any = PersistenceBase
    of_snakemake = persistence.incomplete
    if getattr(of_snakemake, "finds_lost", False):  # the Snakefile was read before in this process
        return

    async def incomplete(self: Any, job: Any) -> list[Any]:
        found: list[Any] = await of_snakemake(self, job)
        missing = [file for file in job.output if not await file.exists()]
        return found + [file for file in missing if self.metadata(file) is not None]

    persistence.incomplete = incomplete
    persistence.incomplete.finds_lost = True
    _let_ancient_inputs_be_lost()
    _look_behind_ancient_inputs()


def _let_ancient_inputs_be_lost() -> None:
    """Let Snakemake take `ancient` inputs for present while it finds out which jobs must run.

    It asks this only to pass `ancient` on: jobs whose products are missing run as always, and what they need is made before.
    """
    plan, exists = DAG.update_needrun, _IOFile.exists

    async def update_needrun(self: Any, create_inventory: bool = False) -> None:
        if create_inventory and self.workflow.is_main_process:
            await self.workflow.iocache.mtime_inventory(self.jobs)  # of files that are there, so before
        token = _PLANS.set(True)
        try:
            await plan(self)
        finally:
            _PLANS.reset(token)

    async def there(self: Any) -> bool:
        return (_PLANS.get() and self.is_ancient) or bool(await exists(self))

    DAG.update_needrun, _IOFile.exists = update_needrun, there


def _look_behind_ancient_inputs() -> None:
    """Let Snakemake's walk from a job that runs to those after it, whose own reasons it leaves out, end at `ancient` inputs."""
    walk: Callable[..., Iterator[Any]] = DAG.bfs

    def bfs(self: Any, direction: Any, *jobs: Any, stop: Callable[[Any], bool] = lambda job: False) -> Iterator[Any]:
        if not _PLANS.get() or direction is not self.depending:
            return walk(self, direction, *jobs, stop=stop)
        return walk(self, _Strict(direction), *jobs, stop=stop)

    DAG.bfs = bfs


class _Strict:
    """The jobs after each job that depend on it by a file that is not `ancient`."""

    def __init__(self, depending: Any) -> None:
        self.depending = depending

    def __getitem__(self, job: Any) -> dict[Any, Any]:
        return {after: files for after, files in self.depending[job].items() if not all(file.is_ancient for file in files)}
