"""Settings of AMC's agent, for a method's `Config` to derive from."""

from typing import Literal

from pydantic import Field

from bench.trial.method import Config

__all__ = ["DDPGSettings"]


class DDPGSettings(Config):
    """Settings of the DDPG agent; the defaults are those of AMC's official code, except `warmup`.

    AMC warms up for 100 of 400 or 800 episodes; here it is a share, since budgets differ.
    """

    warmup: float = Field(0.25, ge=0, lt=1, description="share of the episodes that are walked at random first")
    sigma: float = Field(0.5, gt=0, description="standard deviation of the truncated normal noise after the warm-up")
    decay: float = Field(0.95, gt=0, le=1, description="factor on sigma an episode")
    hidden: tuple[int, ...] = Field((300, 300), min_length=1, description="hidden units of actor and critic")
    actor_rate: float = Field(1e-4, gt=0, description="learning rate of the actor (Adam)")
    critic_rate: float = Field(1e-3, gt=0, description="learning rate of the critic (Adam)")
    tau: float = Field(0.01, gt=0, le=1, description="step of the target networks")
    batch: int = Field(64, ge=1, description="transitions a step of learning")
    updates: int = Field(1, ge=1, description="steps of learning for each step walked")
    replay: int = Field(100, ge=1, description="walks that the replay buffer holds")
    baseline: float = Field(0.5, ge=0, le=1, description="weight of the past in the rewards' moving average; 1: none")
    credit: Literal["copied", "terminal"] = Field(
        "copied", description="copied: every step is given its walk's reward (AMC's code); terminal: only the last"
    )
