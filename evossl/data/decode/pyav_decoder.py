"""The decoder that runs everywhere: PyAV, one pass, one thread.

Shapes: T frame kept, H height, W width, C channel.
"""

from fractions import Fraction

import numpy as np
from av.filter import Graph
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter
from numpy.typing import NDArray

from evossl.data.decode.container import (
    DecodeError,
    Layout,
    layout_of,
    open_video,
    timed_frames,
    why_unreadable,
)
from evossl.data.decode.frame_selection import centre_crop, kept_size, may_be_nearest, nearest


class PyAVDecoder:
    """See `evossl.data.decode.decoder.Decoder`."""

    name = "pyav"

    def frames(
        self, path: str, fps: float, short_side: int, max_seconds: float
    ) -> NDArray[np.uint8]:
        """Return frame_THWC; see `evossl.data.decode.decoder.Decoder.frames`."""
        times: list[float] = []
        kept: dict[int, NDArray[np.uint8]] = {}
        held: VideoFrame | None = None  # the last frame: taken or not, the next one's time tells
        layout: Layout | None = None
        scaler = VideoReformatter()
        with open_video(path) as (container, stream):
            for time, frame in timed_frames(container, stream):
                layout = layout or layout_of(frame, stream)
                times.append(time)
                if held is not None and self._is_taken(times, fps):
                    kept[len(times) - 2] = shown(held, layout, short_side, scaler)
                held = frame
                if time - times[0] >= max_seconds:
                    break
            if held is None or layout is None:
                raise DecodeError(why_unreadable(path))
            kept[len(times) - 1] = shown(held, layout, short_side, scaler)
        index_T = nearest(np.array(times), fps, max_seconds)
        return np.stack([kept[index] for index in index_T])

    @staticmethod
    def _is_taken(times: list[float], fps: float) -> bool:
        if len(times) == 2:
            return True
        before, time, after = (t - times[0] for t in times[-3:])
        return may_be_nearest(before, time, after, fps)


def shown(
    frame: VideoFrame, layout: Layout, short_side: int, scaler: VideoReformatter
) -> NDArray[np.uint8]:
    """Return frame_HWC, RGB, as displayed: turned, scaled (antialiased bilinear), cropped.

    A quarter turn comes first and in the file's own colours, as decord does it: turned after
    scaling, subsampled colour lies up to half a pixel elsewhere.
    """
    if layout.is_sideways:
        frame = quarter_turn(frame, clockwise=layout.quarter_turns == 3)
    width, height = kept_size(layout.width, layout.height, short_side)
    picture = scaler.reformat(frame, width, height, "rgb24", interpolation="BILINEAR")
    scaled = np.asarray(picture.to_ndarray(), dtype=np.uint8)
    if layout.quarter_turns == 2:
        scaled = scaled[::-1, ::-1]
    return np.ascontiguousarray(centre_crop(scaled))


def quarter_turn(frame: VideoFrame, clockwise: bool) -> VideoFrame:
    """Return the frame turned by 90 degrees, in its own pixel format."""
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
