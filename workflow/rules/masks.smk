# One mask per year and block, from the labels of its segments.


rule mask:
    input:
        segments="<results>/segments/{year}/{block}/segments.tif",
        clear_mask="<results>/composites/{year}/{block}/clear.tif",
        labels="<results>/labels/{year}/{block}.parquet",
        grid="<results>/grid/grid.json",
    output:
        "<results>/masks/{year}/{block}.tif",
    log:
        "<logs>/mask/{year}-{block}.log",
    benchmark:
        "<benchmarks>/mask/{year}-{block}.tsv"
    conda:
        "../../envs/smallmines.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        *code("mask"),
        tags=lambda wildcards: {
            "YEAR": wildcards.year,
            "BLOCK": wildcards.block,
            "CONFIG": content_digest(cfg, "assistant", "segmentation"),
            "OPEN_LABELS": cfg.labels.open,
        },
        open_as=cfg.labels.open,
    message:
        "Drawing the mask of {wildcards.year}, block {wildcards.block}"
    script:
        "../scripts/mask.py"
