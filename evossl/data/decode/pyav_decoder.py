"""The decoder for all platforms: PyAV, one pass, one thread.

Shapes: T selected frame, H height, W width, C channel.
"""

from fractions import Fraction

import numpy as np
from av.filter import Graph
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter
from numpy.typing import NDArray

from evossl.data.decode.container import (
    DecodeError,
    DisplayLayout,
    display_layout,
    open_video,
    timed_frames,
    unreadable_reason,
)
from evossl.data.decode.frame_selection import (
    centre_crop,
    may_be_selected,
    nearest_frames,
    scaled_size,
)


class PyAVDecoder:
    """Implements `evossl.data.decode.decoder.Decoder` with PyAV."""

    name = "pyav"

    def frames(
        self, path: str, fps: float, short_side: int, max_seconds: float
    ) -> NDArray[np.uint8]:
        """Return frame_THWC; see `evossl.data.decode.decoder.Decoder.frames`."""
        times: list[float] = []
        selected: dict[int, NDArray[np.uint8]] = {}
        previous: VideoFrame | None = None  # selected or not, depending on the next frame's time
        layout: DisplayLayout | None = None
        scaler = VideoReformatter()
        with open_video(path) as (container, stream):
            for time, frame in timed_frames(container, stream):
                layout = layout or display_layout(frame, stream)
                times.append(time)
                if previous is not None and self._may_be_selected(times, fps):
                    selected[len(times) - 2] = to_display(previous, layout, short_side, scaler)
                previous = frame
                if time - times[0] >= max_seconds:
                    break
            if previous is None or layout is None:
                raise DecodeError(unreadable_reason(path))
            selected[len(times) - 1] = to_display(previous, layout, short_side, scaler)
        index_T = nearest_frames(np.array(times), fps, max_seconds)
        return np.stack([selected[index] for index in index_T])

    @staticmethod
    def _may_be_selected(times: list[float], fps: float) -> bool:
        """Return whether the second to last frame may be selected."""
        if len(times) == 2:
            return True
        before, time, after = (t - times[0] for t in times[-3:])
        return may_be_selected(before, time, after, fps)


def to_display(
    frame: VideoFrame, layout: DisplayLayout, short_side: int, scaler: VideoReformatter
) -> NDArray[np.uint8]:
    """Return frame_HWC, RGB, as displayed: rotated, scaled (antialiased bilinear), cropped.

    A quarter turn comes first and in the file's own pixel format, as in decord: rotating after
    scaling would shift subsampled colour by up to half a pixel.
    """
    if layout.is_sideways:
        frame = quarter_turn(frame, clockwise=layout.quarter_turns == 3)
    width, height = scaled_size(layout.width, layout.height, short_side)
    picture = scaler.reformat(frame, width, height, "rgb24", interpolation="BILINEAR")
    scaled = np.asarray(picture.to_ndarray(), dtype=np.uint8)
    if layout.quarter_turns == 2:
        scaled = scaled[::-1, ::-1]
    return np.ascontiguousarray(centre_crop(scaled))


def quarter_turn(frame: VideoFrame, clockwise: bool) -> VideoFrame:
    """Return the frame rotated by 90 degrees, in its own pixel format."""
    graph = Graph()
    source = graph.add_buffer(
        width=frame.width, height=frame.height, format=frame.format, time_base=Fraction(1, 1000)
    )
    turn, sink = graph.add("transpose", "clock" if clockwise else "cclock"), graph.add("buffersink")
    source.link_to(turn)
    turn.link_to(sink)
    graph.configure()
    graph.push(frame)
    turned = graph.pull()
    assert isinstance(turned, VideoFrame)
    return turned
