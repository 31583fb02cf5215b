"""Read the masks of the released dataset: from the Hugging Face Hub, or a local folder or zip."""

from smallmines.archive.released import read_released
from smallmines.core.job import job
from smallmines.settings.released import Released

with job(snakemake.log[0]):
    params = snakemake.params
    read_released(Released(**params.config), params.years, params.user_folder, snakemake.input.grid, snakemake.output[0])
