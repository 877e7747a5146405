import copy
import math

import numpy as np
import pytest
import torch

from evossl.errors import RunError, UserError
from evossl.evaluation.classifier import load_classifier, save_classifier
from evossl.evaluation.features import calibrate, view_settings
from evossl.evaluation.finetune import (
    TRAINING_VIEW,
    Classifier,
    FineTuning,
    _batches,
    _parameter_groups,
    finetune,
    predict,
)
from evossl.evaluation.labels import VideoSubset
from evossl.optim.schedule import lr_factor
from evossl.views.build import build_views
from tests.helpers.painted_videos import SIZE, PaintedClips

ONE_EPOCH = FineTuning(epochs=1, batch_size=8)


def first_videos(count: int, class_N: np.ndarray) -> VideoSubset:
    """Return the first `count` videos, with classes "a" and "b"."""
    return VideoSubset(range(count), class_N[:count], "ab")


def test_it_learns_a_motion_that_no_single_frame_shows(bars, make_encoder) -> None:
    loader, class_N = bars
    train, test = list(range(32)), list(range(32, 48))
    options = FineTuning(epochs=25, batch_size=16, encoder_lr=1e-2, lr=1e-2)
    model = finetune(
        make_encoder(), loader, VideoSubset(train, class_N[:32], ["left", "right"]), options, seed=0
    )
    assert (predict(model, loader, test) == class_N[32:]).mean() >= 0.9


def test_encoder_and_global_random_state_are_unchanged(bars, make_encoder) -> None:
    loader, class_N = bars
    encoder = make_encoder()
    weights, state = copy.deepcopy(encoder.state_dict()), torch.random.get_rng_state()
    model = finetune(encoder, loader, first_videos(16, class_N), ONE_EPOCH, seed=0)
    assert all(torch.equal(weights[name], t) for name, t in encoder.state_dict().items())
    assert torch.equal(torch.random.get_rng_state(), state)
    changed = model.encoder.state_dict()
    assert all(not torch.equal(weights[n], changed[n]) for n, p in encoder.named_parameters())


def test_the_seed_determines_the_classifier(bars, make_encoder) -> None:
    loader, class_N = bars
    models = [
        finetune(make_encoder(), loader, first_videos(16, class_N), ONE_EPOCH, seed=seed)
        for seed in (3, 3, 4)
    ]
    first, again, other = (model.head[1].weight for model in models)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def as_vector(model: torch.nn.Module) -> torch.Tensor:
    """Return all weights; `parameters_to_vector` refuses weights in channels-last memory."""
    return torch.cat([p.detach().reshape(-1) for p in model.parameters()])


def test_two_epochs_equal_a_plain_loop(bars, make_encoder) -> None:
    """The loop has one AdamW per parameter, and sets its learning rate by hand."""
    loader, class_N = bars
    options = FineTuning(epochs=2, batch_size=8, lr=1e-2, encoder_lr=3e-3, label_smoothing=0.1)
    got = finetune(make_encoder(), loader, first_videos(16, class_N), options, seed=0)
    untouched = FineTuning(epochs=0, batch_size=8)
    model = finetune(make_encoder(), loader, first_videos(16, class_N), untouched, seed=0)
    first = as_vector(model)
    model.train()
    optimisers = {
        name: torch.optim.AdamW([p], weight_decay=0.05 if p.ndim > 1 else 0.0)
        for name, p in model.named_parameters()
    }
    settings = view_settings(model.encoder.config, ("crop", "time"))
    for step, (epoch, rows) in enumerate(_batches(16, options, 0)):
        clips = loader.clips(rows.tolist(), draw=1 + epoch)
        inputs = build_views([TRAINING_VIEW], clips, settings, seed=0, step=step)
        log_p = model(inputs[TRAINING_VIEW.input_key].pixels).log_softmax(dim=1)
        target_BC = 0.9 * torch.eye(2)[class_N[rows]] + 0.1 / 2
        grads = torch.autograd.grad(
            -(target_BC * log_p).sum(dim=1).mean(), list(model.parameters())
        )
        norm = math.sqrt(sum(float(g.double().square().sum()) for g in grads))
        share = lr_factor(step, 4, options.warmup_fraction)
        for (name, p), grad in zip(model.named_parameters(), grads, strict=True):
            p.grad = grad * min(1.0, 1.0 / norm)
            rate = options.lr if name.startswith("head") else options.encoder_lr
            optimisers[name].param_groups[0]["lr"] = rate * share
            optimisers[name].step()
    ours, theirs = (as_vector(m) for m in (got, model))
    assert (ours - theirs).norm() < 0.05 * (theirs - first).norm()  # AdamW magnifies rounding


def test_batchnorm_is_calibrated_on_clean_clips_at_the_end(bars, make_encoder) -> None:
    loader, class_N = bars
    model = finetune(make_encoder(), loader, first_videos(16, class_N), ONE_EPOCH, seed=0)
    assert not model.training
    before = copy.deepcopy(dict(model.named_buffers()))
    calibrate(model.encoder, loader, range(16))
    for name, buffer in model.named_buffers():
        torch.testing.assert_close(buffer, before[name], rtol=1e-5, atol=1e-6)


def test_each_epoch_draws_new_clips(bars, make_encoder) -> None:
    loader, class_N = bars
    draws = []

    class Recording:
        def clips(self, indices, draw):
            draws.append(draw)
            return loader.clips(indices, draw)

    options = FineTuning(epochs=3, batch_size=8)
    finetune(make_encoder(), Recording(), first_videos(16, class_N), options, seed=0)
    assert draws == [1, 1, 2, 2, 3, 3, 0]


