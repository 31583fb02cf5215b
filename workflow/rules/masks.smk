# One mask per year and block, from the labels of its segments.
from smallmines.provenance import digest as digest_of


def mask_tags(wildcards):
    """Provenance of a mask: what its labels depend on besides people's files; no time, no host."""
    sections = {
        name: getattr(cfg, name).model_dump(mode="json")
        for name in ("assistant", "segmentation")
    }
    return {
        "YEAR": wildcards.year,
        "BLOCK": wildcards.block,
        "CONFIG": digest_of(sections),
    }


rule mask:
    input:
        segments="<results>/segments/{year}/{block}/segments.tif",
        clear="<results>/composites/{year}/{block}/clear.tif",
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
        tags=mask_tags,
    message:
        "Drawing the mask of {wildcards.year}, block {wildcards.block}"
    script:
        "../scripts/mask.py"
