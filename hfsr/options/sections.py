"""Sections of an option file, with BasicSR's keys. Docstrings state the units; unknown keys are errors.

Sections with a `type` (networks, data sets, losses, optimizers, schedulers, metrics) keep their other keys
as the arguments of that type; `binding` checks them against its constructor.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PrivateAttr, model_validator

__all__ = [
    "DatasetOptions",
    "LoggerOptions",
    "PathOptions",
    "TrainOptions",
    "TrainingOptions",
    "Typed",
    "ValidationOptions",
    "as_list",
]


_FILE_NAME = r"^[^/\\]*[^/\\.][^/\\]*$"
"""A name of one file or folder: without separators, and with something other than dots."""


class Section(BaseModel):
    """A mapping without unknown keys."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)


class Typed(BaseModel):
    """A registered type and the arguments of its constructor."""

    model_config = ConfigDict(extra="allow", use_attribute_docstrings=True)

    type: str
    """Registered name; the other keys are its arguments."""

    @property
    def arguments(self) -> dict[str, Any]:
        """Keys other than those of the model, which are the arguments of the type."""
        return dict(self.model_extra or {})


class DatasetOptions(Typed):
    """One data set: how it is read (keys of its type) and how batches are drawn from it."""

    name: str | None = None
    """Name in logs and in the keys of metrics."""
    batch_size_per_gpu: int = Field(16, ge=1)
    """Patches per process and step."""
    accum_iter: int = Field(1, ge=1)
    """Steps whose gradients are summed into one iteration; its batch is larger by this factor."""
    dataset_enlarge_ratio: int = Field(1, ge=1)
    """Patches drawn per image and epoch; affects only the length of an epoch."""
    num_worker_per_gpu: int = Field(0, ge=0)
    """Threads that prepare batches ahead of the training; 0 for none, as with third-party data sets."""
    use_shuffle: bool = True
    """Draw the images of each epoch in a new order."""
    prefetch_mode: Literal["cpu", "cuda"] | None = None
    """Accepted for BasicSR's files; preparing a batch takes about a millisecond."""
    num_prefetch_queue: int | None = None
    """Accepted for BasicSR's files."""
    pin_memory: bool = True
    """Copy batches to a GPU from page-locked memory."""
    queue_size: int = Field(0, ge=0)
    """Pairs per process in the pool from which batches are drawn (Real-ESRGAN), which mixes patches of
    different iterations; a multiple of the batch. 0 for none."""
    gt_sizes: list[int] | None = None
    """Progressive training (Restormer): side of a GT patch in px in each stage, at most `gt_size`."""
    mini_batch_sizes: list[int] | None = None
    """Patches per process and step in each stage, at most `batch_size_per_gpu`."""
    iters: list[int] | None = None
    """Iterations of each stage; the last stage continues to the end."""

    @model_validator(mode="after")
    def _stages(self) -> DatasetOptions:
        given = {"gt_sizes": self.gt_sizes, "mini_batch_sizes": self.mini_batch_sizes, "iters": self.iters}
        missing = [name for name, values in given.items() if not values]
        if missing and len(missing) < len(given):
            raise ValueError(f"progressive training also needs {missing[0]}, one number for each stage")
        if len({len(values) for values in given.values() if values}) > 1:
            raise ValueError("gt_sizes, mini_batch_sizes and iters must have one number for each stage")
        if any(number < 1 for values in given.values() for number in values or ()):
            raise ValueError("gt_sizes, mini_batch_sizes and iters must be 1 or more")
        if self.queue_size and self.gt_sizes:
            raise ValueError("queue_size needs patches of one size; leave out queue_size or gt_sizes")
        if self.queue_size % self.batch_size_per_gpu:
            raise ValueError(
                f"queue_size {self.queue_size} is not a multiple of batch_size_per_gpu "
                f"{self.batch_size_per_gpu}"
            )
        return self


class PathOptions(Section):
    """Initial weights."""

    pretrain_network_g: str | None = None
    """Initial weights: a checkpoint, a run (`experiments/NAME`), a model folder, a bundled name or an
    id on the Hub."""
    param_key_g: str | None = None
    """Entry of a `.pth` or a run: `params`, or the averaged `params_ema`; `~` reads the latter if it
    exists."""
    strict_load_g: bool = True
    """False copies the tensors that fit and lists the others, for weights of another scale."""
    pretrain_network_d: str | None = None
    """Initial weights of `network_d`: a checkpoint or a model folder."""
    param_key_d: str | None = None
    """As `param_key_g`."""
    strict_load_d: bool = True
    """As `strict_load_g`."""
    pretrain_network_dual: str | None = None
    """Initial weights of `network_dual`: a checkpoint or a model folder."""
    param_key_dual: str | None = None
    """As `param_key_g`."""
    strict_load_dual: bool = True
    """As `strict_load_g`."""
    resume_state: str | None = None
    """A `.state` file from which to resume; `--auto_resume` takes the run's newest one instead, if there is
    one. An earlier run of this name is moved away unless this is its newest state."""


