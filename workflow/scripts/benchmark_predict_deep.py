"""Predict with a network of the benchmark."""

from pathlib import Path

from smallmines.benchmark.deep.model import NetworkModel, pytorch
from smallmines.benchmark.runs import of_test, predict_row
from smallmines.core.job import job
from smallmines.core.log import logger

with job(snakemake.log[0]):
    source = snakemake.input
    pytorch(snakemake.threads)
    folder = Path(source.pack).parent
    model = predict_row(folder, source.split, source.model, snakemake.threads, snakemake.output[0])
    if isinstance(model, NetworkModel) and (score := model.printed_score(of_test(folder, source.split))) is not None:
        logger.info("mean IoU over the tiles and classes of the test, as the released script prints it: %.4f", score)
