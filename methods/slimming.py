"""`slimming`: the channels with the smallest BatchNorm scale go, after an l1 penalty on it (Liu et al. 2017)."""

from pydantic import Field
from torch import Tensor, nn

from bench import Config, Method, Trial


class SlimmingConfig(Config):
    """Settings of `slimming`."""

    strength: float = Field(1e-4, ge=0, description="weight of the penalty (lambda); the paper has 1e-4 and 1e-5")
    sparsify: float = Field(0.5, gt=0, lt=1, description="share of the pruning budget for training with the penalty")
    floor: float = Field(
        0.1, ge=0, le=1, description="share of each group that stays, no more than half the target; the paper's: 0"
    )


class Slimming(Method):
    """Trains with an l1 penalty on BatchNorm's scales, then removes the channels with the smallest.

    Source: Liu et al., "Learning Efficient Convolutional Networks through Network Slimming", ICCV 2017, section 3.
    Deviations: the penalty goes on from the trained network, where the paper trains with it from the beginning; one
    pass; channels that a residual add ties go by their mean scale, where the paper selects among them; a tenth of each
    group stays, so that no layer collapses (`floor=0` switches back, to one channel).
    """

    name = "slimming"
    reference = "Liu et al. 2017, arXiv 1708.06519"
    needs = frozenset({"batchnorm"})
    Config = SlimmingConfig

    def prune(self, trial: Trial[SlimmingConfig]) -> None:
        """Sparsifies, ranks by scale and cuts."""
        trial.train(share=trial.config.sparsify, penalty=lambda net: trial.config.strength * scale_norm(net))
        scales = {group.name: group.norm_scales for group in trial.surgery.groups}
        floor = min(trial.config.floor, (trial.target.ratio or 1.0) / 2)
        trial.surgery.remove(trial.surgery.fit(scales, scope="global", floor=floor))


def scale_norm(network: nn.Module) -> Tensor:
    """The l1 norm of all BatchNorm scales."""
    norms = [each for each in network.modules() if isinstance(each, nn.modules.batchnorm._BatchNorm) and each.affine]
    return sum((norm.weight.abs().sum() for norm in norms[1:]), norms[0].weight.abs().sum())
