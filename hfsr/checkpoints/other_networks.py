"""Recognition, by their keys, of common networks that do not restore images."""

from __future__ import annotations

import re
from collections.abc import Iterable

__all__ = ["kind_of_network"]

_KINDS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("a VGG network (features or classifier)", (r"features\.0\.weight", r"features\.\d\d\.weight")),
    ("an AlexNet network (features or classifier)", (r"features\.0\.weight", r"classifier\.6\.weight")),
    ("a ResNet classifier", (r"layer1\.0\.conv1\.weight", r"layer4\.0\.conv1\.weight", r"fc\.weight")),
    ("a DenseNet classifier", (r"features\.conv0\.weight", r"classifier\.weight")),
    ("a MobileNet or EfficientNet classifier", (r"features\.0\.0\.weight", r"classifier\.\d\.weight")),
    ("an Inception network", (r"Conv2d_1a_3x3\.conv\.weight", r"Mixed_5b\.\S+")),
    ("a vision transformer (classifier)", (r"cls_token", r"pos_embed", r"patch_embed\.proj\.weight")),
    ("the linear layers of LPIPS", (r"lin0\.model\.\d\.weight", r"lin4\.model\.\d\.weight")),
    ("a U-Net discriminator", (r"conv0\.weight", r"conv1\.weight_orig", r"conv9\.weight")),
    ("a patch discriminator", (r"model\.0\.weight", r"model\.\d+\.running_mean", r"model\.\d+\.weight")),
    ("a StyleGAN2 generator", (r"style\.1\.weight", r"conv1\.conv\.modulation\.weight")),
    ("a StyleGAN2 generator", (r"style_mlp\.1\.weight", r"style_conv1\.modulated_conv\.weight")),
    ("a StyleGAN2 discriminator", (r"convs?\.0\.0\.weight", r"final_conv\.0\.weight", r"final_linear\.\d.*")),
    ("a Stable Diffusion model", (r"model\.diffusion_model\.input_blocks\.0\.0\.weight",)),
    ("a Stable Diffusion model", (r"(model\.)?diffusion_model\.time_embed\.0\.weight",)),
    (
        "a diffusion U-Net",
        (r"(input_blocks\.0\.0|conv_in)\.weight", r"(time_embed\.0|time_embedding\.linear_1).*"),
    ),
    (
        "a variational autoencoder",
        (r"encoder\.conv_in\.weight", r"decoder\.conv_out\.weight", r"quant_conv\..*"),
    ),
    ("a LoRA", (r".*\.lora_(up|A|down|B)\..*",)),
    ("a language model", (r"(model\.)?embed_tokens\.weight|.*word_embeddings\.weight|wte\.weight",)),
)
"""Kind of network -> patterns, each of which one key must match as a whole."""


def kind_of_network(keys: Iterable[str]) -> str | None:
    """Describes a network that does not restore images, with an article; returns None for unknown keys.

    Args:
        keys: keys of a state dict that belongs to no registered network.
    """
    listed = list(keys)
    for kind, patterns in _KINDS:
        if all(any(re.fullmatch(pattern, key) for key in listed) for pattern in patterns):
            return kind
    return None
