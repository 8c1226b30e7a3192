"""The networks of FID and FVD in PyTorch: the names and arithmetic of the published files, written out."""

import torch
from torch import nn
from torch.nn import functional


class Layer(nn.Module):
    """A layer of TensorFlow's Inception-v3 as its TorchScript program keeps it: batch norm without scale."""

    def __init__(self, inputs: int, outputs: int, size=(1, 1), stride: int = 1, padding=(0, 0)):
        super().__init__()
        self.stride, self.padding = stride, padding
        self.weight = nn.Parameter(torch.empty(outputs, inputs, *size))
        for name in ("beta", "mean", "var"):
            self.register_buffer(name, torch.empty(outputs))

    def forward(self, x):
        x = functional.conv2d(x, self.weight, None, self.stride, self.padding)
        return torch.relu(functional.batch_norm(x, self.mean, self.var, None, self.beta, False, 0.1, 1e-3))


def tower(inputs: int, *layers) -> nn.Sequential:
    made = nn.Sequential()
    for i, layer in enumerate(layers):
        made.add_module("conv" if i == 0 else f"conv_{i}", Layer(inputs, *layer))
        inputs = layer[0]
    return made


class Side(nn.Module):
    """Blocks A to D: towers side by side, and what `pool` makes of the input, before its own tower if it has one."""

    def __init__(self, inputs: int, towers: dict, pool, pooled: int = 0, conv=None):
        super().__init__()
        self.pool = pool
        if conv:
            self.conv = Layer(inputs, *conv)
        for name, layers in towers.items():
            setattr(self, name, tower(inputs, *layers))
        if pooled:
            self.tower_2 = tower(inputs, (pooled,))

    def forward(self, x):
        parts = [getattr(self, name)(x) for name in ("conv", "tower", "tower_1") if hasattr(self, name)]
        pooled = self.pool(x)
        return torch.cat([*parts, self.tower_2(pooled) if hasattr(self, "tower_2") else pooled], 1)


class Last(nn.Module):
    def __init__(self, inputs: int, pool):
        super().__init__()
        row, column = ((1, 3), 1, (0, 1)), ((3, 1), 1, (1, 0))
        self.pool = pool
        self.conv, self.tower_conv = Layer(inputs, 320), Layer(inputs, 384)
        self.tower_mixed_conv, self.tower_mixed_conv_1 = Layer(384, 384, *row), Layer(384, 384, *column)
        self.tower_1_conv, self.tower_1_conv_1 = Layer(inputs, 448), Layer(448, 384, (3, 3), 1, (1, 1))
        self.tower_1_mixed_conv, self.tower_1_mixed_conv_1 = Layer(384, 384, *row), Layer(384, 384, *column)
        self.tower_2_conv = Layer(inputs, 192)

    def forward(self, x):
        a, b = self.tower_conv(x), self.tower_1_conv_1(self.tower_1_conv(x))
        parts = [self.conv(x), self.tower_mixed_conv(a), self.tower_mixed_conv_1(a), self.tower_1_mixed_conv(b)]
        return torch.cat([*parts, self.tower_1_mixed_conv_1(b), self.tower_2_conv(self.pool(x))], 1)


