# Functions for the other files of this folder.
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


def of_all(path):
    """A product of every year and block, years first."""
    return expand(path, year=cfg.year_names, block=cfg.blocks)


def picture(name, label):
    """A picture of a year and block, in the report under its year and block."""
    return report(
        f"<results>/pictures/{{year}}/{{block}}/{name}.png",
        caption=f"../report/{name}.rst",
        category="Year {year}",
        subcategory="Block {block}",
        labels={"picture": label},
    )


def plot(name, label):
    """A plot of the whole run, in the report under its own heading."""
    return report(
        f"<results>/pictures/{name}.png",
        caption=f"../report/{name.split('_2')[0]}.rst",
        category="All years and blocks",
        labels={"plot": label},
    )
