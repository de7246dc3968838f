"""`wandb.integration.sb3`: a callback for Stable-Baselines3, whose logger writes the metrics itself."""

from __future__ import annotations

import os
from typing import Any

from mlv.compat.wandb.integration.current import required_run, with_base


class OwnWandbCallback:
    """Adds what the algorithm is made of to the config, watches its policy, and attaches its model."""

    model: Any
    n_calls: int

    def __init__(
        self,
        verbose: int = 0,
        model_save_path: str | None = None,
        model_save_freq: int = 0,
        gradient_save_freq: int = 0,
        log: str | None = "all",
    ) -> None:
        """Keep the options.

        Args:
            verbose: Of Stable-Baselines3.
            model_save_path: A folder for `model.zip`; None for no model.
            model_save_freq: Calls between two models; 0 for one at the end.
            gradient_save_freq: Passes between two histograms; 0 for none.
            log: What of the policy: `gradients`, `parameters` or `all`.

        Raises:
            Error: There is no run.
            ValueError: Models are wanted every so often, and there is no folder for them.
        """
        super().__init__(verbose)  # type: ignore[call-arg]
        self._run = required_run("WandbCallback")
        if model_save_path is None and model_save_freq:
            raise ValueError("to use the `model_save_freq` you have to set the `model_save_path` parameter")
        self.model_save_path, self.model_save_freq = model_save_path, model_save_freq
        self.gradient_save_freq, self.log = gradient_save_freq, log
        if model_save_path is not None:
            os.makedirs(model_save_path, exist_ok=True)
            self.path = os.path.join(model_save_path, "model.zip")

    def _init_callback(self) -> None:
        model = self.model
        if self.gradient_save_freq > 0:
            self._run.watch(model.policy, log=self.log, log_freq=self.gradient_save_freq)
        made_of = {"algo": type(model).__name__, **vars(model)}
        plain = {key: value if type(value) in (int, float, str) else str(value) for key, value in made_of.items()}
        self._run.config.setdefaults(plain)

    def _on_step(self) -> bool:
        if self.model_save_freq > 0 and self.n_calls % self.model_save_freq == 0:
            self.save_model()
        return True

    def _on_training_end(self) -> None:
        if self.model_save_path is not None:
            self.save_model()

    def save_model(self) -> None:
        """Save the model, and attach it."""
        self.model.save(self.path)
        self._run.save(self.path, base_path=self.model_save_path)


WandbCallback = with_base(OwnWandbCallback, "stable_baselines3.common.callbacks", "BaseCallback")
