"""The rows of `make bench`: each module measures one part of evossl against a reference."""

from perf import (
    compute_rows,
    data_rows,
    encoder_rows,
    search_rows,
    step_rows,
    trial_rows,
    view_rows,
)

ALL_ROWS = (
    *step_rows.ROWS,
    *view_rows.ROWS,
    *data_rows.ROWS,
    *encoder_rows.ROWS,
    *compute_rows.ROWS,
    *search_rows.ROWS,
    *trial_rows.ROWS,
)
