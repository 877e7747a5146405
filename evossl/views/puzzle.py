"""Puzzles: where the pieces of a grid of cells lie, and in which orders they come (`spec.Cells`).

Shapes: B clip, N piece, P permutation, C channel, T frame, H height, W width.
"""

from dataclasses import dataclass, replace
from functools import cache
from math import factorial

import torch
from torch import Tensor

from evossl.errors import UserError
from evossl.views.crop import SpacePlan
from evossl.views.spec import Cells
from evossl.views.step_rng import StepRNG
from evossl.views.temporal_sampling import TimePlan, permutation_of_rank

MAX_SEARCHED_PIECES = 9  # with more, there are too many permutations to search
# Of the 9! permutations of nine pieces, one in 7 is searched: this finds 64 that are as far apart
# as those of a full search, in a thirteenth of the time.
NINE_PIECE_RANK_STEP = 7
# Smallest standard deviation that is scaled up to 1. Flatter pieces are divided by this value
# instead, so that their noise stays small.
MIN_SPREAD = 0.2


@dataclass(frozen=True)
class PieceOrder:
    """The order of each sample's pieces: its number (`order_B`) and `permutation_BN`."""

    order_B: Tensor
    permutation_BN: Tensor


def draw_order(cells: Cells, batch: int, rng: StepRNG, draw: int) -> PieceOrder:
    """Return a random order for each sample, uniform among the orders of the puzzle."""
    order_B = rng.integers(draw, "order of cells", 0, cells.num_orders, batch)
    if cells.orders is None:
        return PieceOrder(order_B, permutation_of_rank(order_B, cells.count))
    orders_PN = distant_orders(cells.orders, cells.count).to(order_B.device)
    return PieceOrder(order_B, orders_PN[order_B])


@cache
def distant_orders(count: int, pieces: int) -> Tensor:
    """Return int64 (count, pieces): permutations that differ from each other in many places.

    The set is built greedily, like that of Noroozi and Favaro (ECCV 2016). The first permutation is
    the identity. Each next one has the largest Hamming distance to the nearest permutation chosen
    so far; ties are broken by the sum of distances to all chosen ones, then by lexicographic order.
    The result is therefore deterministic, and a smaller set is the beginning of a larger one. For
    nine pieces, only one permutation in `NINE_PIECE_RANK_STEP` is considered.

    Raises:
        UserError: there are fewer than `count` permutations, or too many pieces to search them.
    """
    step = NINE_PIECE_RANK_STEP if pieces == MAX_SEARCHED_PIECES else 1
    rank_P = torch.arange(0, factorial(pieces) if pieces <= MAX_SEARCHED_PIECES else 0, step)
    if not 1 <= count <= len(rank_P):
        raise UserError(
            f"a puzzle of {pieces} pieces cannot have {count} orders: choose 1 to {len(rank_P)} "
            f"orders, and at most {MAX_SEARCHED_PIECES} pieces"
        )
    all_NP = permutation_of_rank(rank_P, pieces).to(torch.int8).T.contiguous()
    nearest_P = torch.full((all_NP.shape[1],), pieces, dtype=torch.int32)
    total_P = torch.zeros_like(nearest_P)
    chosen = [0]
    while len(chosen) < count:
        distance_P = (all_NP != all_NP[:, chosen[-1:]]).sum(dim=0, dtype=torch.int32)
        nearest_P = torch.minimum(nearest_P, distance_P)
        total_P += distance_P
        chosen.append(int((nearest_P * (pieces * count) + total_P).argmax()))
    return all_NP[:, chosen].T.long().contiguous()


def plan_pieces(
    cells: Cells,
    time: TimePlan,
    steps: tuple[int, int],
    space: SpacePlan,
    rng: StepRNG,
    draw: int,
) -> list[tuple[TimePlan, SpacePlan]]:
    """Return which frames and pixels each piece shows, in the order of their cells.

    Args:
        cells: the grid.
        time: frames of the whole clip.
        steps: lengths in steps of a piece and of a cell.
        space: crop of the whole clip.
        rng: random numbers of the step.
        draw: `space_draw` of the view.
    """
    u_BN3 = rng.uniform(draw, "places in cells", len(time.start_B), cells.count, 3)
    grid = [
        (t, row, column)
        for t in range(cells.times)
        for row in range(cells.rows)
        for column in range(cells.columns)
    ]
    return [
        (
            _piece_time(time, t, steps, u_BN3[:, i, 0]),
            _piece_space(cells, space, row, column, u_BN3[:, i, 1:]),
        )
        for i, (t, row, column) in enumerate(grid)
    ]


def _piece_time(time: TimePlan, number: int, steps: tuple[int, int], u_B: Tensor) -> TimePlan:
    """Half of a cell's gap always follows the piece; the other half is split at random."""
    frames, cell_steps = steps
    delay_B = (u_B * ((cell_steps - frames) // 2 + 1)).long()
    start_B = time.start_B + (number * cell_steps + delay_B) * time.stride_B
    order_BT = torch.arange(frames, device=u_B.device).expand(len(u_B), frames)
    return replace(
        time, start_B=start_B, window=frames, frames=frames, segment_steps=frames, order_BT=order_BT
    )


def _piece_space(cells: Cells, space: SpacePlan, row: int, column: int, u_B2: Tensor) -> SpacePlan:
    """A quarter of the gap always lies on each side of the piece; the rest is split at random."""
    grid_2 = torch.tensor([cells.rows, cells.columns], device=u_B2.device)
    cell_B2 = space.box_B4[:, 2:] / grid_2
    # In a mirrored clip, the first column comes from the last column of the frame.
    column_B = torch.where(space.flipped_B, cells.columns - 1 - column, column)
    place_B2 = torch.stack([torch.full_like(column_B, row), column_B], dim=1)
    inset_B2 = cells.gap * (0.25 + 0.5 * u_B2)
    corner_B2 = space.box_B4[:, :2] + (place_B2 + inset_B2) * cell_B2
    return replace(space, box_B4=torch.cat([corner_B2, (1 - cells.gap) * cell_B2], dim=1))


def standardise_pieces(x_BCTHW: Tensor) -> Tensor:
    """Return each channel of each piece with mean 0 and standard deviation 1 (less if flat)."""
    dims = (2, 3, 4)
    x_BCTHW = x_BCTHW - x_BCTHW.mean(dim=dims, keepdim=True)
    spread = x_BCTHW.square().mean(dim=dims, keepdim=True).sqrt()
    return x_BCTHW / spread.clamp(min=MIN_SPREAD)


def permute_pieces(pieces: list[Tensor], permutation_BN: Tensor) -> Tensor:
    """Return (B, N, ...): piece j of a sample is piece p[j] of the list."""
    batch = torch.arange(len(permutation_BN), device=permutation_BN.device)[:, None]
    return torch.stack(pieces, dim=1)[batch, permutation_BN]
