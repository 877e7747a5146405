"""Every backbone: the shapes that docs/backbones.md lists, gradients, export and distillation.

`test_backbones_match_libraries.py` compares their outputs with those of the libraries.
"""

import re
from collections.abc import Callable
from math import ceil
from pathlib import Path

import pytest
import torch
from torch import Generator, Tensor, nn

from evossl.config import Backbone, SearchSpace
from evossl.errors import UserError
from evossl.export.encoder_folder import EncoderConfig, VideoEncoder, export_encoder, load_encoder
from evossl.export.onnx import export_onnx
from evossl.io.spaces import parse_space
from evossl.models.encoder import BACKBONES, Encoder, build_encoder
from evossl.task import Place, TaskBatch, Term, ViewOutput
from evossl.task_loader import load_catalogue
from evossl.types import EncoderShape, Features, Stream
from tests.helpers.training_cases import make_clips, make_model, make_space, terms_of

Draw = Callable[..., Tensor]
PAGE = Path(__file__).parents[2] / "docs" / "backbones.md"
ROW = re.compile(r"^\| `(\w+)` \| (18|50|-) " + r"\| ([\d.]+) " * 5 + r"\|$", re.M)
STAGES = ["stage1", "stage2", "stage3", "stage4"]
ROWS = {
    f"{name}{depth}".rstrip("-"): (
        Backbone(name=name, depth=18 if depth == "-" else int(depth), width=8),
        *rest,
    )
    for name, depth, *rest in ROW.findall(PAGE.read_text(encoding="utf-8"))
}
every_row = pytest.mark.parametrize("which", ROWS)
one_per_name = pytest.mark.parametrize(
    "which", {row[0].name: key for key, row in ROWS.items()}.values()
)


def build(which: str, stream: Stream = Stream.RGB) -> Encoder:
    """The encoder of a row, with no weight or statistic 0 or 1 (pytorchvideo starts some at 0)."""
    encoder = build_encoder(stream, ROWS[which][0], seed=0)
    generator = Generator().manual_seed(0)
    with torch.no_grad():
        for tensor in encoder.state_dict().values():
            if tensor.ndim == 1:
                tensor.copy_(torch.rand(tensor.shape, generator=generator) + 0.5)
    return encoder


def shape_of(features: Features, pixels: Tensor) -> EncoderShape:
    maps = {stage: tuple(map_.shape[1:]) for stage, map_ in features.maps.items()}
    return EncoderShape(features.embedding_BD.shape[1], maps, tuple(pixels.shape[1:]))


def test_the_page_lists_every_backbone() -> None:
    assert {backbone.name for backbone, *_ in ROWS.values()} == set(BACKBONES)


@pytest.mark.parametrize(("frames", "size"), [(8, 32), (16, 64), (5, 24), (2, 16)])
@every_row
def test_maps_have_the_documented_shapes_at_every_size(
    which: str, frames: int, size: int, draw: Draw
) -> None:
    _, width, space, time, *_ = ROWS[which]
    with torch.no_grad():
        features = build(which)(draw(2, 3, frames, size, size))
    assert list(features.maps) == STAGES
    side = ceil(size / int(space))
    last = (8 * int(width), ceil(frames / int(time)), side, side)
    assert features.maps["stage4"].shape == (2, *last)
    extents = [map_.shape[2] * map_.shape[3] * map_.shape[4] for map_ in features.maps.values()]
    assert extents == sorted(extents, reverse=True)
    assert extents[0] > extents[-1]
    mean_BD = features.maps["stage4"].double().sum((2, 3, 4)) / extents[-1]
    torch.testing.assert_close(features.embedding_BD, mean_BD.float())


@every_row
def test_numbers_of_weights_match_the_page(which: str) -> None:
    backbone, *_, width, millions = ROWS[which]
    with torch.device("meta"):
        encoder = build_encoder(Stream.RGB, backbone.model_copy(update={"width": int(width)}), 0)
    assert round(sum(p.numel() for p in encoder.parameters()) / 1e6, 1) == float(millions)


@one_per_name
def test_shapes_are_known_without_a_forward_pass(which: str, draw: Draw) -> None:
    encoder, pixels = build(which, Stream.FLOW), draw(2, 2, 7, 32, 32)
    assert encoder.shape((2, 7, 32, 32)) == shape_of(encoder(pixels), pixels)


