# Comparison with the released dataset; nothing else needs its images. `snakemake compare` makes it.


# The whole archive is downloaded here, and only here.
rule released_images:
    output:
        "<results>/released/images.json",
    log:
        "<logs>/released_images.log",
    benchmark:
        "<benchmarks>/released_images.tsv"
    conda:
        "../../envs/smallmines.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=600,
        connections=1,
    params:
        *code("released_images"),
        years=cfg.year_names,
        user_folder=f"resources/user/{cfg.run}",
        config=parameters(cfg.released, Released),
    message:
        "Reading the images of the released dataset"
    script:
        "../scripts/released_images.py"


rule compare:
    input:
        **({} if cfg.labels.source == "people" else {"release": "<results>/released/release.json"}),
        sums="<results>/dataset/SHA256SUMS",
        images="<results>/released/images.json",
        grid="<results>/grid/grid.json",
    output:
        json="<results>/compare/compare.json",
        csv="<results>/compare/compare.csv",
        maps=expand("<results>/compare/compare_{year}.png", year=cfg.year_names),
        page="<results>/compare/compare.html",
    log:
        "<logs>/compare.log",
    benchmark:
        "<benchmarks>/compare.tsv"
    conda:
        "../../envs/smallmines.yaml"
    threads: 2
    resources:
        mem_mb=3000,
        runtime=120,
    params:
        *code("compare"),
        source=cfg.labels.source,
        hold_out=cfg.released.hold_out,
        seed=cfg.labels.seed,
        user_folder=f"resources/user/{cfg.run}",
        title=cfg.publish.title or cfg.run,
    message:
        "Comparing the dataset with the release"
    script:
        "../scripts/compare.py"
