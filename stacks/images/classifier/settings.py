"""What the environment says about the service, checked before anything loads."""

import os
from dataclasses import dataclass


class SettingsError(Exception):
    """A setting that the service cannot start with.

    It is an ordinary exception on purpose: gunicorn stops for good when an
    import raises one, but starts the worker again and again on SystemExit.
    """


@dataclass(frozen=True)
class Settings:
    model: str  # a torchvision classification network, as torchvision spells it
    weights: str  # path of a state dict; empty: random weights from the seed
    seed: int
    threads: int  # intra-op threads of one inference

    @classmethod
    def from_env(cls, env=os.environ):
        return cls(
            model=env.get("MODEL", "") or "resnet18",
            weights=env.get("WEIGHTS", ""),
            seed=_number(env, "SEED", default=0, least=0),
            threads=_number(env, "TORCH_THREADS", default=1, least=1),
        )


def _number(env, name, default, least):
    text = env.get(name, "") or str(default)
    try:
        value = int(text)
    except ValueError:
        raise SettingsError(f"{name}={text}: not a whole number") from None
    if value < least:
        raise SettingsError(f"{name}={text}: must be {least} or more")
    return value
