"""A trial spec and a genotype for tests that train nothing."""

from evossl.experiment.context import RunSpec
from evossl.experiment.trial_spec import TrialSpec
from evossl.search.genotype import Genotype
from tests.helpers.tiny_runs import RAW, WEIGHTS

RUN = RunSpec(str(RAW), "m.parquet", "cache", "run", 0, gradient_scales={"simclr.rgb": 1.0})
SPEC = TrialSpec(0, WEIGHTS, RUN, 4)
GENOTYPE = Genotype.from_weights({"distill.flow->rgb.stage3": (0.0, 1.0), "simclr.rgb": 0.5})