class ParameterGroup(Section):
    """Parameters of `network_g` with a learning rate of their own."""

    match: str
    """Pattern of their names, such as `upsample.*`; the first matching group applies."""
    lr_mul: float = Field(ge=0)
    """Factor on the learning rate; 0 freezes the parameters."""


class MixupOptions(Section):
    """Blends pairs of a batch with each other."""

    alpha: float = Field(1.2, gt=0)
    """The share of one pair is drawn from Beta(alpha, alpha), once for each batch."""
    start_iter: int = Field(0, ge=0)
    """Iterations before it starts."""
    prob: float = Field(1.0, ge=0, le=1)
    """Share of the batches that are blended."""


Augmentation = Literal["blend", "rgb", "mixup", "cutmix", "cutmixup", "cutblur"]


class MixtureOptions(Section):
    """Mixture of augmentations with CutBlur (Yoo et al. 2020): one is drawn for each batch."""

    augs: dict[Augmentation, Annotated[float, Field(ge=0)]] = {}
    """Relative frequencies by name; equal ones if empty, of all that fit. `cutblur` is for scale 1 only."""
    start_iter: int = Field(0, ge=0)
    """Iterations before it starts."""
    prob: float = Field(1.0, ge=0, le=1)
    """Share of the batches that are augmented."""


class SharpeningOptions(Section):
    """Losses that compare with the sharpened GT of `datasets.train.sharpen_gt` (Real-ESRGAN)."""

    pixel: bool = True
    """`pixel_opt`, `luma_opt` and `fft_opt`."""
    perceptual: bool = True
    """`perceptual_opt` and `texture_opt`."""
    gan: bool = False
    """`gan_opt`: the discriminator receives sharpened GT."""


class DistillOptions(Section):
    """A trained network that `network_g` learns from, beside the ground truth."""

    teacher: str
    """Model folder, checkpoint, bundled name or Hub id, of the same scale."""
    output_opt: Typed | None = Typed(type="L1Loss")
    """Loss between the outputs of the two; `~` for none."""
    feature_opt: Typed = Typed(type="MSELoss")
    """Loss between the spatial attention of feature maps, which are those of `layers`."""
    layers: dict[str, str] = {}
    """Layer of `network_g` -> layer of the teacher, whose feature maps have the same size."""


class RecursionOptions(Section):
    """Weight of the images of all recursions relative to the final one."""

    alpha: float = Field(1.0, ge=0, le=1)
    """Their share at the first iteration."""
    decay_iter: int = Field(50000, ge=1)
    """Iterations over which the share decreases linearly to 0."""


class AdaptOptions(Section):
    """DualModel: estimates the reduction kernel of `datasets.unpaired`, and makes pairs with it."""

    lr: float = Field(0.02, gt=0)
    """Learning rate of the logarithms of the kernel's widths; it follows `scheduler` too."""
    start_iter: int = Field(100, ge=0)
    """Iterations of estimation before the kernel is used."""


