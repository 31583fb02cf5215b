"""Write the STAC catalogue of the map."""

from smallmines.core.job import job
from smallmines.grid.lattice import read_lattice
from smallmines.map.stac import Forest, MapOfYear, files_of_years, write_catalogue
from smallmines.settings.publish import Catalogue

with job(snakemake.log[0]):
    source, params, targets = snakemake.input, snakemake.params, snakemake.output
    about, lattice = Catalogue(**params.about), read_lattice(source.grid)
    forests = iter(map(Forest, [block for _ in params.windows for block in params.blocks], source.metrics, source.models))
    files = files_of_years(source.files, list(params.windows))
    years = [
        MapOfYear(year, files[year], window, [next(forests) for _ in params.blocks] if source.models else [])
        for year, window in params.windows.items()
    ]
    write_catalogue(years, lattice, params.run, params.title, about, targets.collection, targets.of_years)
