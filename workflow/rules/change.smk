# Change between each year and the next one, on demand: `snakemake change`.
include: "common.smk"


rule map_change:
    input:
        masks=["<results>/map/{first}/mask.tif", "<results>/map/{last}/mask.tif"],
        clear_masks=of_pair("<results>/composites/{year}/{block}/clear.tif"),
        sources=of_pair("<results>/composites/{year}/{block}/s2_source.tif"),
        composites=of_pair("<results>/composites/{year}/{block}/s2.tif"),
        manifests=["<results>/manifests/{first}/s2.json", "<results>/manifests/{last}/s2.json"],
        splits="<results>/dataset/splits.csv",
        aoi=aoi_file,
        grid="<results>/grid/grid.json",
    output:
        change="<results>/map/change/{first}_{last}/change.tif",
        parquet="<results>/map/change/{first}_{last}/changes.parquet",
        flatgeobuf="<results>/map/change/{first}_{last}/changes.fgb",
        pairs="<results>/map/change/{first}_{last}/pairs.parquet",
        picture="<results>/map/change/{first}_{last}/change.png",
        styles=["<results>/map/change/{first}_{last}/change.qml", "<results>/map/change/{first}_{last}/changes.qml"],
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


rule map_change_areas:
    input:
        change="<results>/map/change/{first}_{last}/change.tif",
        designs=ancient(change_designs),
        before=ancient(change_sample("change_before")),
        after=ancient(change_sample("change_after")),
        grid="<results>/grid/grid.json",
    output:
        "<results>/map/change/{first}_{last}/areas.csv",
    log:
        "<logs>/map_change_areas/{first}_{last}.log",
    benchmark:
        "<benchmarks>/map_change_areas/{first}_{last}.tsv"
    wildcard_constraints:
        first=r"\d{4}",
        last=r"\d{4}",
    conda:
        "../../envs/smallmines.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        *code("map_change_areas"),
        digest=lambda wildcards, input: events_digest([*input.designs, *input.before, *input.after]),
    message:
        "Stating gain and loss from {wildcards.first} to {wildcards.last}"
    script:
        "../scripts/map_change_areas.py"


rule change:
    input:
        changes,