class TrainingOptions(Section):
    """Losses, optimizers and schedule of the training."""

    optim_g: Typed
    """Optimizer: a class of torch.optim, or one of timm by its timm name, and its arguments."""
    optim_d: Typed | None = None
    """Optimizer of `network_d`."""
    optim_dual: Typed | None = None
    """Optimizer of `network_dual`."""
    total_iter: int = Field(ge=1)
    """Total number of iterations."""
    scheduler: Typed | None = None
    """Learning rate over iterations; constant if absent."""
    warmup_iter: int = -1
    """Iterations over which the learning rate rises linearly from 0; -1 for none."""
    ema_decay: float = Field(0.0, ge=0, lt=1)
    """Decay of the averaged weights that are validated and published; 0 for none."""
    pixel_opt: Typed | None = None
    """Loss between output and ground truth."""
    pixel_y_channel: bool = False
    """Compute `pixel_opt` between lumas (MATLAB's), as in the papers of networks that restore luma alone."""
    luma_opt: Typed | None = None
    """Another loss between lumas, on which PSNR-Y is measured; most of the error in RGB is in color."""
    perceptual_opt: Typed | None = None
    """Loss between features of output and ground truth."""
    texture_opt: Typed | None = None
    """Loss between textures of output and ground truth."""
    fft_opt: Typed | None = None
    """Loss between the spectra of output and ground truth, such as FFTLoss."""
    consistency_opt: Typed | None = None
    """Loss between output and ground truth, both reduced by `scale` (MATLAB's bicubic), so that the output,
    reduced again, matches the input."""
    ldl_opt: Typed | None = None
    """Adversarial recipes with `ema_decay`: loss on the pixels that are likely artifacts (LDL)."""
    distill_opt: DistillOptions | None = None
    """SRModel: learn from a trained network too."""
    usm: SharpeningOptions | None = None
    """With `datasets.train.sharpen_gt`: losses that compare with the sharpened ground truth."""
    gan_opt: Typed | None = None
    """Loss of the logits of `network_d`."""
    dual_opt: Typed | None = None
    """Loss between the input and the reduction of the output by `network_dual`."""
    net_d_iters: int = Field(1, ge=1)
    """Iterations of `network_d` per iteration of `network_g`."""
    net_d_init_iters: int = Field(0, ge=0)
    """Iterations in which `network_d` is trained alone."""
    ragan: Literal["half", "sum"] = "half"
    """ESRGANModel: weight of both adversarial terms, half as in BasicSR or full (`sum`) as in the paper."""
    mixup: MixupOptions | None = None
    """SRModel: blend pairs of a batch with each other (MIRNet)."""
    mixture: MixtureOptions | None = None
    """SRModel: augment batches by CutBlur, CutMix, MixUp and the like; `{}` for all of them."""
    adapt: AdaptOptions | None = None
    """DualModel with `datasets.unpaired`: beyond the paper, estimate the reduction kernel of those images."""
    recursion: RecursionOptions = RecursionOptions()
    """RecursiveModel: supervision of every recursion (DRCN)."""
    clip_grad_norm: float | None = Field(None, gt=0)
    """Maximum norm of all gradients of a network together; `~` for no clipping."""
    clip_grad_step: float | None = Field(None, gt=0)
    """Clip each gradient to this over the learning rate (VDSR's adjustable clipping); `~` for no clipping."""
    param_groups: list[ParameterGroup] = []
    """Parts of `network_g` with a learning rate of their own, or frozen; the others use the full rate."""


class ValidationOptions(Section):
    """Frequency and metrics of the validation."""

    val_freq: int = Field(5000, ge=1)
    """Iterations between validations; the start and the end are always validated."""
    save_img: bool = False
    """Write the restored images under `visualization`."""
    pbar: bool = False
    """Accepted for BasicSR's files."""
    suffix: str | None = Field(None, pattern=r"^[^/\\]*$")
    """Suffix of the names of saved images in tests."""
    window_size: int = Field(1, ge=1)
    """Whole images are padded (mirrored) to a multiple of this, for networks of other packages."""
    tile_size: int = Field(0, ge=0)
    """Side in LR px of the tiles in which large images are restored; 0 for whole images."""
    metrics: dict[str, Typed] | None = None
    """Metrics by name; the first one determines the best weights."""


class WandbOptions(Section):
    """Weights & Biases; used if `project` is given."""

    project: str | None = None
    """Project; `~` for no tracking with Weights & Biases."""
    resume_id: str | None = None
    """Run to continue; a resumed run finds its own."""
    mode: Literal["online", "offline"] | None = None
    """`offline` writes to `wandb/`, to be sent later; `~` leaves it to WANDB_MODE."""


class TrackioOptions(Section):
    """Trackio: a local tracker, with a Space on the Hub if one is named."""

    project: str
    """Name of the project."""
    space_id: str | None = None
    """`org/name` of a Space that shows the curves; `~` keeps them on this machine."""


class VisdomOptions(Section):
    """A visdom server."""

    server: str = "http://localhost"
    """Address of the server."""
    port: int = Field(8097, ge=1, le=65535)
    """Port of the server."""
    env: str | None = None
    """Environment that shows the curves (default: the run's name)."""


class LoggerOptions(Section):
    """Log, checkpoints and trackers of a training run."""

    print_freq: int = Field(100, ge=1)
    """Iterations between lines of the log."""
    save_checkpoint_freq: int = Field(5000, ge=1)
    """Iterations between checkpoints and training states."""
    keep_states: int = Field(3, ge=1)
    """Number of newest training states that are kept; older ones are removed."""
    use_tb_logger: bool = True
    """Write curves for tensorboard under `tb_logger/<name>`."""
    push_to_hub: str | None = None
    """`org/name` on the Hub that receives weights and card at each new best, during the training."""
    json_lines: bool = Field(False, alias="json")
    """Write `train_log.jsonl` in the run's folder: losses, learning rate, speed and metrics, a line for each
    report."""
    license: str | None = None
    """License of the weights, for their card ("apache-2.0"); `~` takes that of `path.pretrain_network_g`."""
    wandb: WandbOptions | None = None
    """Curves for Weights & Biases."""
    trackio: TrackioOptions | None = None
    """Curves for trackio."""
    visdom: VisdomOptions | None = None
    """Curves for visdom."""
    grid_images: int = Field(4, ge=0)
    """Images of the first validation set that trackers show, LQ, SR and GT side by side; 0 for none."""


