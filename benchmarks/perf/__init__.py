"""The rows of `make bench`: each module measures one part of evossl against something known."""

from perf import compute, data, search, steps, trials, views

ALL = (*steps.ROWS, *views.ROWS, *data.ROWS, *compute.ROWS, *search.ROWS, *trials.ROWS)
