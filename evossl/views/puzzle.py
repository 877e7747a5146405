"""Puzzles: where the pieces of a grid of cells lie, and the orders in which they come.

Shapes: B clip, N piece, P order, C channel, T frame, H height, W width.
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

MOST_SEARCHED = 9  # pieces: more have too many orders to go through
EVERY = 7  # of the 9! orders one in seven is looked at: 64 are as far apart, thirteen times sooner
FLATTEST = 0.2  # spread of a normalised piece that is stretched to 1 no further: noise stays noise


@dataclass(frozen=True)
class Order:
    """Which of the orders each sample has (`order_B`), and that order (`permutation_BN`)."""

    order_B: Tensor
    permutation_BN: Tensor


def draw_order(cells: Cells, batch: int, draws: StepRNG, draw: int) -> Order:
    """Return an order for each sample, each as likely as any other."""
    order_B = draws.integers(draw, "order of cells", 0, cells.num_orders, batch)
    if cells.orders is None:
        return Order(order_B, permutation_of_rank(order_B, cells.count))
    orders_PN = distant_orders(cells.orders, cells.count).to(order_B.device)
    return Order(order_B, orders_PN[order_B])


@cache
def distant_orders(count: int, pieces: int) -> Tensor:
    """Return int64 (count, pieces): orders that differ from each other in many places.

    The identity is the first; each next one is, among all (of nine pieces: one in `EVERY`), that
    whose nearest of those chosen is furthest in Hamming distance; of equals, the one furthest from
    all of them together, and then the first in lexicographic order. So they are the same
    everywhere, and fewer are a part of more.

    Raises:
        UserError: there are not so many, or too many pieces to go through their orders.
    """
    step = EVERY if pieces == MOST_SEARCHED else 1
    rank_P = torch.arange(0, factorial(pieces) if pieces <= MOST_SEARCHED else 0, step)
    if not 1 <= count <= len(rank_P):
        raise UserError(
            f"{count} orders of {pieces} pieces: choose 1 to {len(rank_P)}, of {MOST_SEARCHED} "
            f"pieces or fewer"
        )
    all_NP = permutation_of_rank(rank_P, pieces).to(torch.int8).T.contiguous()
    nearest_P = torch.full((all_NP.shape[1],), pieces, dtype=torch.int32)
    total_P = torch.zeros_like(nearest_P)
    chosen = [0]
    while len(chosen) < count:
        differ_P = (all_NP != all_NP[:, chosen[-1:]]).sum(dim=0, dtype=torch.int32)
        nearest_P = torch.minimum(nearest_P, differ_P)
        total_P += differ_P
        chosen.append(int((nearest_P * (pieces * count) + total_P).argmax()))
    return all_NP[:, chosen].T.long().contiguous()


def cut(
    cells: Cells,
    time: TimePlan,
    steps: tuple[int, int],
    space: SpacePlan,
    draws: StepRNG,
    draw: int,
) -> list[tuple[TimePlan, SpacePlan]]:
    """Return what each piece shows of the whole clip, by the number of its cell.

    Args:
        cells: the grid.
        time: of the whole.
        steps: frames of a piece, steps of a cell.
        space: of the whole.
        draws: the step's random numbers.
        draw: of the view, in space.
    """
    u_BN3 = draws.uniform(draw, "places in cells", len(time.start_B), cells.count, 3)
    places = [
        (t, row, column)
        for t in range(cells.times)
        for row in range(cells.rows)
        for column in range(cells.columns)
    ]
    return [
        (
            _cut_time(time, t, steps, u_BN3[:, i, 0]),
            _cut_space(cells, space, row, column, u_BN3[:, i, 1:]),
        )
        for i, (t, row, column) in enumerate(places)
    ]


def _cut_time(time: TimePlan, number: int, steps: tuple[int, int], u_B: Tensor) -> TimePlan:
    """Half of the steps left out stay after the piece, the other half are divided by chance."""
    frames, cell = steps
    late_B = (u_B * ((cell - frames) // 2 + 1)).long()
    start_B = time.start_B + (number * cell + late_B) * time.stride_B
    order_BT = torch.arange(frames, device=u_B.device).expand(len(u_B), frames)
    return replace(
        time, start_B=start_B, window=frames, frames=frames, cell=frames, order_BT=order_BT
    )


def _cut_space(cells: Cells, space: SpacePlan, row: int, column: int, u_B2: Tensor) -> SpacePlan:
    """A quarter of the gap stays on each side of the piece, the other half is divided by chance."""
    grid_2 = torch.tensor([cells.rows, cells.columns], device=u_B2.device)
    cell_B2 = space.box_B4[:, 2:] / grid_2
    # Mirrored, the first column is the last of the frame.
    column_B = torch.where(space.flipped_B, cells.columns - 1 - column, column)
    place_B2 = torch.stack([torch.full_like(column_B, row), column_B], dim=1)
    inset_B2 = cells.gap * (0.25 + 0.5 * u_B2)
    corner_B2 = space.box_B4[:, :2] + (place_B2 + inset_B2) * cell_B2
    return replace(space, box_B4=torch.cat([corner_B2, (1 - cells.gap) * cell_B2], dim=1))


def standardise_pieces(x_BCTHW: Tensor) -> Tensor:
    """Return each channel of each piece with mean 0 and spread 1, or less where it is flat."""
    rest = (2, 3, 4)
    x_BCTHW = x_BCTHW - x_BCTHW.mean(dim=rest, keepdim=True)
    spread = x_BCTHW.square().mean(dim=rest, keepdim=True).sqrt()
    return x_BCTHW / spread.clamp(min=FLATTEST)


def permute_pieces(pieces: list[Tensor], permutation_BN: Tensor) -> Tensor:
    """Return (B, N, ...): piece j of a sample is piece p[j] of the list."""
    batch = torch.arange(len(permutation_BN), device=permutation_BN.device)[:, None]
    return torch.stack(pieces, dim=1)[batch, permutation_BN]
