# Change between each year and the next one, on demand: `snakemake change`.
include: "common.smk"


# Pairs of years, each with the next one.
PAIRS = list(zip(cfg.year_names, cfg.year_names[1:]))


def of_pair(path):
    """Return a function that gives the paths of a product for all blocks of both years of a pair."""
    return lambda wildcards: expand(path, year=[wildcards.first, wildcards.last], block=cfg.blocks)


rule map_change:
    input:
        masks=["<results>/map/{first}/mask.tif", "<results>/map/{last}/mask.tif"],
        clear_masks=of_pair("<results>/composites/{year}/{block}/clear.tif"),
        sources=of_pair("<results>/composites/{year}/{block}/s2_source.tif"),
        composites=of_pair("<results>/composites/{year}/{block}/s2.tif"),
        manifests=["<results>/manifests/{first}/s2.json", "<results>/manifests/{last}/s2.json"],
        splits="<results>/dataset/splits.csv",
        grid="<results>/grid/grid.json",
    output:
        change="<results>/map/change/{first}_{last}/change.tif",
        parquet="<results>/map/change/{first}_{last}/changes.parquet",
        flatgeobuf="<results>/map/change/{first}_{last}/changes.fgb",
        pairs="<results>/map/change/{first}_{last}/pairs.parquet",
    log:
        "<logs>/map_change/{first}_{last}.log",
    benchmark:
        "<benchmarks>/map_change/{first}_{last}.tsv"
    wildcard_constraints:
        first=r"\d{4}",
        last=r"\d{4}",
    conda:
        "../../envs/smallmines.yaml"
    threads: 1
    resources:
        mem_mb=1500,
        runtime=30,
    params:
        *code("map_change"),
        config=parameters(cfg.map, Change),
        places=lambda wildcards: [(year, block) for year in (wildcards.first, wildcards.last) for block in cfg.blocks],
        country=cfg.country,
    message:
        "Mapping the change from {wildcards.first} to {wildcards.last}"
    script:
        "../scripts/map_change.py"


def changes(wildcards):
    """Return the changes of all pairs of years; a run of one year ends the planning with three lines."""
    if not PAIRS:
        refusal = UserError(
            "two years or more for change", f"{', '.join(cfg.year_names)} in run {cfg.run}", "add a year to the configuration"
        )
        sys.exit(str(refusal))
    return [f"results/{cfg.run}/map/change/{first}_{last}/pairs.parquet" for first, last in PAIRS]


rule change:
    input:
        changes,
