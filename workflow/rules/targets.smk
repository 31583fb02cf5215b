# What people name on the command line: `<stage>`, `<stage>_<year>` and `<stage>_<year>_<block>`
# make a stage and what it needs, for all years and blocks, one year, or one block of one year.
STAGES = {
    "composites": [
        "<results>/composites/{year}/{block}/s2.tif",
        "<results>/composites/{year}/{block}/s1.tif",
        "<results>/composites/static/{block}/dem.tif",
    ],
    "masks": ["<results>/masks/{year}/{block}.tif"],
    "patches": [
        "<results>/patches/{year}/{block}/IMAGE",
        "<results>/patches/{year}/{block}/MASK",
    ],
}
if SEGMENTED:
    STAGES |= {
        "segments": ["<results>/segments/{year}/{block}/features.parquet"],
        "annotate": [
            "<results>/candidates/{year}/{block}.gpkg",
            "<results>/pictures/{year}/{block}/rgb.png",
        ],
        "assist": ["<results>/assistant/{year}/{block}/probabilities.parquet"],
    }
EVERYTHING = [
    "<results>/dataset/SHA256SUMS",
    "<results>/verify.json",
    "<results>/doctor.html",
    "<results>/report.html",
    *expand("<results>/pictures/{year}/{block}/{picture}.png", year=cfg.year_names, block=cfg.blocks, picture=["rgb", "mask"]),
    "<results>/pictures/class_share.png",
    *expand("<results>/compare_years/{block}.json", block=cfg.blocks),
]


# A run of a country has thousands of blocks and years: of their targets, only those that the command line names become rules.
NAMED = frozenset(re.findall(r"\w+", " ".join(sys.argv[1:])))


for stage, files in STAGES.items():

    rule:
        name:
            stage
        input:
            expand(files, year=cfg.year_names, block=cfg.blocks),

    for year in cfg.year_names:

        rule:
            name:
                f"{stage}_{year}"
            input:
                expand(files, year=year, block=cfg.blocks),

        for block in [block for block in cfg.blocks if f"{stage}_{year}_{block}" in NAMED]:

            rule:
                name:
                    f"{stage}_{year}_{block}"
                input:
                    expand(files, year=year, block=block),


# Without segments the targets of `annotate` are there to say why nothing can be annotated, and not to be unknown.
REFUSED = [] if SEGMENTED else ["annotate", *expand("annotate_{year}", year=cfg.year_names)]
if not SEGMENTED:
    REFUSED += NAMED.intersection(expand("annotate_{year}_{block}", year=cfg.year_names, block=cfg.blocks))


for target in REFUSED:

    rule:
        name:
            target
        input:
            nothing_to_annotate,
