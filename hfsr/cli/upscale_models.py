"""Models of one `hfsr upscale` command: chosen for each image, loaded once."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from hfsr.errors import OptionsError, UsageError
from hfsr.model_choice import Interpolated, ModelChoice, choose_models, choose_restorer

if TYPE_CHECKING:
    from torch import nn

    from hfsr.images.decoding.encoded_image import ImageFile
    from hfsr.inference import Upscaler

__all__ = ["Models"]

_SCALE = 2
"""Default scale."""


class Models:
    """The models of one command, loaded when the first image needs them."""

    def __init__(self, args: argparse.Namespace) -> None:
        from hfsr.inference.result_size import WantedSize

        self._args = args
        self._networks: dict[str, nn.Module] = {}
        self._loaded: dict[tuple[str | Interpolated, ...], Upscaler] = {}
        try:
            self.wanted = WantedSize(args.scale, args.width, args.height, args.max_side)
        except OptionsError as error:
            raise UsageError(str(error)) from error

    def suffix(self) -> str:
        """Returns the suffix of the results' names: the scale or size that the arguments request."""
        args, wanted = self._args, self.wanted
        if wanted.width and wanted.height:
            return f"_{wanted.width}x{wanted.height}"
        for letter, side in (("w", wanted.width), ("h", wanted.height), ("max", wanted.max_side)):
            if side:
                return f"_{letter}{side}"
        if wanted.scale is not None:
            scale = wanted.scale
        elif args.model is not None:
            scale = self.get((args.model,)).scale
        else:
            scale = 1 if args.command == "restore" else _SCALE
        return f"_x{scale:g}" if scale > 1 else "_restored"

    def choice(self, image: ImageFile, size: tuple[int, int] | None) -> ModelChoice:
        """Returns the model that the arguments name, or the bundled ones for an image.

        Args:
            image: file of the image.
            size: width and height, or None if they cannot be read.
        """
        from hfsr.inference.program.geometry import Size

        args = self._args
        if args.model is not None:
            return ModelChoice((str(args.model),))
        scale = self.wanted.scale
        if scale is None and size is not None:
            scale = self.wanted.scale_of(Size(size[1], size[0]))
        if args.command == "restore" and (scale is None or scale == 1):
            return choose_restorer(image, purpose=args.purpose)
        return choose_models(
            image, scale=_SCALE if scale is None else scale, purpose=args.purpose, strength=args.strength
        )

    def get(self, names: tuple[str | Interpolated, ...]) -> Upscaler:
        """Returns the cached upscaler of one model, or of several that run one after another."""
        from hfsr.inference import Upscaler

        args = self._args
        if names not in self._loaded:
            self._loaded[names] = Upscaler(
                [self._network(name) for name in names],
                tile=args.tile,
                dtype=args.dtype,
                backend=args.backend,
                device=args.device,
                self_ensemble=args.self_ensemble,
            )
        return self._loaded[names]

    def fetch(self) -> None:
        """Loads the model that the arguments name: from the Hub, before several processes need it at once."""
        if self._args.model is not None:
            self._network(self._args.model)

    def _network(self, name: str | Interpolated) -> nn.Module:
        from hfsr import hub
        from hfsr.checkpoints import interpolate
        from hfsr.hub.download.resolve import load_for_scale

        if isinstance(name, Interpolated):
            return interpolate(self._network(name.clean), self._network(name.photo), name.strength)
        if name not in self._networks:
            asked = self.wanted.scale if name == self._args.model else None
            self._networks[name] = hub.from_pretrained(name) if asked is None else load_for_scale(name, asked)
        return self._networks[name]
