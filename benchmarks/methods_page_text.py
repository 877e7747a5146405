"""The text of docs/methods.md between its tables."""

from method_jobs import EMA, EMAS, RATE, RATES, TIMES

FALL = 0.05  # fraction of its size by which a loss must fall on real clips

HEAD = """# Methods

Which self-supervised methods does evossl have, are they implemented correctly, and what does each
learn by itself? Use this page to choose the tasks of a search space. `evossl tasks` prints what
each method does; `search_spaces/methods/` has one space per published method.
"""
PROOFS = f"""
## Four proofs of every method

1. **Oracle.** The loss equals an independent implementation (lightly, or the paper's formula as
   plain float64 loops) to 1e-5, on random input and edge cases. The table counts the passed tests
   of `tests/oracles/`.
2. **Properties.** The gradient reaches the student and nothing that should not be trained, state is
   restored exactly, and the order of a batch does not matter (`tests/contract`,
   `tests/properties`). After 100 steps the effective rank of the embedding (RankMe) must stay above
   a floor.
3. **Real video.** The loss must fall within 100 steps (more where stated) on 120 real clips, at
   every place of the method. The table shows by what fraction of its size it fell, from steps 11 to
   20 to the last ten; less than {FALL:.0%} would be bold. (For DINO and SVT the first ten steps
   start at step 51, when the teacher's centre has settled. MoCo and rho-MoCo use queues of 256.)
4. **It learns.** Trained alone on RGB with the demo's small encoder on 800 synthetic videos, the
   method must raise the balanced accuracy on 400 other videos, on the factor that its docstring
   named in advance. The 95 % interval of the gain must lie above zero.
"""
LEARNING = f"""
## What each method learns with equal compute

**Read the bold cells: there the gain over the untrained encoder is clear of zero.** Each cell shows
balanced accuracy before → after training (mean over seeds) and the 95 % interval of the difference,
which resamples seeds and videos. Chance is 0.125.

Every method gets as many encoder passes as 600 steps of SimCLR at batch 32 (a backward pass counts
as two forward passes). All use AdamW with a learning rate of {RATE} and an EMA decay of {EMA},
except {", ".join(f"`{name}` (rate {rate})" for name, rate in sorted(RATES.items()))} and \
{", ".join(f"`{name}` (decay {ema})" for name, ema in sorted(EMAS.items()))}. The `ignores` are
those of the method's own space without `flip` and `noise`. `seconds` is the training time on one
core of a shared machine.
"""
AT_LENGTH = f"""
## With {TIMES} times the compute

Methods that learn from their own clusters or their own moving average start slowly. The columns are
the same as above.
"""
COLOURLESS = """
These methods never show their encoder a colour. They are tested on grayscale clips as well, because
the classes of appearance also differ in colour:
"""
RHO = """
## More clips of a video as positives

`rho` is the number of clips of one video that are positives of each other. 200 steps each, 3 seeds;
balanced accuracy on motion. Feichtenhofer et al. (CVPR 2021) find that more clips are better for
each of the four methods.
"""
SVT = """
## Which views SVT should match

200 steps each, 3 seeds. `l->g` means that local views predict global ones. Ranasinghe et al. (CVPR
2022) find `l->g` with `g->g` best, and that adding `l->l` or `g->l` makes it worse.
"""
MEASURED = """
## How to repeat it

`python benchmarks/train_methods.py --help` lists the commands, and `benchmarks/methods_page.py`
writes this page. [benchmarks/results/methods.md](../benchmarks/results/methods.md) says what was
tried for the methods that did not learn at first.
"""
