"""Golden cases of attention."""

import numpy
import torch
from torch.nn import functional


def attention(family):
    def attend(query, key, value, *more, scale, causal, window, mask, slopes):
        """torch's, with heads before the length, of a mask that says all that ours knows."""
        queries, keys, heads = query.shape[1], key.shape[1], query.shape[2]
        more = list(more)
        places = torch.arange(queries)[:, None] + keys - queries
        distance = places - torch.arange(keys)[None, :]
        added = torch.zeros(query.shape[0], heads, queries, keys, dtype=query.dtype)
        if mask:
            added = added + more.pop(0)
        if slopes:
            added = added - more.pop(0)[:, None, None] * distance.abs()
        if causal:
            added = added.masked_fill(distance < 0, float("-inf"))
        if window:
            added = added.masked_fill(distance >= window, float("-inf"))
        parts = [x.transpose(1, 2) for x in (query, key, value)]
        y = functional.scaled_dot_product_attention(*parts, attn_mask=added, scale=scale, enable_gqa=True)
        return y.transpose(1, 2)

    # Batch, queries, keys, heads, groups, size; causal, window, the mask's shape, whether there are slopes.
    grid = [((2, 5, 5, 2, 2, 4), False, 0, None, False), ((1, 4, 7, 4, 2, 5), False, 0, None, False),
            ((1, 7, 7, 2, 1, 8), True, 0, None, False), ((1, 3, 8, 2, 2, 3), True, 0, None, False),
            ((1, 9, 9, 2, 2, 3), True, 3, None, False), ((2, 4, 5, 2, 2, 3), False, 0, (2, 1, 1, 5), False),
            ((1, 4, 5, 3, 1, 3), False, 0, (3, 4, 5), False), ((1, 6, 6, 4, 2, 3), True, 0, None, True),
            ((1, 40, 40, 1, 1, 5), True, 0, None, False), ((1, 1, 66, 1, 1, 3), True, 0, None, False),
            ((2, 5, 6, 2, 1, 3), True, 4, (5, 6), True)]
    for (batch, queries, keys, heads, groups, size), causal, window, mask, slopes in grid:
        inputs = [family.normal(batch, queries, heads, size), family.normal(batch, keys, groups, size), family.normal(batch, keys, groups, size)]
        if mask:
            inputs.append(family.normal(*mask))
        if slopes:
            inputs.append(numpy.abs(family.normal(heads)) / 4)
        name = f"{[batch, queries, keys, heads, groups, size]}, causal {causal}, window {window}, mask {mask}, slopes {slopes}"
        settings = {"scale": size ** -0.5, "causal": causal, "window": window, "mask": mask is not None, "slopes": slopes}
        share = heads // groups
        family.add("attention", f"attention {name}", inputs, attend, settings, gradients=[0, 1, 2],
                   terms=[keys, keys, queries * share, queries * share])
    rows = numpy.array([[1.0, numpy.nan], [3.0, 1.0], [0.5, 2.0]], dtype=numpy.float32).reshape(1, 3, 1, 2)
    family.add("attention", "attention with NaN", [rows, family.normal(1, 3, 1, 2), family.normal(1, 3, 1, 2)], attend,
               {"scale": 1.0, "causal": False, "window": 0, "mask": False, "slopes": False}, terms=3, special=True)
