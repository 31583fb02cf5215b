# Tiles as small GeoTIFFs: images and masks apart, so that a label edit rewrites masks only.
include: "common.smk"


rule image_patches:
    input:
        s2="<results>/composites/{year}/{block}/s2.tif",
        s1="<results>/composites/{year}/{block}/s1.tif",
        dem="<results>/composites/static/{block}/dem.tif",
        grid="<results>/grid/grid.json",
    output:
        directory("<results>/patches/{year}/{block}/IMAGE"),
    log:
        "<logs>/image_patches/{year}-{block}.log",
    benchmark:
        "<benchmarks>/image_patches/{year}-{block}.tsv"
    conda:
        "../../envs/smallmines.yaml"
    threads: 1
    resources:
        mem_mb=1500,
        runtime=20,
    params:
        *code("image_patches"),
        country=cfg.country,
        config=content_digest(cfg, "grid", "sentinel2", "sentinel1", "elevation"),
    message:
        "Cutting the images of {wildcards.year}, block {wildcards.block}"
    script:
        "../scripts/image_patches.py"


rule mask_patches:
    input:
        mask="<results>/masks/{year}/{block}.tif",
        grid="<results>/grid/grid.json",
    output:
        directory("<results>/patches/{year}/{block}/MASK"),
    log:
        "<logs>/mask_patches/{year}-{block}.log",
    benchmark:
        "<benchmarks>/mask_patches/{year}-{block}.tsv"
    conda:
        "../../envs/smallmines.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=20,
    params:
        *code("mask_patches"),
        country=cfg.country,
        config=content_digest(cfg, "grid", *(["sentinel2", "elevation", "segmentation", "assistant"] if SEGMENTED else [])),
    message:
        "Cutting the masks of {wildcards.year}, block {wildcards.block}"
    script:
        "../scripts/mask_patches.py"


# What doctor, verification and band statistics need of each image: measured once, when it is made.
rule measure_images:
    input:
        images="<results>/patches/{year}/{block}/IMAGE",
        before=images_before,
        s2="<results>/composites/{year}/{block}/s2.tif",
        source="<results>/composites/{year}/{block}/s2_source.tif",
        grid="<results>/grid/grid.json",
    output:
        "<results>/measured/{year}/{block}/IMAGE.parquet",
    log:
        "<logs>/measure_images/{year}-{block}.log",
    benchmark:
        "<benchmarks>/measure_images/{year}-{block}.tsv"
    conda:
        "../../envs/smallmines.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=20,
    params:
        *code("measure_images"),
    message:
        "Measuring the images of {wildcards.year}, block {wildcards.block}"
    script:
        "../scripts/measure_images.py"


rule measure_masks:
    input:
        masks="<results>/patches/{year}/{block}/MASK",
        images="<results>/patches/{year}/{block}/IMAGE",
        measured="<results>/measured/{year}/{block}/IMAGE.parquet",
    output:
        "<results>/measured/{year}/{block}/MASK.parquet",
    log:
        "<logs>/measure_masks/{year}-{block}.log",
    benchmark:
        "<benchmarks>/measure_masks/{year}-{block}.tsv"
    conda:
        "../../envs/smallmines.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=20,
    params:
        *code("measure_masks"),
    message:
        "Measuring the masks of {wildcards.year}, block {wildcards.block}"
    script:
        "../scripts/measure_masks.py"
