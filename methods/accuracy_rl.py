"""`accuracy-rl`: AMC's agent and reward (He et al. 2018)."""

from bench.methods._amc import AMC


class AccuracyRL(AMC):
    """A DDPG agent chooses how much of each channel group stays; the reward is the masked network's accuracy.

    Source: He et al., "AMC: AutoML for Model Compression and Acceleration on Mobile Devices", ECCV 2018, and the
    authors' released code: its resource-constrained search. It is the comparison that the entropy paper makes:
    `entropy-rl` is this with `reward=entropy`, and nothing else.

    Deviations: actions are shares of a group's output channels, where AMC's are of a layer's input channels, and layers
    that a residual add ties share one; the remaining weights are not refitted by least squares (the released code does
    that for some layers); shares are bounded from below too, so that no walk ends under the target; `lower` is
    AMC's 0.2, and gives way for targets that it cannot reach; widths are not rounded to multiples of 8; BatchNorm
    statistics are collected anew before each reward; the warm-up is a share of the episodes (`warmup`), which are as
    many as the search's share of the budget allows: rewards take fewer images (`images`, `recalibration`) to make room
    for `room` of them, where AMC has 400 or 800 with 100 of warm-up.
    """

    name = "accuracy-rl"
    reference = "He et al. 2018, arXiv 1802.03494 (AMC)"
