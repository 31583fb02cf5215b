# The map of a model of the benchmark, on demand: `snakemake map_model` with `map.model`.
include: "common.smk"


rule map_model_block:
    input:
        model=model_of_the_map("model.joblib"),
        s2="<results>/composites/{year}/{block}/s2.tif",
        s1="<results>/composites/{year}/{block}/s1.tif",
        dem="<results>/composites/static/{block}/dem.tif",
    output:
        temp("<results>/map/model/{year}/{block}.tif"),
    log:
        "<logs>/map_model_block/{year}-{block}.log",
    benchmark:
        "<benchmarks>/map_model_block/{year}-{block}.tsv"
    conda:
        "../../envs/smallmines.yaml"
    threads: 2
    resources:
        mem_mb=4000,
        runtime=120,
    params:
        *code("map_model_block"),
    message:
        "Predicting {wildcards.year}, block {wildcards.block} with the benchmark's model"
    script:
        "../scripts/map_model_block.py"


rule map_model_mosaic:
    input:
        predictions=expand("<results>/map/model/{{year}}/{block}.tif", block=cfg.blocks),
        score=model_of_the_map("score.json"),
        grid="<results>/grid/grid.json",
    output:
        mask="<results>/map/model/{year}/mask.tif",
        probability="<results>/map/model/{year}/probability.tif",
        styles=expand("<results>/map/model/{{year}}/{mosaic}.qml", mosaic=["mask", "probability"]),
    log:
        "<logs>/map_model_mosaic/{year}.log",
    benchmark:
        "<benchmarks>/map_model_mosaic/{year}.tsv"
    conda:
        "../../envs/smallmines.yaml"
    threads: 1
    resources:
        mem_mb=1500,
        runtime=30,
    params:
        *code("map_model_mosaic"),
        blocks=cfg.blocks,
        model=cfg.map.model,
    message:
        "Joining the predictions of {wildcards.year}"
    script:
        "../scripts/map_model_mosaic.py"


rule map_model_polygons:
    input:
        mask="<results>/map/model/{year}/mask.tif",
        probability="<results>/map/model/{year}/probability.tif",
        provenance=[],
        sources=expand("<results>/composites/{{year}}/{block}/s2_source.tif", block=cfg.blocks),
        composites=expand("<results>/composites/{{year}}/{block}/s2.tif", block=cfg.blocks),
        manifest="<results>/manifests/{year}/s2.json",
        grid="<results>/grid/grid.json",
    output:
        parquet="<results>/map/model/{year}/mines.parquet",
        flatgeobuf="<results>/map/model/{year}/mines.fgb",
        style="<results>/map/model/{year}/mines.qml",
    log:
        "<logs>/map_model_polygons/{year}.log",
    benchmark:
        "<benchmarks>/map_model_polygons/{year}.tsv"
    conda:
        "../../envs/smallmines.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=30,
    params:
        *code("map_polygons"),
        config=parameters(cfg.map, Polygons),
        blocks=cfg.blocks,
    message:
        "Outlining the mines of {wildcards.year} by the model"
    script:
        "../scripts/map_polygons.py"


rule map_model_areas:
    input:
        masks=expand("<results>/map/model/{year}/mask.tif", year=cfg.year_names),
        aoi=aoi_file,
        units=UNIT_FILES,
        design=ancient(QUALITY_INPUTS["design"]),
        references=ancient(QUALITY_INPUTS["references"]),
        grid="<results>/grid/grid.json",
    output:
        "<results>/map/model/areas.csv",
    log:
        "<logs>/map_model_areas.log",
    benchmark:
        "<benchmarks>/map_model_areas.tsv"
    conda:
        "../../envs/smallmines.yaml"
    threads: 1
    resources:
        mem_mb=1500,
        runtime=30,
    params:
        *code("map_areas"),
        config=parameters(cfg.map, Areas),
        digest=events_digest(path for kind in ("design", "references") for path in QUALITY_INPUTS[kind]),
        years=cfg.year_names,
    message:
        "Stating the areas of mining by the model"
    script:
        "../scripts/map_areas.py"


rule map_model:
    input:
        expand("<results>/map/model/{year}/mines.parquet", year=cfg.year_names),
        "<results>/map/model/areas.csv",
