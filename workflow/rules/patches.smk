# Tiles as small GeoTIFFs: images and masks apart, so that a label edit rewrites masks only.
from smallmines.provenance import digest

# Settings that shape no pixel: where pixels are fetched from (the item ids tell), what is only reported.
NOT_CONTENT = {
    "provider",
    "catalogue",
    "backend",
    "file",
    "expected_tiles",
    "released_ids_up_to",
}


def settings(*sections):
    """Digest of some sections of the configuration, for the tags of the patches."""
    values = {name: getattr(cfg, name).model_dump(mode="json") for name in sections}
    return digest(
        {
            name: {
                key: value for key, value in section.items() if key not in NOT_CONTENT
            }
            for name, section in values.items()
        }
    )


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
        config=settings("grid", "sentinel2", "sentinel1", "elevation"),
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
        config=settings("grid", "sentinel2", "elevation", "segmentation", "assistant"),
    message:
        "Cutting the masks of {wildcards.year}, block {wildcards.block}"
    script:
        "../scripts/mask_patches.py"