def as_list(names: Any) -> Any:
    """Converts one name to a list, and an empty value to an empty list."""
    return [] if names is None else [names] if isinstance(names, str) else names


class TrainOptions(Section):
    """An option file."""

    modules: Annotated[list[str], BeforeValidator(as_list)] = Field([], alias="import")
    """Modules to import first, also from the current directory: they may register networks, losses, data
    sets, metrics and recipes, in hfsr or in BasicSR."""

    name: str = Field(pattern=_FILE_NAME)
    """Name of the run, and of its folder under `experiments/`."""
    model_type: str = "SRModel"
    """The recipe."""
    scale: int = Field(1, ge=1)
    """Output px per input px along one side; 1 for restoration at the same size."""
    num_gpu: Annotated[int, Field(ge=0)] | Literal["auto"] = "auto"
    """0 selects the CPU; otherwise the launcher determines the number of processes."""
    manual_seed: int = Field(0, ge=0, lt=2**32, json_schema_extra={"type": ["integer", "null"]})
    """Seed of weights, order and augmentation; `~` draws one, which the log states."""
    use_amp: bool = False
    """Mixed precision."""
    amp_bf16: bool = True
    """Mixed precision in bfloat16, if the device supports it natively, else none; false for float16."""
    use_channels_last: bool = False
    """Memory format NHWC, faster for convolutions on CPUs and recent GPUs."""
    use_compile: bool = False
    """Compile the network with torch.compile."""
    use_checkpointing: bool = False
    """Recompute the repeated blocks of `network_g` in the backward pass: less memory, more time."""
    find_unused_parameters: bool = False
    """Several processes: parameters of a network may have no gradient in some iterations (DDP)."""
    dist_params: dict[str, Any] | None = None
    """Accepted for BasicSR's files; the launcher starts the processes."""
    datasets: dict[str, DatasetOptions]
    """`train`, optionally `unpaired` (LQ images for adaptation), and any number of `val`, `test_1`, ..."""
    network_g: Typed
    """The network that is trained."""
    network_d: Typed | None = None
    """The discriminator of adversarial recipes."""
    network_dual: Typed | None = None
    """The networks of DualModel that reduce the output to the input."""
    path: PathOptions = PathOptions()
    train: TrainingOptions | None = None
    val: ValidationOptions = ValidationOptions()
    logger: LoggerOptions = LoggerOptions()

    _without_effect: tuple[str, ...] = PrivateAttr(())
    _is_translated: bool = PrivateAttr(False)
    _is_seed_drawn: bool = PrivateAttr(False)

    @property
    def without_effect(self) -> tuple[str, ...]:
        """Accepted keys of other packages that have no effect here, each with the reason."""
        return self._without_effect

    @property
    def is_translated(self) -> bool:
        """True if the file has keys of another program."""
        return self._is_translated

    @property
    def is_seed_drawn(self) -> bool:
        """True if the file leaves the seed open: each process that reads it draws another one."""
        return self._is_seed_drawn

    def note_reading(
        self, without_effect: Iterable[str], *, is_translated: bool, is_seed_drawn: bool
    ) -> None:
        """Sets `without_effect`, `is_translated` and `is_seed_drawn`."""
        self._without_effect, self._is_translated = tuple(without_effect), is_translated
        self._is_seed_drawn = is_seed_drawn

    @model_validator(mode="after")
    def _phases(self) -> TrainOptions:
        for phase in self.datasets:
            if phase not in {"train", "unpaired"} and phase.split("_")[0] not in {"val", "test"}:
                raise ValueError(f"datasets.{phase}: name data sets train, val, val_1, test_1, ...")
        for phase, section in self.validation_sets().items():
            for key, name in ((f"{phase}.name", section.name), (phase, phase)):
                if name is not None and not re.match(_FILE_NAME, name):
                    raise ValueError(
                        f"datasets.{key}: '{name}' names the folder of results; use a name without / and \\"
                    )
        return self

    def validation_sets(self) -> dict[str, DatasetOptions]:
        """Returns the data sets of validation and test, by their key in `datasets`."""
        return {key: value for key, value in self.datasets.items() if key.split("_")[0] in {"val", "test"}}
