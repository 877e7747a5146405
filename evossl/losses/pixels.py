"""Image losses on differences between neighbouring pixels.

Shapes: B clip, C channel, T time, H height, W width.
"""

from torch import Tensor

from evossl.losses.precision import full_precision


@full_precision
def gradient_difference_loss(prediction_BCTHW: Tensor, target_BCTHW: Tensor) -> Tensor:
    """Return the mean absolute difference between the image gradients' magnitudes.

    mean | |Y_i - Y_{i-1}| - |X_i - X_{i-1}| | along the rows plus the same along the columns. It
    penalises the blurred predictions that minimise the mean squared error alone.

    Mathieu, Couprie, LeCun, Deep Multi-Scale Video Prediction Beyond Mean Square Error, ICLR 2016,
    equation 6, alpha = 1, with means over pixels instead of sums.

    Args:
        prediction_BCTHW: X; H and W at least 2.
        target_BCTHW: Y, of the same shape.
    """
    assert prediction_BCTHW.shape == target_BCTHW.shape
    vertical, horizontal = (
        (target_BCTHW.diff(dim=axis).abs() - prediction_BCTHW.diff(dim=axis).abs()).abs().mean()
        for axis in (-2, -1)
    )
    return vertical + horizontal
