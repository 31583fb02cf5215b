# What people look at: pictures per year and block, plots of the whole run; `snakemake --report` shows them.
include: "common.smk"


rule pictures:
    input:
        s2="<results>/composites/{year}/{block}/s2.tif",
        clear_mask="<results>/composites/{year}/{block}/clear.tif",
        source="<results>/composites/{year}/{block}/s2_source.tif",
        s1="<results>/composites/{year}/{block}/s1.tif",
        dem="<results>/composites/static/{block}/dem.tif",
        segments="<results>/segments/{year}/{block}/segments.tif" if SEGMENTED else [],
        s2_stats="<results>/composites/{year}/{block}/s2.json",
        s1_stats="<results>/composites/{year}/{block}/s1.json",
        grid="<results>/grid/grid.json",
    output:
        rgb=picture("rgb", "Sentinel-2"),
        s1=picture("s1", "Sentinel-1"),
        hillshade=picture("hillshade", "Elevation"),
        segments=picture("segments", "Segments") if SEGMENTED else [],
        source=picture("source", "Scenes"),
        seams=picture("seams", "Seams of Sentinel-2"),
        steps=picture("steps", "Steps of Sentinel-1"),
    log:
        "<logs>/pictures/{year}-{block}.log",
    benchmark:
        "<benchmarks>/pictures/{year}-{block}.tsv"
    conda:
        "../../envs/smallmines.yaml"
    threads: 1
    resources:
        mem_mb=1500,
        runtime=20,
    params:
        *code("pictures"),
    message:
        "Drawing the pictures of {wildcards.year}, block {wildcards.block}"
    script:
        "../scripts/pictures.py"


rule label_pictures:
    input:
        s2="<results>/composites/{year}/{block}/s2.tif",
        clear_mask="<results>/composites/{year}/{block}/clear.tif",
        segments="<results>/segments/{year}/{block}/segments.tif" if SEGMENTED else [],
        probabilities="<results>/assistant/{year}/{block}/probabilities.parquet" if SEGMENTED else [],
        mask="<results>/masks/{year}/{block}.tif",
        grid="<results>/grid/grid.json",
    output:
        probability=picture("probability", "Probability") if SEGMENTED else [],
        mask=picture("mask", "Mask"),
    log:
        "<logs>/label_pictures/{year}-{block}.log",
    benchmark:
        "<benchmarks>/label_pictures/{year}-{block}.tsv"
    conda:
        "../../envs/smallmines.yaml"
    threads: 1
    resources:
        mem_mb=1500,
        runtime=20,
    params:
        *code("label_pictures"),
    message:
        "Drawing probability and mask of {wildcards.year}, block {wildcards.block}"
    script:
        "../scripts/label_pictures.py"


rule plots:
    input:
        index="<results>/dataset/index.parquet",
        blocks="<results>/grid/blocks.parquet",
        label_quality="<results>/dataset/labels.json",
        splits="<results>/splits.json",
        statistics=expand("<results>/statistics/{year}.json", year=cfg.year_names),
        metrics=of_segments("<results>/assistant/{year}/{block}/metrics.json"),
    output:
        location=plot("location", "Location"),
        class_share=plot("class_share", "Mining share"),
        change=plot("change", "Change"),
        radiometry=plot("radiometry", "Radiometry"),
        metrics=plot("metrics", "Assistant") if SEGMENTED else [],
        labels=plot("labels", "Labels"),
        splits=plot("splits", "Splits"),
        examples=plot("examples", "Examples"),
        overview=[plot(f"overview_{year}", f"Overview {year}") for year in cfg.year_names],
    log:
        "<logs>/plots.log",
    benchmark:
        "<benchmarks>/plots.tsv"
    conda:
        "../../envs/smallmines.yaml"
    threads: 1
    resources:
        mem_mb=1500,
        runtime=20,
    params:
        *code("plots"),
        years=cfg.year_names,
        blocks=cfg.blocks,
    message:
        "Drawing the plots of the run"
    script:
        "../scripts/plots.py"


# What a data user reads first: one page, with all its pictures in it.
rule page:
    input:
        facts="<results>/dataset/facts.json",
        sums="<results>/dataset/SHA256SUMS",
        doctor="<results>/doctor.json",
        index="<results>/dataset/index.parquet",
        points="<results>/dataset/accuracy_points.csv",
        grid="<results>/grid/grid.json",
        manifests=expand("<results>/manifests/{year}/{sensor}.json", year=cfg.year_names, sensor=["s2", "s1"]),
        metrics=of_segments("<results>/assistant/{year}/{block}/metrics.json"),
        plots=expand(
            "<results>/pictures/{name}.png",
            name=[
                "location",
                "splits",
                *(f"overview_{year}" for year in cfg.year_names),
                "change",
                "examples",
                "class_share",
                "radiometry",
                "labels",
                *(["metrics"] if SEGMENTED else []),
            ],
        ),
    output:
        "<results>/report.html",
    log:
        "<logs>/page.log",
    benchmark:
        "<benchmarks>/page.tsv"
    conda:
        "../../envs/smallmines.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        *code("page"),
        about=parameters(cfg.publish, Page),
    message:
        "Writing the report"
    script:
        "../scripts/page.py"