@every_row
def test_every_weight_gets_a_gradient(which: str, draw: Draw) -> None:
    encoder = build(which, Stream.FLOW)
    embedding_BD = encoder(draw(4, 2, 8, 32, 32)).embedding_BD
    (embedding_BD * draw(*embedding_BD.shape)).sum().backward()
    idle = [n for n, p in encoder.named_parameters() if p.grad is None or not p.grad.any()]
    assert not idle


@one_per_name
def test_initial_weights_depend_only_on_seed_and_stream(which: str) -> None:
    def state(seed: int, stream: Stream = Stream.RGB) -> dict[str, Tensor]:
        return build_encoder(stream, ROWS[which][0], seed).state_dict()

    torch.manual_seed(1)
    first, before = state(3), torch.get_rng_state()
    again, other = state(3), state(4)
    assert torch.equal(torch.get_rng_state(), before)
    kernels = [name for name, tensor in first.items() if tensor.ndim == 5]
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not any(torch.equal(first[name], other[name]) for name in kernels)


@one_per_name
def test_pieces_and_channels_last_keep_the_outputs(which: str, draw: Draw) -> None:
    encoder, pixels = build(which).eval(), draw(4, 3, 4, 32, 32)
    with torch.no_grad():
        plain = encoder(pixels)
        pieces = encoder(pixels.unflatten(0, (2, 2)))
        last = encoder.to(memory_format=torch.channels_last_3d)(
            pixels.to(memory_format=torch.channels_last_3d)
        )
    assert torch.equal(pieces.maps["stage3"].flatten(0, 1), plain.maps["stage3"])
    torch.testing.assert_close(last.embedding_BD, plain.embedding_BD, rtol=1e-4, atol=1e-5)


@one_per_name
def test_bf16_is_near_float32(which: str, draw: Draw) -> None:
    encoder, pixels = build(which), draw(2, 3, 8, 48, 48)
    with torch.no_grad():
        plain = encoder(pixels).maps["stage3"]
        with torch.autocast("cpu", dtype=torch.bfloat16):
            low = encoder(pixels).maps["stage3"]
    assert torch.cosine_similarity(low.float().flatten(1), plain.flatten(1), dim=1).min() > 0.98


@every_row
def test_no_size_is_a_numpy_number(which: str) -> None:
    for part in build(which).modules():
        if isinstance(part, nn.Conv3d):
            assert {type(n) for n in (*part.kernel_size, *part.stride, *part.dilation)} == {int}
            assert {type(n) for n in (part.in_channels, part.out_channels, part.groups)} == {int}


def exported(which: str, space: SearchSpace, folder: Path) -> tuple[Encoder, VideoEncoder]:
    encoder = build(which)
    config = EncoderConfig.from_space(
        space.model_copy(update={"backbone": ROWS[which][0]}), encoder
    )
    export_encoder(encoder, folder, config)
    return encoder.eval(), load_encoder(folder)


@one_per_name
def test_a_loaded_encoder_is_bit_equal_at_any_size(
    which: str, space: SearchSpace, tmp_path: Path, draw: Draw
) -> None:
    encoder, loaded = exported(which, space, tmp_path / "encoder")
    for frames, height, width in ((8, 32, 32), (4, 48, 40)):
        x = draw(1, 3, frames, height, width)
        with torch.no_grad():
            wanted, stages = encoder(x), loaded.stages(x)
            assert torch.equal(loaded(x), wanted.embedding_BD)
        assert wanted.embedding_BD.shape[1] == loaded.config.width
        assert all(torch.equal(stages[name], wanted.maps[name]) for name in STAGES)
        assert {name: map_.shape[1] for name, map_ in stages.items()} == loaded.config.stages


