# SmallMinesDS: from satellite archives to a published dataset. `snakemake --cores 16` makes everything.
import os
import re
import sys
from pathlib import Path

from snakemake.utils import min_version

min_version("9.27")
sys.path.insert(0, f"{workflow.basedir}/workflow")

from smallmines.config.parse import parse_config, read_values
from smallmines.core.errors import UserError
from smallmines.core.files import only_file
from smallmines.core.lost_products import rerun_lost_products
from smallmines.core.rerun import FROZEN, code
from smallmines.preflight.check import check_before_run
from smallmines.preflight.disk import Job, check_space

rerun_lost_products()

# Makes imports in jobs faster, see workflow/smallmines/__init__.py.
os.environ.update(SMALLMINES_JOB="1")

DEFAULT_CONFIG = Path("config/config.yaml")

# Each file is read once more, since Snakemake accepts keys that stand twice and names no line.
try:
    for path in workflow.overwrite_configfiles or [DEFAULT_CONFIG]:
        read_values(Path(path))
except UserError as error:
    sys.exit(str(error))

if not workflow.overwrite_configfiles:

    configfile: DEFAULT_CONFIG


try:
    cfg = parse_config(config)
except UserError as error:
    sys.exit(str(error))


pathvars:
    results=f"results/{cfg.run}",
    logs=f"logs/{cfg.run}",
    benchmarks=f"benchmarks/{cfg.run}",
    automatic=f"resources/automatic/{cfg.run}",
    user=f"resources/user/{cfg.run}",


wildcard_constraints:
    year=r"\d{4}|static",
    block=r"\d+",
    sensor="s2|s1|dem",
    kind="IMAGE|MASK",


# For --sdm apptainer only; built from envs/smallmines.def.
container: "smallmines.sif"


# Run on the login node of a cluster: these rules take seconds or need internet access.
localrules:
    boundaries,
    grid,
    coverage,
    covered,
    assemble,
    index,
    leakage,
    software,
    documents,
    catalogue,
    seal,
    verify,
    plots,
    page,
    released_images,
    benchmark_split,
    map_areas,
    map_catalogue,
    map_public,
    map_change_areas,
    map_model_areas,


if not cfg.submit_downloads:

    localrules:
        search,
        fetch,


if cfg.labels.source != "people":

    localrules:
        released,


# Checks what the planned jobs need. A dry run does not call it.
onstart:
    planned = [Job(job.rule.name, job.wildcards_dict, list(map(str, job.output)), job.threads) for job in workflow.dag.needrun_jobs()]
    check_before_run(cfg, {job.rule for job in planned})
    check_space(cfg, planned, workflow.resource_settings.cores, workflow.resource_settings.nodes)


include: "workflow/rules/common.smk"
include: "workflow/rules/grid.smk"
include: "workflow/rules/archive.smk"
include: "workflow/rules/composites.smk"
include: "workflow/rules/patches.smk"
include: "workflow/rules/dataset.smk"
include: "workflow/rules/report.smk"
include: "workflow/rules/compare.smk"
include: "workflow/rules/benchmark.smk"
include: "workflow/rules/publish.smk"
include: "workflow/rules/map.smk"
include: "workflow/rules/change.smk"
include: "workflow/rules/map_model.smk"
include: "workflow/rules/targets.smk"


if SEGMENTED:

    include: "workflow/rules/segments.smk"
    include: "workflow/rules/labels.smk"
    include: "workflow/rules/masks.smk"


if cfg.labels.source != "people":

    include: "workflow/rules/released.smk"


if cfg.labels.source == "released_samples":

    include: "workflow/rules/released_labels.smk"


rule all:
    default_target: True
    input:
        EVERYTHING,
