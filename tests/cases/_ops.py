"""One row per op that is no activation."""

import jaxnn as nn
from cases._kinds import VOCABULARY, B, C, F, OpCase, absent, each, fixed_key, integers, normal, unit

TRANSPOSE = nn.ops.conv_transpose


def conv_row(name, sizes, taps, i, o, *, op=nn.ops.conv, bias=False, family="", **settings):
    """A row for a convolution from i to o features."""
    groups = i if op is nn.ops.depthwise_conv else settings.get("groups", 1)
    w = normal(*taps, o // groups, i) if op is TRANSPOSE else normal(*taps, i // groups, o)
    arrays = each(normal(B, *sizes, i), w, normal(o) if bias else absent)
    return OpCase(name, op, arrays, settings, family=family, exact=False)


OPS = [
    OpCase("linear", nn.ops.linear, each(normal(B, F), normal(F, C), normal(C)), family="linear"),
    OpCase("linear_without_bias", nn.ops.linear, each(normal(B, F), normal(F, C), absent)),
    OpCase("linear_of_sequences", nn.ops.linear, each(normal(B, 5, F), normal(F, C), normal(C))),
    OpCase("embed", nn.ops.embed, each(integers(VOCABULARY, B, 5), normal(VOCABULARY, F)), family="embed"),
    OpCase("batch_norm", nn.ops.batch_norm, each(normal(B, F), normal(F), normal(F)), empty=False, family="norm"),
    OpCase("batch_norm_of_images", nn.ops.batch_norm, each(normal(B, 3, 2, F), normal(F), normal(F)), empty=False),
    OpCase("batch_norm_bare", nn.ops.batch_norm, each(normal(B, F), absent, absent), {"epsilon": 1e-3}, empty=False),
    OpCase("normalise", nn.ops.normalise, each(normal(B, F), normal(F), unit(F), normal(F), normal(F))),
    OpCase("normalise_bare", nn.ops.normalise, each(normal(B, 3, F), normal(F), unit(F), absent, absent)),
    conv_row("conv", (5, 4), (3, 3), 2, 3, bias=True, family="conv"),
    conv_row("conv_without_bias", (5, 4), (3, 3), 2, 3),
    conv_row("conv_wide", (3, 13), (3, 3), 8, 9),
    conv_row("conv_of_wide_features", (5, 5), (3, 2), 8, 9, stride=(2, 1), padding="VALID"),
    conv_row("conv_strided", (7, 6), (3, 2), 8, 9, stride=(2, 3)),
    conv_row("conv_of_grey", (5, 4), (3, 3), 1, 4, stride=2),
    conv_row("conv_1x1", (3, 4), (1, 1), 8, 9, bias=True),
    conv_row("conv_1x1_strided", (5, 4), (1, 1), 8, 9, stride=2),
    conv_row("conv_padded", (4, 3), (2, 3), 8, 8, padding=((2, 0), (1, 3))),
    conv_row("conv_padded_widely", (3, 2), (2, 2), 8, 8, padding=3, stride=2),
    conv_row("conv_padded_lower", (6, 4), (3, 2), 8, 8, padding="SAME_LOWER", stride=2),
    conv_row("conv_circular", (5, 4), (4, 3), 2, 3, bias=True, padding="CIRCULAR", family="conv_circular"),
    conv_row("conv_reflected", (6, 5), (3, 4), 8, 9, padding="REFLECT", stride=(2, 1), family="conv_reflected"),
    conv_row("conv_dilated", (7, 6), (3, 2), 8, 8, dilation=(2, 3)),
    conv_row("conv_strided_and_dilated", (9, 8), (3, 2), 8, 8, dilation=2, stride=3),
    conv_row("conv_stepping_over", (7, 8), (2, 2), 8, 8, stride=3, padding="VALID"),
    conv_row("conv_in_groups", (5, 4), (3, 3), 4, 6, bias=True, groups=2),
    conv_row("conv_in_wide_groups", (4, 4), (2, 2), 36, 36, stride=2, groups=2),
    conv_row("conv_in_lonely_groups", (5, 4), (3, 3), 3, 6, stride=2, groups=3),
    conv_row("conv_of_sequences", (6,), (3,), 8, 9, bias=True, padding="VALID", stride=2),
    conv_row("conv_causal", (6,), (3,), 2, 3, padding="CAUSAL", dilation=2),
    conv_row("conv_of_volumes", (3, 4, 3), (2, 3, 2), 8, 9, bias=True, padding="VALID"),
    conv_row("depthwise_conv", (5, 4), (3, 3), 3, 3, op=nn.ops.depthwise_conv, bias=True, family="depthwise_conv"),
    conv_row("depthwise_conv_circular", (5,), (3,), 3, 6, op=nn.ops.depthwise_conv, padding="CIRCULAR"),
    conv_row("depthwise_conv_strided", (5, 4), (3, 2), 3, 6, op=nn.ops.depthwise_conv, stride=2, padding="VALID"),
    conv_row("conv_transpose", (3, 4), (4, 4), 2, 3, op=TRANSPOSE, bias=True, stride=2, family="conv_transpose"),
    conv_row("conv_transpose_valid", (3, 2), (3, 2), 8, 9, op=TRANSPOSE, stride=(2, 3), padding="VALID"),
    conv_row("conv_transpose_cut", (3, 3), (3, 3), 8, 9, op=TRANSPOSE, stride=2, padding=1, extra=1),
    conv_row("conv_transpose_in_groups", (3, 3), (3, 3), 4, 6, op=TRANSPOSE, dilation=2, groups=2),
    conv_row("conv_transpose_causal", (4,), (3,), 8, 9, op=TRANSPOSE, stride=2, padding="CAUSAL"),
    conv_row("conv_transpose_circular", (4,), (5,), 2, 3, op=TRANSPOSE, stride=2, padding="CIRCULAR"),
    conv_row("conv_transpose_reflected", (3, 2), (3, 4), 8, 9, op=TRANSPOSE, stride=2, padding="REFLECT"),
    conv_row("conv_transpose_of_volumes", (2, 3, 2), (2, 2, 3), 8, 9, op=TRANSPOSE, stride=2),
    OpCase("max_pool", nn.ops.max_pool, each(normal(B, 5, 4, 2)), {"window": (2, 2)}, family="max_pool"),
    OpCase("max_pool_of_sequences", nn.ops.max_pool, each(normal(B, 7, 2)), {"window": 2, "stride": 3}),
    OpCase("max_pool_of_volumes", nn.ops.max_pool, each(normal(B, 4, 3, 5, 2)), {"window": 2, "stride": (1, 1, 2)}),
    OpCase("max_pool_same", nn.ops.max_pool, each(normal(B, 5, 6, 2)), {"window": 3, "stride": 2, "padding": "SAME"}),
    OpCase("max_pool_everywhere", nn.ops.max_pool, each(normal(B, 4, 5, 2)), {"window": 3, "stride": 1, "padding": 1}),
    OpCase(
        "max_pool_padded",
        nn.ops.max_pool,
        each(normal(B, 4, 5, 2)),
        {"window": (2, 4), "stride": (3, 1), "padding": (1, (0, 2))},
    ),
    OpCase(
        "max_pool_lower", nn.ops.max_pool, each(normal(B, 6, 2)), {"window": 3, "stride": 2, "padding": "SAME_LOWER"}
    ),
    OpCase("max_pool_of_many_taps", nn.ops.max_pool, each(normal(B, 140, 1)), {"window": 66, "stride": 1}),
    OpCase("max_pool_once", nn.ops.max_pool, each(normal(B, 4, 3, 2)), {"window": (4, 3)}),
    OpCase("average_pool", nn.ops.average_pool, each(normal(B, 5, 4, 2)), {"window": (2, 2)}, family="average_pool"),
    OpCase("average_pool_of_sequences", nn.ops.average_pool, each(normal(B, 7, 2)), {"window": 2, "stride": 3}),
    OpCase("average_pool_of_volumes", nn.ops.average_pool, each(normal(B, 4, 3, 5, 2)), {"window": 2, "stride": 1}),
    OpCase(
        "average_pool_same",
        nn.ops.average_pool,
        each(normal(B, 5, 6, 2)),
        {"window": 3, "stride": 2, "padding": "SAME"},
    ),
    OpCase(
        "average_pool_counting",
        nn.ops.average_pool,
        each(normal(B, 4, 5, 2)),
        {"window": (2, 4), "stride": (3, 1), "padding": (1, (0, 2)), "count_padding": True},
    ),
    OpCase("average_pool_once", nn.ops.average_pool, each(normal(B, 4, 3, 2)), {"window": (4, 3)}),
    OpCase("adaptive_max_pool", nn.ops.adaptive_max_pool, each(normal(B, 5, 7, 2)), {"size": (2, 3)}, family="parts"),
    OpCase("adaptive_max_pool_of_many_parts", nn.ops.adaptive_max_pool, each(normal(B, 50, 1)), {"size": 18}),
    OpCase("adaptive_max_pool_repeating", nn.ops.adaptive_max_pool, each(normal(B, 3, 2)), {"size": 4}),
    OpCase("adaptive_average_pool", nn.ops.adaptive_average_pool, each(normal(B, 5, 7, 2)), {"size": (2, 3)}),
    OpCase("adaptive_average_pool_repeating", nn.ops.adaptive_average_pool, each(normal(B, 3, 2)), {"size": 4}),
    OpCase("global_max_pool", nn.ops.global_max_pool, each(normal(B, 3, 4, 2)), family="global_max_pool"),
    OpCase("global_average_pool", nn.ops.global_average_pool, each(normal(B, 3, 4, 2)), family="global_average_pool"),
    OpCase("dropout", nn.ops.dropout, each(normal(B, F), unit(), fixed_key), mapped=False, family="dropout"),
    OpCase("mean_of_members", nn.ops.mean_of_members, each(normal(3, B, F), unit(3)), family="voting"),
    OpCase("mean_of_members_by_example", nn.ops.mean_of_members, each(normal(3, B, 2, F), unit(3, B))),
    OpCase("mean_of_members_alike", nn.ops.mean_of_members, each(normal(3, B), absent)),
    OpCase("sum_of_members", nn.ops.sum_of_members, each(normal(3, B, F), normal(3)), family="sum_of_members"),
    OpCase("sum_of_members_by_example", nn.ops.sum_of_members, each(normal(3, B), normal(3, B))),
    OpCase("soft_vote", nn.ops.soft_vote, each(normal(3, B, C), unit(3)), family="soft_vote"),
    OpCase("soft_vote_by_example", nn.ops.soft_vote, each(normal(3, B, 2, C), unit(3, B))),
    OpCase("soft_vote_alike", nn.ops.soft_vote, each(normal(3, B, C), absent)),
    OpCase("hard_vote", nn.ops.hard_vote, each(normal(3, B, C), unit(3))),
    OpCase("hard_vote_by_example", nn.ops.hard_vote, each(normal(3, B, 2, C), unit(3, B))),
    OpCase("hard_vote_alike", nn.ops.hard_vote, each(normal(3, B, C), absent)),
    OpCase("tempered", nn.ops.tempered, each(normal(B, C), unit()), family="tempered"),
    OpCase("flatten", nn.ops.flatten, each(normal(B, 3, F)), family="reshaping"),
    OpCase("concatenate", nn.ops.concatenate, each(normal(B, F), normal(B, 1), normal(B, C))),
    OpCase("add", nn.ops.add, each(normal(B, F), normal(B, F), normal(B, F))),
]
