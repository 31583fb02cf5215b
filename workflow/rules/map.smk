# The map of a run, on demand: mosaics, mines as polygons, areas by unit, a picture and a catalogue. `snakemake map` makes it.
include: "common.smk"


# Areas of the user's layers of units; a file that is missing is refused by the rule.
UNIT_FILES = [path for path in cfg.map.units if os.path.isfile(path)]

# Mosaics that need segments: a run with released masks has the mask alone.
MOSAICS = ["mask", *(["probability", "provenance"] if SEGMENTED else [])]


rule map_mosaic:
    input:
        masks=expand("<results>/masks/{{year}}/{block}.tif", block=cfg.blocks),
        segments=expand("<results>/segments/{{year}}/{block}/segments.tif", block=cfg.blocks) if SEGMENTED else [],
        labels=expand("<results>/labels/{{year}}/{block}.parquet", block=cfg.blocks) if SEGMENTED else [],
        probabilities=expand("<results>/assistant/{{year}}/{block}/probabilities.parquet", block=cfg.blocks) if SEGMENTED else [],
        grid="<results>/grid/grid.json",
    output:
        mask="<results>/map/{year}/mask.tif",
        probability="<results>/map/{year}/probability.tif" if SEGMENTED else [],
        provenance="<results>/map/{year}/provenance.tif" if SEGMENTED else [],
        styles=expand("<results>/map/{{year}}/{mosaic}.qml", mosaic=MOSAICS),
    log:
        "<logs>/map_mosaic/{year}.log",
    benchmark:
        "<benchmarks>/map_mosaic/{year}.tsv"
    conda:
        "../../envs/smallmines.yaml"
    threads: 1
    resources:
        mem_mb=1500,
        runtime=30,
    params:
        *code("map_mosaic"),
        blocks=cfg.blocks,
    message:
        "Joining the masks of {wildcards.year}"
    script:
        "../scripts/map_mosaic.py"


rule map_polygons:
    input:
        mask="<results>/map/{year}/mask.tif",
        probability="<results>/map/{year}/probability.tif" if SEGMENTED else [],
        provenance="<results>/map/{year}/provenance.tif" if SEGMENTED else [],
        sources=expand("<results>/composites/{{year}}/{block}/s2_source.tif", block=cfg.blocks),
        composites=expand("<results>/composites/{{year}}/{block}/s2.tif", block=cfg.blocks),
        manifest="<results>/manifests/{year}/s2.json",
        grid="<results>/grid/grid.json",
    output:
        parquet="<results>/map/{year}/mines.parquet",
        flatgeobuf="<results>/map/{year}/mines.fgb",
        style="<results>/map/{year}/mines.qml",
    log:
        "<logs>/map_polygons/{year}.log",
    benchmark:
        "<benchmarks>/map_polygons/{year}.tsv"
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
        "Outlining the mines of {wildcards.year}"
    script:
        "../scripts/map_polygons.py"


rule map_areas:
    input:
        masks=expand("<results>/map/{year}/mask.tif", year=cfg.year_names),
        aoi=aoi_file,
        units=UNIT_FILES,
        design=ancient(QUALITY_INPUTS["design"]),
        references=ancient(QUALITY_INPUTS["references"]),
        grid="<results>/grid/grid.json",
    output:
        "<results>/map/areas.csv",
    log:
        "<logs>/map_areas.log",
    benchmark:
        "<benchmarks>/map_areas.tsv"
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
        "Stating the areas of mining"
    script:
        "../scripts/map_areas.py"


rule map_picture:
    input:
        composites=expand("<results>/composites/{{year}}/{block}/s2.tif", block=cfg.blocks),
        mines="<results>/map/{year}/mines.parquet",
        aoi=aoi_file,
        grid="<results>/grid/grid.json",
    output:
        "<results>/map/{year}/map.png",
    log:
        "<logs>/map_picture/{year}.log",
    benchmark:
        "<benchmarks>/map_picture/{year}.tsv"
    conda:
        "../../envs/smallmines.yaml"
    threads: 1
    resources:
        mem_mb=1500,
        runtime=20,
    params:
        *code("map_picture"),
        blocks=cfg.blocks,
    message:
        "Drawing the map of {wildcards.year}"
    script:
        "../scripts/map_picture.py"


# Of each year: the files that `map_<year>` makes.
MAP_FILES = [*(f"{mosaic}.tif" for mosaic in MOSAICS), "mines.parquet", "mines.fgb", "map.png"]


rule map_catalogue:
    input:
        files=expand("<results>/map/{year}/{name}", year=cfg.year_names, name=MAP_FILES),
        areas="<results>/map/areas.csv",
        metrics=of_segments("<results>/assistant/{year}/{block}/metrics.json"),
        models=of_segments("<results>/assistant/{year}/{block}/model.joblib"),
        grid="<results>/grid/grid.json",
    output:
        collection="<results>/map/collection.json",
        of_years=expand("<results>/map/{year}/item.json", year=cfg.year_names),
    log:
        "<logs>/map_catalogue.log",
    benchmark:
        "<benchmarks>/map_catalogue.tsv"
    conda:
        "../../envs/smallmines.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=20,
    params:
        *code("map_catalogue"),
        windows=WINDOWS,
        blocks=cfg.blocks,
        about=parameters(cfg.publish, Catalogue),
        run=cfg.run,
        title=cfg.publish.title or cfg.run,
    message:
        "Writing the catalogue of the map"
    script:
        "../scripts/map_catalogue.py"


# A folder, so that polygons of an earlier choice do not stay in it.
rule map_public:
    input:
        areas="<results>/map/areas.csv",
        mines=expand("<results>/map/{year}/mines.parquet", year=cfg.year_names) if cfg.map.public == "polygons" else [],
    output:
        directory("<results>/map/public"),
    log:
        "<logs>/map_public.log",
    benchmark:
        "<benchmarks>/map_public.tsv"
    conda:
        "../../envs/smallmines.yaml"
    threads: 1
    resources:
        mem_mb=1500,
        runtime=20,
    params:
        *code("map_public"),
        config=parameters(cfg.map, Public),
        published=cfg.publish.date,
        years=cfg.year_names,
        title=cfg.publish.title or cfg.run,
    message:
        "Writing the part of the map that is given away"
    script:
        "../scripts/map_public.py"


rule map:
    input:
        "<results>/map/collection.json",
        "<results>/map/public",


for year in cfg.year_names:

    rule:
        name:
            f"map_{year}"
        input:
            expand("<results>/map/{year}/{name}", year=year, name=MAP_FILES),
