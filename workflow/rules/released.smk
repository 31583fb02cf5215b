# The released dataset whose labels a run takes: downloaded or given, and pasted on the grid of each block.


# The files go to resources/automatic/released/, so that a failed job loses none of them; the pins in resources/user/ are people's.
rule released:
    input:
        grid="<results>/grid/grid.json",
    output:
        "<results>/released/release.json",
    log:
        "<logs>/released.log",
    benchmark:
        "<benchmarks>/released.tsv"
    conda:
        "../../envs/smallmines.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=240,
        connections=1,
    params:
        *code("released"),
        years=cfg.year_names,
        user_folder=f"resources/user/{cfg.run}",
        config=parameters(cfg.released, Released),
    message:
        "Reading the masks of the released dataset"
    script:
        "../scripts/released.py"


rule released_mask:
    input:
        release="<results>/released/release.json",
        grid="<results>/grid/grid.json",
    output:
        "<results>/masks/{year}/{block}.tif" if cfg.labels.source == "released_masks" else "<results>/released/{year}/{block}/mask.tif",
    log:
        "<logs>/released_mask/{year}-{block}.log",
    benchmark:
        "<benchmarks>/released_mask/{year}-{block}.tsv"
    conda:
        "../../envs/smallmines.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        *code("released_mask"),
        tags=lambda wildcards: {"YEAR": wildcards.year, "BLOCK": wildcards.block},
    message:
        "Pasting the released masks of {wildcards.year}, block {wildcards.block}"
    script:
        "../scripts/released_mask.py"
