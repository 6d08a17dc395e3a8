"""`entropy-rl`: AMC's agent, rewarded for a low spatial entropy of the activations (Musat and Andonie 2023)."""

from typing import Literal

from pydantic import Field

from bench.methods._amc import AMC, AMCConfig


class EntropyRLConfig(AMCConfig):
    """Settings of `entropy-rl`: those of `accuracy-rl`, with another reward."""

    reward: Literal["accuracy", "entropy"] = Field("entropy", description="accuracy: the paper's comparison")


class EntropyRL(AMC):
    """A DDPG agent chooses how much of each channel group stays; the reward is the activations' entropy, minimised.

    Source: Musat and Andonie, "Pruning Convolutional Filters via Reinforcement Learning with Entropy Minimization",
    arXiv 2312.04918. The abstract is all that was at hand; these choices are ours: the agent is AMC's (He et al. 2018);
    the entropy is that of pairs of neighbouring pixels in maps of 16 levels (`levels`); maps are those after ReLU
    (`maps=convolution`), of 4x4 and more (`smallest`); the reward is -H / H of the dense network, on as many training
    images as `accuracy-rl` takes validation images.

    Deviations: layers count by the MACs of their surviving channels, since a plain mean makes narrowing a layer to its
    emptiest channels free (`weigh=plain`; on ResNet-20 its winner kept 2 channels of a stage and was worse than walks
    by lot); a channel without a signal counts with the most entropy there is instead of the least, since the reward
    would otherwise be highest for a network whose signal is destroyed (`guard_dead=false`). For the rest see
    `accuracy-rl`.
    """

    name = "entropy-rl"
    reference = "Musat and Andonie 2023, arXiv 2312.04918"
    Config = EntropyRLConfig