def test_progress_counts_every_step(bars, make_encoder) -> None:
    loader, class_N = bars
    seen = []
    finetune(
        make_encoder(),
        loader,
        first_videos(20, class_N),
        FineTuning(epochs=2, batch_size=8),
        seed=0,
        progress=lambda done, total: seen.append((done, total)),
    )
    assert seen == [(i, 6) for i in range(1, 7)]  # 2 epochs x ceil(20 / 8)


def test_every_epoch_shows_every_video_once() -> None:
    epochs: dict[int, list[int]] = {}
    for epoch, rows in _batches(17, FineTuning(epochs=3, batch_size=8), seed=0):
        assert len(rows) >= 2  # 8 + 8 + 1 would give BatchNorm a single clip
        epochs.setdefault(epoch, []).extend(rows.tolist())
    assert [sorted(rows) for rows in epochs.values()] == [list(range(17))] * 3
    assert epochs[0] != epochs[1]


def test_learning_rate_and_decay_of_each_parameter_group(make_encoder) -> None:
    model = Classifier(make_encoder(), ["a", "b"])
    groups = _parameter_groups(model, FineTuning(lr=1.0, encoder_lr=0.1, weight_decay=0.5))
    of = {id(p): group for group in groups for p in group["params"]}
    assert len(of) == len(list(model.parameters()))
    for name, parameter in model.named_parameters():
        assert of[id(parameter)]["lr"] == (1.0 if name.startswith("head") else 0.1)
        assert of[id(parameter)]["weight_decay"] == (0.5 if parameter.ndim > 1 else 0.0)


@pytest.mark.parametrize(("ignores", "mirrored"), [(("crop",), False), (("crop", "flip"), True)])
def test_clips_are_mirrored_only_if_flip_is_ignored(make_encoder, ignores, mirrored) -> None:
    frames = np.zeros((6, SIZE, SIZE, 3), np.uint8)
    frames[:, :, SIZE // 2 :] = 255
    loader, seen = PaintedClips([frames] * 16), []
    encoder = make_encoder(ignores)
    encoder.encoder.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    finetune(encoder, loader, first_videos(16, np.arange(16) % 2), ONE_EPOCH, seed=0)
    x = torch.cat(seen[:2])  # the training's two steps; then comes calibration
    half = SIZE // 2
    brighter_left = x[..., :half].mean(dim=(1, 2, 3, 4)) > x[..., half:].mean(dim=(1, 2, 3, 4))
    assert bool(brighter_left.any()) == mirrored


def test_a_loss_that_is_not_finite_is_an_error(bars, make_encoder) -> None:
    loader, class_N = bars
    encoder = make_encoder()
    with torch.no_grad():
        next(encoder.parameters()).fill_(torch.nan)
    with pytest.raises(RunError, match="not finite at step 0"):
        finetune(encoder, loader, first_videos(8, class_N), ONE_EPOCH, seed=0)


def test_one_video_is_refused(bars, make_encoder) -> None:
    loader, class_N = bars
    with pytest.raises(RunError, match="at least 2"):
        finetune(make_encoder(), loader, first_videos(1, class_N), ONE_EPOCH, seed=0)


@pytest.fixture
def classifier(make_encoder) -> Classifier:
    model = Classifier(make_encoder(), ["jump", "run", "wave"])
    with torch.no_grad():
        model.head[0].weight.uniform_(0.5, 2.0, generator=torch.Generator().manual_seed(0))
    return model.eval()


def test_a_classifier_survives_saving_and_loading(classifier, bars, tmp_path) -> None:
    save_classifier(classifier, tmp_path / "out")
    loaded = load_classifier(tmp_path / "out")
    assert loaded.classes == ("jump", "run", "wave")
    assert not loaded.training
    x = loaded.encoder.preprocess(bars[0].videos[0])
    torch.testing.assert_close(loaded(x), classifier(x))
    assert loaded(x).shape == (1, 3)


def test_a_folder_that_is_not_empty_is_not_overwritten(classifier, tmp_path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match="is not empty"):
        save_classifier(classifier, tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["notes.txt"]


def test_a_failed_save_leaves_nothing(classifier, tmp_path) -> None:
    with torch.no_grad():
        next(classifier.encoder.parameters()).fill_(torch.inf)
    with pytest.raises(RunError, match="not finite"):
        save_classifier(classifier, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("file", "content", "words"),
    [
        ("classifier.json", None, "the folder that `evossl finetune` writes"),
        ("classifier.json", b"{", r"classifier\.json: is damaged"),
        ("classifier.json", b'{"classes": ["a"], "x": 1}', "damaged: unknown key 'x'"),
        (
            "classifier.json",
            b'{"classes": 3}',
            r"classes: Input should be a valid list \(got 3\); fine-tune again",
        ),
        (
            "classifier.json",
            b'{"format": 1, "classes": ["a", "b"]}',
            "is not this classifier's head",
        ),
        ("head.safetensors", b"torn", "is not this classifier's head"),
    ],
)
def test_a_damaged_classifier_file_is_named(classifier, tmp_path, file, content, words) -> None:
    save_classifier(classifier, tmp_path / "out")
    (tmp_path / "out" / file).unlink()
    if content is not None:
        (tmp_path / "out" / file).write_bytes(content)
    with pytest.raises(UserError, match=words):
        load_classifier(tmp_path / "out")
