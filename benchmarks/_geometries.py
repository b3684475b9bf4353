"""The geometries of convolutions that are measured: what is convolved with what, and how."""

import math
from dataclasses import dataclass

from jax import lax


@dataclass(frozen=True)
class Geometry:
    """A convolution: what is convolved with what, and how."""

    batch: int
    sizes: tuple[int, ...]  # of x along its spatial axes
    channels: int  # in
    features: int  # out
    window: tuple[int, ...]
    stride: int | tuple[int, ...] = 1
    padding: str = "SAME"
    dilation: int = 1
    groups: int = 1
    name: str = ""

    @property
    def strides(self) -> tuple[int, ...]:
        """One for each axis."""
        return (self.stride,) * len(self.sizes) if isinstance(self.stride, int) else self.stride

    @property
    def reach(self) -> tuple[int, ...]:
        """Positions from a window's first tap to its last, along each axis."""
        return tuple(self.dilation * (taps - 1) + 1 for taps in self.window)

    @property
    def ends(self) -> tuple[tuple[int, int], ...]:
        """Positions of padding before and after each axis."""
        if self.padding == "CAUSAL":
            return tuple((reach - 1, 0) for reach in self.reach)
        return tuple(lax.padtype_to_pads(self.sizes, self.reach, self.strides, self.padding))

    @property
    def outs(self) -> tuple[int, ...]:
        """Windows along each axis."""
        each = zip(self.sizes, self.ends, self.reach, self.strides, strict=True)
        return tuple((size + sum(ends) - reach) // stride + 1 for size, ends, reach, stride in each)

    @property
    def shapes(self) -> tuple[tuple[int, ...], ...]:
        """The shapes of x, w and y."""
        return (
            (self.batch, *self.sizes, self.channels),
            (*self.window, self.channels // self.groups, self.features),
            (self.batch, *self.outs, self.features),
        )

    @property
    def operations(self) -> int:
        """Floating-point operations of each of the three maps."""
        _, w, y = self.shapes
        return 2 * math.prod(y) * math.prod(w[:-1])

    @property
    def moved(self) -> int:
        """Bytes of x, w and y."""
        return 4 * sum(map(math.prod, self.shapes))

    def __str__(self) -> str:
        by = lambda sizes: "x".join(map(str, sizes))
        settings = [f"window {by(self.window)}"]
        settings += [f"stride {by(self.strides)}"] * (self.stride != 1)
        settings += [f"dilation {self.dilation}"] * (self.dilation != 1)
        settings += [f"{self.groups} groups"] * (self.groups != 1)
        settings += [self.padding] * (self.padding != "SAME")
        return f"{self.name}: {by(self.shapes[0])} to {self.features}, {', '.join(settings)}"


GEOMETRIES = {
    "wide": Geometry(32, (32, 32), 64, 64, (3, 3)),
    "cnn-1": Geometry(64, (28, 28), 1, 32, (3, 3)),
    "cnn-2": Geometry(64, (14, 14), 32, 64, (3, 3)),
    "rgb": Geometry(32, (32, 32), 3, 64, (3, 3)),
    "deep": Geometry(32, (7, 7), 256, 256, (3, 3)),
    "1x1": Geometry(32, (32, 32), 64, 128, (1, 1)),
    "1x1-strided": Geometry(32, (32, 32), 64, 128, (1, 1), stride=2),
    "strided": Geometry(32, (32, 32), 64, 128, (3, 3), stride=2),
    "stem": Geometry(8, (96, 96), 3, 64, (7, 7), stride=2),
    "5x5": Geometry(32, (16, 16), 32, 64, (5, 5)),
    "dilated": Geometry(16, (32, 32), 32, 32, (3, 3), dilation=2),
    "4-groups": Geometry(32, (16, 16), 64, 64, (3, 3), groups=4),
    "32-groups": Geometry(32, (16, 16), 128, 128, (3, 3), groups=32),
    "depthwise": Geometry(32, (32, 32), 64, 64, (3, 3), groups=64),
    "depthwise-strided": Geometry(32, (32, 32), 64, 64, (3, 3), stride=2, groups=64),
    "sequence": Geometry(32, (256,), 64, 64, (5,)),
    "causal": Geometry(32, (256,), 64, 64, (3,), padding="CAUSAL", dilation=4),
    "volume": Geometry(4, (16, 16, 16), 16, 32, (3, 3, 3)),
    "odd": Geometry(7, (17, 19), 5, 11, (3, 2), stride=(2, 3)),
    "patches": Geometry(16, (64, 64), 3, 128, (8, 8), stride=8, padding="VALID"),
}
