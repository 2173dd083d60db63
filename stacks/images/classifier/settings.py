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
    torch_threads: int  # intra-op threads of one inference
    executor: str  # where asgi.py computes: in "threads", or in the event "loop"
    threads: int  # of the executor
    batch: int  # images of one inference at most; 1: each request has its own
    delay: float  # seconds that the first image of a batch waits for others at most
    events: int  # of one answer of /stream
    gap: float  # seconds between two of them

    @classmethod
    def from_env(cls, env=os.environ):
        return cls(
            model=env.get("MODEL", "") or "resnet18",
            weights=env.get("WEIGHTS", ""),
            seed=number(env, "SEED", default=0, least=0),
            torch_threads=number(env, "TORCH_THREADS", default=1, least=1),
            executor=_one_of(env, "EXECUTOR", "threads", "loop"),
            threads=number(env, "THREADS", default=4, least=1),
            batch=number(env, "BATCH", default=1, least=1),
            delay=number(env, "DELAY", default=5, least=0) / 1000,
            events=number(env, "EVENTS", default=20, least=0),
            gap=number(env, "GAP_MS", default=20, least=0) / 1000,
        )


def number(texts, name, default, least):
    """The whole number that a mapping of texts has under a name."""
    text = texts.get(name, "") or str(default)
    try:
        value = int(text)
    except ValueError:
        raise SettingsError(f"{name}={text}: not a whole number") from None
    if value < least:
        raise SettingsError(f"{name}={text}: must be {least} or more")
    return value


def _one_of(env, name, *values):
    text = env.get(name, "") or values[0]
    if text not in values:
        raise SettingsError(f"{name}={text}: must be one of: {', '.join(values)}")
    return text


settings = Settings.from_env()

# OpenMP and OpenBLAS read these once, when torch loads them.
os.environ.setdefault("OMP_NUM_THREADS", str(settings.torch_threads))
os.environ.setdefault("OPENBLAS_NUM_THREADS", str(settings.torch_threads))