@pytest.mark.slow
@one_per_name
def test_other_runtimes_give_the_same_embeddings(
    which: str, space: SearchSpace, tmp_path: Path, draw: Draw
) -> None:
    import onnxruntime

    _, loaded = exported(which, space, tmp_path / "encoder")
    export_onnx(loaded, tmp_path / "model.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    dynamic = {"x": {0: torch.export.Dim("batch", min=1)}}
    program = torch.export.export(loaded, (draw(2, 3, 8, 32, 32),), dynamic_shapes=dynamic)
    for batch in (1, 2, 5):
        x = draw(batch, 3, 8, 32, 32)
        with torch.no_grad():
            wanted = loaded(x)
            torch.testing.assert_close(program.module()(x), wanted)
        (got,) = session.run(["embedding"], {"x": x.numpy()})
        torch.testing.assert_close(torch.from_numpy(got), wanted, rtol=1e-3, atol=1e-4)


@pytest.mark.slow
@one_per_name
def test_torch_compile_accepts_every_backbone(which: str, draw: Draw) -> None:
    encoder, x = build(which).eval(), draw(2, 3, 8, 32, 32)
    compiled = torch.compile(encoder, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(x).embedding_BD, encoder(x).embedding_BD)
    compiled(x).embedding_BD.sum().backward()
    assert all(p.grad is not None for p in encoder.parameters())


@pytest.mark.slow
@one_per_name
def test_losses_and_gradients_of_all_tasks_are_finite(which: str) -> None:
    space = make_space(backbone=ROWS[which][0].model_dump())
    model = make_model(space)
    losses = model.losses(make_clips(num=4), step=0, progress=0.5).losses
    assert len(losses) == len(terms_of(space))
    torch.stack(list(losses.values())).sum().backward()
    for stream, encoder in model.encoders.items():
        total = sum(p.grad.abs().sum() for p in encoder.parameters() if p.grad is not None)
        assert torch.isfinite(total), stream
        assert total > 0, stream


@pytest.mark.parametrize("teacher", [Stream.GRAY, Stream.AUDIO])
@one_per_name
def test_every_stage_can_be_distilled_from_another_stream(
    which: str, teacher: Stream, draw: Draw
) -> None:
    sound = (2, 1, 1, 40, 67)
    inputs = {
        Stream.RGB: draw(2, 3, 8, 32, 32),
        teacher: draw(*(sound if teacher is Stream.AUDIO else (2, teacher.channels, 7, 32, 32))),
    }
    seen = {stream: build(which, stream)(pixels) for stream, pixels in inputs.items()}
    shapes = {stream: shape_of(seen[stream], inputs[stream]) for stream in inputs}
    for stage in STAGES:
        term = Term("distill", Place((teacher, Stream.RGB), directed=True, variant=stage))
        task = load_catalogue()["distill"](term.place.bind(shapes, None))
        views = {
            name: ViewOutput(inputs[stream], None, seen[stream])
            for name, stream in (("teacher", teacher), ("student", Stream.RGB))
        }
        everyone = torch.ones(2, dtype=torch.bool)
        loss = task.loss(TaskBatch(views, torch.arange(2), everyone, 0.5, Generator()))
        (grad,) = torch.autograd.grad(loss, seen[Stream.RGB].maps[stage], retain_graph=True)
        assert loss.isfinite()
        assert loss > 0
        assert grad.any()


@pytest.mark.parametrize(
    ("backbone", "message"),
    [
        ({"name": "csn", "depth": 18}, "backbone.depth: csn exists only with depth 50, got 18"),
        (
            {"name": "slowfast", "width": 12},
            "slowfast needs a multiple of 8, got 12",
        ),
        ({"name": "slowfst"}, "unknown backbone 'slowfst': did you mean 'slowfast'?"),
    ],
)
def test_an_unsupported_backbone_is_refused(backbone: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=re.escape(message)):
        build_encoder(Stream.RGB, Backbone.model_validate(backbone), seed=0)


def test_an_unsupported_depth_is_refused_by_its_key() -> None:
    raw = {"ignores": ["crop"], "tasks": {"simclr": {}}, "backbone": {"depth": 34}}
    with pytest.raises(UserError, match=r"backbone\.depth: .*34.*18.*50"):
        parse_space(raw, "here")


@pytest.mark.parametrize("frames", [3, 6, 8])
def test_slowfast_averages_the_fast_pathway_per_slow_step(frames: int, draw: Draw) -> None:
    encoder = build("slowfast18")
    outputs: list[Tensor] = []
    stage = encoder.network.stages["stage2"]
    handle = stage.register_forward_hook(lambda *args: outputs.extend(args[2]))
    maps = encoder(draw(2, 3, frames, 32, 32)).maps
    handle.remove()
    slow, fast = outputs
    means = [part.mean(dim=2) for part in fast.split(4, dim=2)]
    assert slow.shape[2] == len(means)
    torch.testing.assert_close(maps["stage2"], torch.cat([slow, torch.stack(means, 2)], dim=1))
