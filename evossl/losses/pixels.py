"""Losses between images that see more than one pixel at a time.

Shapes: B clip, C channel, T time, H height, W width.
"""

from torch import Tensor

from evossl.losses.precision import full_precision


@full_precision
def gradient_difference(prediction_BCTHW: Tensor, target_BCTHW: Tensor) -> Tensor:
    """How much steeper or flatter the prediction is than the target, from pixel to pixel.

    mean | |Y_i - Y_{i-1}| - |X_i - X_{i-1}| | down the rows, plus the same along the columns: the
    mean squared error alone is met by a blur of all that may come.

    Mathieu, Couprie, LeCun, Deep Multi-Scale Video Prediction Beyond Mean Square Error, ICLR 2016,
    equation 6, alpha = 1, with means over pixels in place of sums.

    Args:
        prediction_BCTHW: X; H and W at least 2.
        target_BCTHW: Y, of the same shape.
    """
    assert prediction_BCTHW.shape == target_BCTHW.shape
    down, across = (
        (target_BCTHW.diff(dim=axis).abs() - prediction_BCTHW.diff(dim=axis).abs()).abs().mean()
        for axis in (-2, -1)
    )
    return down + across
