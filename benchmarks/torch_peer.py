"""The slice translator in PyTorch, and a process that times it on demand; needs PyTorch and nothing else.

Run by `benchmarks.torch_translator`, which see. Tasks come as lines on standard input; each is answered by a line of
JSON, wall and processor seconds. The network is `SliceTranslator` with channels first.
"""

import itertools
import json
import sys
import time

import torch
import torch.nn.functional as F
from torch import nn

BACKGROUND = -1.0


def modulate(x, pair):
    """Feature-wise scale and shift of `[N, C, H, W]`."""
    scale, shift = (part[:, :, None, None] for part in pair)
    return x * (1 + scale) + shift


def split(film, sizes):
    """`[N, 2 sum(sizes)]` to pairs of scale and shift."""
    return [part.chunk(2, dim=1) for part in film.split([2 * size for size in sizes], dim=1)]


class Block(nn.Module):
    """Norm, SiLU, convolve, twice, beside a skip."""

    def __init__(self, inputs, features, groups):
        super().__init__()
        self.norm1, self.norm2 = nn.GroupNorm(groups, inputs, eps=1e-6), nn.GroupNorm(groups, features, eps=1e-6)
        self.conv1 = nn.Conv2d(inputs, features, 3, padding=1)
        self.conv2 = nn.Conv2d(features, features, 3, padding=1)
        self.skip = nn.Conv2d(inputs, features, 1) if inputs != features else nn.Identity()

    def forward(self, x):
        """`[N, C, H, W]`."""
        h = self.conv1(F.silu(self.norm1(x)))
        return self.skip(x) + self.conv2(F.silu(self.norm2(h)))


def condition(inputs, features):
    """The embedding of what is known of a slice."""
    return nn.Sequential(nn.Linear(inputs, features), nn.SiLU(), nn.Linear(features, features), nn.SiLU())


class Translator(nn.Module):
    """See `SliceTranslator`."""

    def __init__(
        self, source_channels, target_channels, widths, blocks, space_to_depth, groups, combine, condition_features
    ):
        super().__init__()
        self.factor, self.combine, self.widths = space_to_depth, combine, widths
        outputs = source_channels + 1 if combine else 1
        self.modulated = (widths[-1], *(2 * width for width in widths[-2::-1]), widths[0], outputs)

        def level(inputs, width):
            return nn.Sequential(*(Block(inputs if i == 0 else width, width, groups) for i in range(blocks)))

        self.encoder_condition = condition(source_channels, condition_features)
        self.encoder_modulation = nn.Linear(condition_features, 2 * sum(widths))
        self.decoder_condition = condition(source_channels + target_channels, condition_features)
        self.decoder_modulation = nn.Linear(condition_features, 2 * sum(self.modulated))
        self.stem = nn.Conv2d(source_channels * space_to_depth**2, widths[0], 3, padding=1)
        self.encoder = nn.ModuleList(level(width, width) for width in widths)
        self.down = nn.ModuleList(nn.Conv2d(a, b, 2, stride=2) for a, b in itertools.pairwise(widths))
        self.bottleneck = level(widths[-1], widths[-1])
        pairs = list(zip(widths[:0:-1], widths[-2::-1], strict=True))
        self.up = nn.ModuleList(nn.Conv2d(a, b, 1) for a, b in pairs)
        self.decoder = nn.ModuleList(level(2 * b, b) for _, b in pairs)
        self.head = nn.Conv2d(widths[0], outputs * space_to_depth**2, 3, padding=1)

    def forward(self, sources, available, target):
        """`[N, S, H, W]`, `[N, S]` and `[N, T]` to `[N, H, W]`."""
        sources = torch.where(available[:, :, None, None] > 0, sources, BACKGROUND)
        pairs = split(self.encoder_modulation(self.encoder_condition(available)), self.widths)
        x, skips = self.stem(F.pixel_unshuffle(sources, self.factor)), []
        for i, blocks in enumerate(self.encoder):
            if i:
                skips.append(x)
                x = self.down[i - 1](x)
            x = blocks(modulate(x, pairs[i]))
        film = self.decoder_modulation(self.decoder_condition(torch.cat([available, target], 1)))
        pairs = iter(split(film, self.modulated))
        x = self.bottleneck(modulate(x, next(pairs)))
        for up, blocks in zip(self.up, self.decoder, strict=True):
            x = torch.cat([F.interpolate(up(x), scale_factor=2, mode="nearest"), skips.pop()], 1)
            x = blocks(modulate(x, next(pairs)))
        x = F.silu(modulate(x, next(pairs)))
        output = modulate(F.pixel_shuffle(self.head(x), self.factor), next(pairs))
        shown = sources - BACKGROUND
        return (output[:, :-1] * shown).sum(1) + output[:, -1] + BACKGROUND


def main():
    settings = json.loads(sys.argv[1])
    slices, height, width = settings.pop("shape")
    torch.manual_seed(0)
    network = Translator(**settings)
    sources = torch.rand(slices, settings["source_channels"], height, width) * 2 - 1
    network, sources = network.to(memory_format=torch.channels_last), sources.to(memory_format=torch.channels_last)
    available = torch.ones(slices, settings["source_channels"])
    target = torch.eye(settings["target_channels"])[:1].repeat(slices, 1)
    kinds = {"eager": network, "compiled": torch.compile(network)}

    def forward(kind):
        with torch.inference_mode():
            kinds[kind](sources, available, target)

    def backward(kind):
        network.zero_grad()
        kinds[kind](sources, available, target).abs().mean().backward()

    try:
        forward("compiled")
        backward("compiled")
        compiles = True
    except Exception as error:  # no compiler on this machine
        print(f"torch.compile: {str(error).splitlines()[0]}", file=sys.stderr)
        compiles = False
    metadata = {
        "parameters": sum(p.numel() for p in network.parameters()),
        "version": torch.__version__,
        "threads": torch.get_num_threads(),
        "compiles": compiles,
    }
    print(json.dumps(metadata), flush=True)
    for line in sys.stdin:
        kind, task = line.split()
        began, began_processor = time.perf_counter(), time.process_time()
        {"forward": forward, "backward": backward}[task](kind)
        print(json.dumps((time.perf_counter() - began, time.process_time() - began_processor)), flush=True)


if __name__ == "__main__":
    main()
