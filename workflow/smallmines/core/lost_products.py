"""Products that are lost: made once, missing now, while what was made from them is still there.

When a job fails, Snakemake removes its outputs, but records them as made with today's code and parameters. The next run then finds nothing
to do: a missing file between sources and results is no reason for it, and the record agrees. The results of older labels or settings would
stay without a word.
"""

from __future__ import annotations

from typing import Any

from snakemake.persistence import PersistenceBase


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
