"""Latent diffusion's U-Net in torch, from its published layout: names, order of parts, head-by-head attention."""

import torch
from torch import nn

GROUPS = 8


def double(x):
    return nn.functional.interpolate(x, scale_factor=2, mode="nearest")


class Res(nn.Module):
    def __init__(self, inputs, outputs, time, resample=None):
        super().__init__()
        self.in_layers = nn.Sequential(
            nn.GroupNorm(GROUPS, inputs), nn.SiLU(), nn.Conv2d(inputs, outputs, 3, padding=1)
        )
        self.emb_layers = nn.Sequential(nn.SiLU(), nn.Linear(time, outputs))
        norm = nn.GroupNorm(GROUPS, outputs)
        self.out_layers = nn.Sequential(norm, nn.SiLU(), nn.Dropout(0.0), nn.Conv2d(outputs, outputs, 3, padding=1))
        self.skip_connection = nn.Identity() if inputs == outputs else nn.Conv2d(inputs, outputs, 1)
        self.resample = {None: nn.Identity(), "down": nn.AvgPool2d(2), "up": double}[resample]

    def forward(self, x, time):
        h = self.in_layers[2](self.resample(self.in_layers[:2](x)))
        h = h + self.emb_layers(time)[:, :, None, None]
        return self.skip_connection(self.resample(x)) + self.out_layers(h)


class Attention(nn.Module):
    def __init__(self, channels, heads):
        super().__init__()
        self.heads = heads
        self.norm = nn.GroupNorm(GROUPS, channels)
        self.qkv = nn.Conv1d(channels, 3 * channels, 1)
        self.proj_out = nn.Conv1d(channels, channels, 1)

    def forward(self, x, time):
        batch, channels = x.shape[:2]
        flat = x.reshape(batch, channels, -1)
        parts = self.qkv(self.norm(flat)).reshape(batch * self.heads, 3 * channels // self.heads, -1)
        query, key, value = parts.chunk(3, dim=1)
        weights = torch.einsum("bct,bcs->bts", query, key) / query.shape[1] ** 0.5
        seen = torch.einsum("bts,bcs->bct", weights.softmax(-1), value).reshape(batch, channels, -1)
        return (flat + self.proj_out(seen)).reshape(x.shape)


class Down(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.op = nn.Conv2d(channels, channels, 3, stride=2, padding=1)

    def forward(self, x, time):
        return self.op(x)


class Up(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x, time):
        return self.conv(double(x))


class First(nn.Conv2d):
    def forward(self, x, time):
        return super().forward(x)


class LatentDiffusionUNet(nn.Module):
    def __init__(self, inputs, outputs, base, multipliers, blocks, attention_levels, heads, updown):
        super().__init__()
        self.base, time = base, 4 * base
        self.time_embed = nn.Sequential(nn.Linear(base, time), nn.SiLU(), nn.Linear(time, time))
        parts, skips, channels = [[First(inputs, base, 3, padding=1)]], [base], base
        for level, multiplier in enumerate(multipliers):
            for _ in range(blocks):
                width = base * multiplier
                parts.append([Res(channels, width, time)])
                channels = width
                if level in attention_levels:
                    parts[-1].append(Attention(channels, heads))
                skips.append(channels)
            if level < len(multipliers) - 1:
                parts.append([Res(channels, channels, time, "down") if updown else Down(channels)])
                skips.append(channels)
        self.input_blocks = nn.ModuleList(nn.ModuleList(part) for part in parts)
        middle = [Res(channels, channels, time), Attention(channels, heads), Res(channels, channels, time)]
        self.middle_block = nn.ModuleList(middle)
        parts = []
        for level, multiplier in reversed(list(enumerate(multipliers))):
            for i in range(blocks + 1):
                width = base * multiplier
                parts.append([Res(channels + skips.pop(), width, time)])
                channels = width
                if level in attention_levels:
                    parts[-1].append(Attention(channels, heads))
                if level and i == blocks:
                    parts[-1].append(Res(channels, channels, time, "up") if updown else Up(channels))
        self.output_blocks = nn.ModuleList(nn.ModuleList(part) for part in parts)
        self.out = nn.Sequential(nn.GroupNorm(GROUPS, channels), nn.SiLU(), nn.Conv2d(channels, outputs, 3, padding=1))

    def forward(self, x, time):
        half = self.base // 2
        rates = torch.exp(-torch.log(torch.tensor(10000.0)) * torch.arange(half) / half)
        phase = time[:, None].float() * rates
        time = self.time_embed(torch.cat([phase.cos(), phase.sin()], dim=-1))
        skips = []
        for block in self.input_blocks:
            for part in block:
                x = part(x, time)
            skips.append(x)
        for part in self.middle_block:
            x = part(x, time)
        for block in self.output_blocks:
            x = torch.cat([x, skips.pop()], dim=1)
            for part in block:
                x = part(x, time)
        return self.out(x)