class Inception(nn.Module):
    def __init__(self):
        super().__init__()
        halve = nn.MaxPool2d(3, 2)
        mean = nn.AvgPool2d(3, 1, padding=1, count_include_pad=False)
        around, row, column = (1, 1), ((1, 7), 1, (0, 3)), ((7, 1), 1, (3, 0))
        layers = nn.Sequential()
        layers.add_module("conv", Layer(3, 32, (3, 3), 2))
        layers.add_module("conv_1", Layer(32, 32, (3, 3)))
        layers.add_module("conv_2", Layer(32, 64, (3, 3), 1, around))
        layers.add_module("pool0", halve)
        layers.add_module("conv_3", Layer(64, 80))
        layers.add_module("conv_4", Layer(80, 192, (3, 3)))
        layers.add_module("pool1", halve)
        for name, inputs, pooled in (("mixed", 192, 32), ("mixed_1", 256, 64), ("mixed_2", 288, 64)):
            three = (96, (3, 3), 1, around)
            towers = {"tower": [(48,), (64, (5, 5), 1, (2, 2))], "tower_1": [(64,), three, three]}
            layers.add_module(name, Side(inputs, towers, mean, pooled, (64,)))
        towers = {"tower": [(64,), (96, (3, 3), 1, around), (96, (3, 3), 2)]}
        layers.add_module("mixed_3", Side(288, towers, halve, conv=(384, (3, 3), 2)))
        for number, width in ((4, 128), (5, 160), (6, 160), (7, 192)):
            towers = {
                "tower": [(width,), (width, *row), (192, *column)],
                "tower_1": [(width,), (width, *column), (width, *row), (width, *column), (192, *row)],
            }
            layers.add_module(f"mixed_{number}", Side(768, towers, mean, 192, (192,)))
        last = (192, (3, 3), 2)
        towers = {"tower": [(192,), (320, (3, 3), 2)], "tower_1": [(192,), (192, *row), (192, *column), last]}
        layers.add_module("mixed_8", Side(768, towers, halve))
        layers.add_module("mixed_9", Last(1280, mean))
        layers.add_module("mixed_10", Last(2048, nn.MaxPool2d(3, 1, 1)))
        self.net = nn.Module()
        self.net.layers = layers

    def forward(self, x):
        return self.net.layers(x).mean((2, 3))


