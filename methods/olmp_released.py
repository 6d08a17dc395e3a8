"""`olmp-released`: layer-wise magnitude pruning as its authors' released code does it."""

from typing import Literal

from pydantic import Field

from bench.methods.olmp import OLMP, OLMPConfig


class OLMPReleasedConfig(OLMPConfig):
    """Settings of `olmp-released`: those of `olmp`, with the released values for LeNet-5."""

    adjust: float = Field(0.5, gt=0, lt=1, description="share of the pruning budget for pruning and adjusting")
    delta: float = Field(0.05, ge=0, description="accuracy that a search may lose; 0.08 for the other networks")
    sigma: float = Field(5.0, gt=0, description="standard deviation of the search's first offspring, in r")
    bounds: tuple[float, ...] = Field((20.0,), min_length=1, description="largest r; 10 for the other networks")
    layers: Literal["all", "active"] = Field("active", description="layers that are searched")
    batch: int = Field(0, ge=0, description="training images of the constraint; 0: the step's own")
    relative: bool = Field(True, description="as in olmp; of no effect while no offspring is accepted")


class OLMPReleased(OLMP):
    """`olmp` with what the authors' code does in place of what the paper says.

    Source: the code of "Optimization based Layer-wise Magnitude-based Pruning" (a Caffe fork of Dynamic Network
    Surgery). Its search accepts an offspring only if its fitness is below zero, which a share of weights never is: all
    are drawn round the starting point. A candidate's masks, hysteresis included, stay in force for the next one.

    Deviations: searches are spaced evenly and have as many candidates as the budget allows; sigma is 5 throughout,
    where the LeNet-5 script goes down to 0.5 in its second third. For the rest see `olmp`.
    """

    name = "olmp-released"
    reference = "Li et al. 2018, released code"
    Config = OLMPReleasedConfig
    released = True
