"""`dense`: the control that prunes nothing and trains on."""

from bench import Control, Trial


class Dense(Control):
    """The dense network, given the whole budget: what the same extra training brings without any pruning."""

    name = "dense"
    reference = "control: the unpruned network with the same extra training"
    targets = "none"

    def prune(self, trial: Trial) -> None:
        """Leaves the network as it is; all that is left goes to the track's fine-tuning."""