def same(x, size, stride):
    """TensorFlow's SAME: what is odd goes behind."""
    pads = []
    for length, k, s in zip(reversed(x.shape[2:]), reversed(size), reversed(stride), strict=True):
        missing = max(k - s if length % s == 0 else k - length % s, 0)
        pads += [missing // 2, missing - missing // 2]
    return functional.pad(x, pads)


class MaxPool(nn.Module):
    def __init__(self, size, stride):
        super().__init__()
        self.size, self.stride = size, stride

    def forward(self, x):
        return functional.max_pool3d(same(x, self.size, self.stride), self.size, self.stride)


class Unit(nn.Module):
    def __init__(self, inputs: int, outputs: int, size: int = 1, stride: int = 1, epsilon: float | None = 1e-3):
        super().__init__()
        self.size, self.stride = (size,) * 3, (stride,) * 3
        self.conv3d = nn.Conv3d(inputs, outputs, size, stride, bias=epsilon is None)
        self.bn = nn.Identity() if epsilon is None else nn.BatchNorm3d(outputs, eps=epsilon)

    def forward(self, x):
        x = self.bn(self.conv3d(same(x, self.size, self.stride)))
        return x if isinstance(self.bn, nn.Identity) else torch.relu(x)


class Mixed(nn.Module):
    def __init__(self, inputs: int, widths, epsilon: float):
        super().__init__()
        more = {"epsilon": epsilon}
        self.b0, self.b1a, self.b2a = (Unit(inputs, widths[i], **more) for i in (0, 1, 3))
        self.b1b, self.b2b = Unit(widths[1], widths[2], 3, **more), Unit(widths[3], widths[4], 3, **more)
        self.b3a, self.b3b = MaxPool((3, 3, 3), (1, 1, 1)), Unit(inputs, widths[5], **more)

    def forward(self, x):
        return torch.cat([self.b0(x), self.b1b(self.b1a(x)), self.b2b(self.b2a(x)), self.b3b(self.b3a(x))], 1)


WIDTHS = {
    "3b": (64, 96, 128, 16, 32, 32),
    "3c": (128, 128, 192, 32, 96, 64),
    "4b": (192, 96, 208, 16, 48, 64),
    "4c": (160, 112, 224, 24, 64, 64),
    "4d": (128, 128, 256, 24, 64, 64),
    "4e": (112, 144, 288, 32, 64, 64),
    "4f": (256, 160, 320, 32, 128, 128),
    "5b": (256, 160, 320, 32, 128, 128),
    "5c": (384, 192, 384, 48, 128, 128),
}


class I3D(nn.Module):
    """pytorch-i3d's network (epsilon 1e-3, frames 2), and that of the Dynamic Textures Database (1e-5, 2 or 4)."""

    def __init__(self, classes: int, epsilon: float, frames: int):
        super().__init__()
        self.frames = frames
        self.Conv3d_1a_7x7 = Unit(3, 64, 7, 2, epsilon)
        self.Conv3d_2b_1x1 = Unit(64, 64, epsilon=epsilon)
        self.Conv3d_2c_3x3 = Unit(64, 192, 3, epsilon=epsilon)
        inputs = 192
        for name, widths in WIDTHS.items():
            setattr(self, f"Mixed_{name}", Mixed(inputs, widths, epsilon))
            inputs = widths[0] + widths[2] + widths[4] + widths[5]
        self.logits = Unit(inputs, classes, epsilon=None)

    def representation(self, x):
        pool = MaxPool((1, 3, 3), (1, 2, 2))
        x = pool(self.Conv3d_2c_3x3(self.Conv3d_2b_1x1(pool(self.Conv3d_1a_7x7(x)))))
        for name in WIDTHS:
            x = MaxPool((3, 3, 3), (2, 2, 2))(x) if name == "4b" else x
            x = MaxPool((2, 2, 2), (2, 2, 2))(x) if name == "5b" else x
            x = getattr(self, f"Mixed_{name}")(x)
        return functional.avg_pool3d(x, (self.frames, *x.shape[3:]), 1)  # 7 x 7 of pictures of 224 x 224

    def forward(self, x):
        return self.logits(self.representation(x))[..., 0, 0].mean(-1)


def randomise(network: nn.Module) -> nn.Module:
    """Random weights that keep activations alive, random running statistics; in inference form."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, value in network.state_dict().items():
            if name.endswith("num_batches_tracked"):
                continue
            noise = torch.randn(value.shape, generator=generator)
            if value.ndim > 1:
                value.copy_(noise * (2 / value[0].numel()) ** 0.5)
            elif name.endswith("var"):
                value.copy_(0.5 + noise**2)
            elif name.endswith("bn.weight"):
                value.copy_(1 + 0.2 * noise)
            else:
                value.copy_(0.2 * noise)
    return network.eval()


class Named(nn.Module):
    """A block of pytorch-fid's Inception-v3: its layers by name, joined by `together` into what it gives."""

    def __init__(self, together, **layers):
        super().__init__()
        self.together = together
        for name, layer in layers.items():
            self.add_module(name, named_layer(*layer))

    def chain(self, x, *names):
        for name in names:
            x = getattr(self, name)(x)
        return x

    def forward(self, x):
        return torch.cat(self.together(self, x), 1)


def named_layer(inputs: int, outputs: int, size=(1, 1), stride: int = 1, padding=(0, 0)) -> nn.Sequential:
    layer = nn.Sequential()
    layer.add_module("conv", nn.Conv2d(inputs, outputs, size, stride, padding, bias=False))
    layer.add_module("bn", nn.BatchNorm2d(outputs, eps=1e-3))
    layer.add_module("relu", nn.ReLU())
    return layer


class PytorchFid(nn.Module):
    """pt_inception-2015-12-05-6726825d.pth by its names, with the classifier that FID does not use."""

    def __init__(self):
        super().__init__()
        around, row, column = (1, 1), ((1, 7), 1, (0, 3)), ((7, 1), 1, (3, 0))
        self.Conv2d_1a_3x3, self.Conv2d_2a_3x3 = named_layer(3, 32, (3, 3), 2), named_layer(32, 32, (3, 3))
        self.Conv2d_2b_3x3 = named_layer(32, 64, (3, 3), 1, around)
        self.Conv2d_3b_1x1, self.Conv2d_4a_3x3 = named_layer(64, 80), named_layer(80, 192, (3, 3))
        for letter, inputs, pooled in (("b", 192, 32), ("c", 256, 64), ("d", 288, 64)):
            block = Named(
                self.small, branch1x1=(inputs, 64), branch5x5_1=(inputs, 48), branch5x5_2=(48, 64, (5, 5), 1, (2, 2)),
                branch3x3dbl_1=(inputs, 64), branch3x3dbl_2=(64, 96, (3, 3), 1, around),
                branch3x3dbl_3=(96, 96, (3, 3), 1, around), branch_pool=(inputs, pooled),
            )  # fmt: skip
            self.add_module(f"Mixed_5{letter}", block)
        self.Mixed_6a = Named(
            lambda s, x: [
                s.branch3x3(x), s.chain(x, "branch3x3dbl_1", "branch3x3dbl_2", "branch3x3dbl_3"),
                functional.max_pool2d(x, 3, 2),
            ],
            branch3x3=(288, 384, (3, 3), 2), branch3x3dbl_1=(288, 64),
            branch3x3dbl_2=(64, 96, (3, 3), 1, around), branch3x3dbl_3=(96, 96, (3, 3), 2),
        )  # fmt: skip
        for letter, c in (("b", 128), ("c", 160), ("d", 160), ("e", 192)):
            block = Named(
                self.middle, branch1x1=(768, 192), branch7x7_1=(768, c), branch7x7_2=(c, c, *row),
                branch7x7_3=(c, 192, *column), branch7x7dbl_1=(768, c), branch7x7dbl_2=(c, c, *column),
                branch7x7dbl_3=(c, c, *row), branch7x7dbl_4=(c, c, *column), branch7x7dbl_5=(c, 192, *row),
                branch_pool=(768, 192),
            )  # fmt: skip
            self.add_module(f"Mixed_6{letter}", block)
        self.Mixed_7a = Named(
            lambda s, x: [
                s.chain(x, "branch3x3_1", "branch3x3_2"), s.chain(x, *(f"branch7x7x3_{i}" for i in (1, 2, 3, 4))),
                functional.max_pool2d(x, 3, 2),
            ],
            branch3x3_1=(768, 192), branch3x3_2=(192, 320, (3, 3), 2), branch7x7x3_1=(768, 192),
            branch7x7x3_2=(192, 192, *row), branch7x7x3_3=(192, 192, *column), branch7x7x3_4=(192, 192, (3, 3), 2),
        )  # fmt: skip
        across, down = ((1, 3), 1, (0, 1)), ((3, 1), 1, (1, 0))
        for letter, inputs in (("b", 1280), ("c", 2048)):
            block = Named(
                lambda s, x, last=letter == "c": self.large(s, x, last), branch1x1=(inputs, 320),
                branch3x3_1=(inputs, 384), branch3x3_2a=(384, 384, *across), branch3x3_2b=(384, 384, *down),
                branch3x3dbl_1=(inputs, 448), branch3x3dbl_2=(448, 384, (3, 3), 1, around),
                branch3x3dbl_3a=(384, 384, *across), branch3x3dbl_3b=(384, 384, *down), branch_pool=(inputs, 192),
            )  # fmt: skip
            self.add_module(f"Mixed_7{letter}", block)
        self.fc = nn.Linear(2048, 1008)

    @staticmethod
    def mean(x):
        return functional.avg_pool2d(x, 3, 1, 1, count_include_pad=False)

    @classmethod
    def small(cls, s, x):
        parts = [s.branch1x1(x), s.chain(x, "branch5x5_1", "branch5x5_2")]
        parts.append(s.chain(x, *(f"branch3x3dbl_{i}" for i in (1, 2, 3))))
        return [*parts, s.branch_pool(cls.mean(x))]

    @classmethod
    def middle(cls, s, x):
        parts = [s.branch1x1(x), s.chain(x, *(f"branch7x7_{i}" for i in (1, 2, 3)))]
        return [*parts, s.chain(x, *(f"branch7x7dbl_{i}" for i in (1, 2, 3, 4, 5))), s.branch_pool(cls.mean(x))]

    @classmethod
    def large(cls, s, x, last):
        a, b = s.branch3x3_1(x), s.chain(x, "branch3x3dbl_1", "branch3x3dbl_2")
        pooled = functional.max_pool2d(x, 3, 1, 1) if last else cls.mean(x)
        parts = [s.branch1x1(x), s.branch3x3_2a(a), s.branch3x3_2b(a), s.branch3x3dbl_3a(b), s.branch3x3dbl_3b(b)]
        return [*parts, s.branch_pool(pooled)]

    def forward(self, x):
        x = self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(x)))
        x = self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(functional.max_pool2d(x, 3, 2)))
        x = functional.max_pool2d(x, 3, 2)
        for name in ("5b", "5c", "5d", "6a", "6b", "6c", "6d", "6e", "7a", "7b", "7c"):
            x = getattr(self, f"Mixed_{name}")(x)
        return x.mean((2, 3))
