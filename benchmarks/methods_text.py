"""What docs/methods.md says beside its tables."""

from methods_jobs import EMA, EMAS, RATE, RATES, TIMES

FALL = 0.05  # of its size, that a loss is to fall by on real clips
HEAD = f"""# Every method, proved four times

Written by `benchmarks/methods_table.py`, not by hand. `benchmarks/methods.py` has the commands.

1. **Oracle.** The loss equals an independent implementation (lightly, or the paper's formula in
   naive float64 loops) to 1e-5, on random input and on edge cases; gradcheck. The number of tests
   in `tests/oracles/test_<method>.py` that passed.
2. **Property.** Gradient reaches the student and nothing that is not to be trained, state is
   restored bit for bit, the order of a batch changes nothing; and after 100 steps the embedding's
   rank (RankMe) stays above a floor where nothing but the method prevents collapse
   (`tests/contract`, `tests/properties`).
3. **Real video.** 100 steps alone (more where said) on 120 real clips (Surveillance Camera Fight
   Dataset), on every place the method names: the share of its size by which the loss fell, from
   steps 11 to 20 to the last ten. {FALL:.0%} was asked for; in bold what falls less. The first ten
   of DINO and SVT are those after the teacher's centre has found its place (from step 51): a loss
   after a sharper teacher is larger. MoCo and rho-MoCo have queues of 256: of 80 clips, 4096 keys
   are fifty passes, and tell their age.
4. **It learns.** Alone, on RGB, with the demo's encoder (C3D of width 8, 32 pixels, 8 frames) on
   800 synthetic videos: balanced accuracy of the same encoder before and after, on 400 other
   videos, on a factor that its docstring named in advance, with an interval clear of zero.
"""
LEARNING = f"""
## What each learns, at equal compute

Equal encoder passes: a forward counts 1 and its backward 2, in shares of a whole clip's pixels;
each method has as many as 600 steps of SimCLR at batch 32. AdamW at {RATE} and a moving average of
{EMA} for all but those below, default options but BraVe's reach (2), the `ignores` of the method's
own space without `flip` and `noise`. Balanced accuracy before → after, mean over seeds (of videos,
weights and views), and the 95 % interval of the difference, resampling seeds and, in each, videos.
In bold: clear of zero. Chance is 0.125. `seconds`: of the training, one core of a shared machine.
"""
INVESTIGATED = f"""
## What was tried

What did not learn at first, what was tried, and what came (seed 0 or 1, motion, kNN / linear):

- Rates: at 0.002, the first common one, BraVe, NNCLR and triplet died on one of two seeds, all
  embeddings alike and gradients gone (.14 / .13, .12 / .13, .14 / .12); at {RATE} they learn
  (.44 / .53, .27 / .33, .60 / .62).
  Others: {", ".join(f"{name} {rate}" for name, rate in sorted(RATES.items()))}.
  PIRL's bank holds what the encoder gave an epoch ago: .13 at 0.002, .41 / .40 at a quarter of it.
  The jigsaw is solved (loss .08) at 0.002, but the encoder is worse at appearance than untrained;
  at a quarter of it the loss comes to .67.
- Moving averages: {", ".join(f"{name} {ema}" for name, ema in sorted(EMAS.items()))}, the others
  {EMA}. At 0.97 a queue's keys tell their age: rho-MoCo's loss fell from 6.4 to 4.7 in 50 steps,
  far under ln of the keys, then rose to it as the average slowed (.12 / .13; at 0.99 .42 / .50),
  MoCo came to .44 / .53 (at 0.99 .51 / .60), and SVT stood at the uniform (.15 / .14; at 0.995
  .27 / .33).
- BraVe's reach: at 3 the broad view takes every third frame of all that a video has, and the
  motions alias: .14 / .13; at 2 .47 / .57.
- SVT: its two global views alone learn (.37 / .44); local views, half as long and half as large, of
  videos of 40 pixels and 24 frames, hold it at the uniform, fewer of them (1, 2) or a colder
  teacher (0.01) too.
- BYOL on seed 1: rates 0.001 and 0.0005, heads five times faster, a longer warm-up: none learns;
  time does.
- SwAV without its small crops is rho-SwAV of two clips, which learns; with them, {TIMES} times the
  steps are enough on two of three seeds, and on seed 1 the loss has only begun to leave ln 256.
- Order of four segments: 4 times the steps (2400) leave the loss at ln 24 (3.17): videos of 24
  frames give pieces of 4. Cubic puzzles, likewise (1600 steps): 3.01 of 3.18, appearance .46 / .58.
- DPC's loss falls from 5.3 to 1.0, and neither factor gains: what stays in a video from block to
  block, and where in the picture, is enough for it. A third of the rate (0.0003): .21 / .22.
- Arrow of time and shuffled or not lost shortcuts on the way (light that tells the way; jumps at
  joints without a gap), mean of three seeds: .36 / .49 and .30 / .47 before, .40 / .48 and
  .27 / .35 since.
- On the 80 real clips, of 32 pixels, the arrow of RGB and gray stays at ln 2 for 1600 steps, with
  the frames' jitter or without (0.2 % in 400 without any), and has left it by 6400. Shuffled or not
  falls by 36 % in 400 without the jitter and by 2.5 % with it: what it read there was light and one
  pixel's moves; with it, 1600 steps make 11 % and more.
- SwAV's epsilon 0.05 and DINO's teacher at 0.07 stay at the uniform: their defaults here are 0.02.
- Distillation from an encoder that video prediction has trained teaches appearance, which that
  knows; the teacher here is SimCLR's, of twice the width.
"""
AT_LENGTH = f"""
## At {TIMES} times the compute

What goes by its own clusters or its own moving average begins slowly. Columns as above.
"""
COLOURLESS = """
Those that never show their encoder a colour, judged on clips of luma alone, before and after, for
appearances differ in colour too:
"""
RHO = """
## More clips of a video

rho clips of one video as positives of each other, 200 steps each (as many videos seen, more clips
for a larger rho, as in the study), balanced accuracy on motion, 3 seeds. Feichtenhofer et al. (CVPR
2021) find that more clips are better for each of the four methods.
"""
SVT = """
## Which views of SVT are matched

200 steps each, 3 seeds. Ranasinghe et al. (CVPR 2022) find `l->g` with `g->g` best, and both
worse once `l->l` or `g->l` joins them; the six rows are ours, in their vocabulary.
"""
