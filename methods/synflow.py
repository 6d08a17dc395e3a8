"""`synflow`: weights on the weakest paths go before any training, without data (Tanaka et al. 2020)."""

import torch
from pydantic import Field
from torch import Tensor, nn

from bench import Config, Method, Trial


class SynFlowConfig(Config):
    """Settings of `synflow`."""

    rounds: int = Field(100, ge=1, description="prunings, with scores taken again each time; the paper's 100")


def total_output(_network: nn.Module, outputs: Tensor, _labels: Tensor) -> Tensor:
    """The sum of all outputs: with absolute weights and inputs of ones it is R, the flow through all paths."""
    return outputs.sum()


def flow_scores(trial: Trial) -> dict[str, Tensor]:
    """abs(w) dR/dabs(w) by parameter name (Tanaka et al., section 5); biases have no score and stay."""
    slopes = trial.gradients(1, total_output, inputs="ones", absolute=True)
    scores = {}
    for name, mask in trial.surgery.weights.masks.items():
        weights = trial.network.get_parameter(name).detach().double().cpu()
        flow = weights.abs() * slopes[name].double()
        scores[name] = flow.masked_fill(~mask.cpu(), -1.0) if mask.dim() > 1 else torch.full_like(flow, torch.inf)
    return scores


class SynFlow(Method):
    """Masks the weights that carry the least synaptic flow, in rounds before training; then trains what is left.

    Source: Tanaka, Kunin, Yamins, Ganguli, "Pruning neural networks without any data by iteratively conserving
    synaptic flow", NeurIPS 2020, algorithm 1, with its exponential schedule.

    Biases are kept, as in the authors' experiments; they count in the size. Deviation: where the search's share of a
    budget is spent before the last round, the rounds that are left are one.
    """

    name = "synflow"
    reference = "Tanaka et al. 2020, arXiv 2006.05467"
    kind = "unstructured"
    starts = "untrained"
    Config = SynFlowConfig

    def prune(self, trial: Trial[SynFlowConfig]) -> None:
        """Scores and masks, round by round; the whole budget then goes to training with the dense recipe."""
        final, rounds = trial.target.ratio or 1.0, trial.config.rounds
        scores = flow_scores(trial)
        for number in range(1, rounds):
            trial.surgery.weights.set(trial.surgery.fit_weights(scores, final ** (number / rounds)))
            if not trial.affordable(3, recalibrate=False):
                break
            scores = flow_scores(trial)
        trial.surgery.weights.set(trial.surgery.fit_weights(scores, final))
