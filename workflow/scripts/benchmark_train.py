"""Train a network of the benchmark."""

from functools import partial
from pathlib import Path

from smallmines.benchmark.deep.kept import Kept, key_of
from smallmines.benchmark.deep.train import Files, fit
from smallmines.benchmark.models import FitJob
from smallmines.benchmark.runs import fit_row
from smallmines.core.job import job
from smallmines.settings.benchmark import settings_of_row

with job(snakemake.log[0]):
    source, params, model = snakemake.input, snakemake.params, Path(snakemake.output.model)
    how = FitJob(int(snakemake.wildcards.seed), snakemake.threads, params.stop)
    key = key_of([list(params), how.seed], [source.split, *source.files])
    kept = Kept(model.with_name("checkpoint.pt"), Path(params.record), key)
    train = partial(fit, files=Files(Path(params.pins), params.allow_unpretrained, kept))
    fit_row(Path(source.pack).parent, source.split, settings_of_row(params.row), how, model, Path(snakemake.output.about), train)
    kept.remove()
