"""Columns of text in schemas of tables."""

import numpy as np
import pandas as pd
import pytest

from smallmines.core.optional import pandera
from smallmines.core.schemas import text_column


def schema():
    pa = pandera()
    return pa.DataFrameSchema({"name": text_column(pa.Check.isin(["a", "b"]))})


@pytest.mark.parametrize("values", [["a", "b"], ["b"], []])
def test_text_is_accepted(values):
    assert schema().validate(pd.DataFrame({"name": np.array(values, object)}))["name"].tolist() == values


@pytest.mark.parametrize("values", [["a", None], ["a", 1], ["a", float("nan")], [b"a"], [1, 2], ["c"]])
def test_anything_else_is_refused(values):
    with pytest.raises(pandera().errors.SchemaError):
        schema().validate(pd.DataFrame({"name": np.array(values, object)}))


def test_numbers_are_refused():
    with pytest.raises(pandera().errors.SchemaError):
        schema().validate(pd.DataFrame({"name": [1, 2]}))
