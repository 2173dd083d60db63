"""One torchvision network and the way from an image file to its five best classes."""

import difflib
import io
import os
import warnings

from settings import SettingsError

import torch
import torchvision
from PIL import Image

# More pixels than any sensible photograph, and few enough that one request
# cannot take gigabytes (a small file can claim to be a huge image).
MAX_PIXELS = 50_000_000


class NotAnImage(ValueError):
    """The bytes of a request are not an image that can be decoded."""


class Classifier:
    """Classifies images. After __init__, calls from several threads at once are
    safe: the network is only read, and every call has its own tensors."""

    def __init__(self, settings):
        self.model = settings.model
        self.threads = settings.threads
        self.pid = os.getpid()
        # Takes effect in threads that do not exist yet, too: each reads it when
        # it first computes.
        torch.set_num_threads(settings.threads)
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        preset = _preset(settings.model)
        self._labels = preset.meta.get("categories")
        # The network's own resize, centre crop and normalisation (224 pixels
        # for most of them).
        self._preprocess = preset.transforms()
        self._network = _network(settings).eval().to(self.device)
        if settings.weights:
            self.weights = os.path.basename(settings.weights)
        else:
            self.weights = f"random (seed {settings.seed})"
        self._answer_once()

    @property
    def device_name(self):
        if self.device.type == "cuda":
            return torch.cuda.get_device_name(self.device)
        return "cpu"

    def classify(self, data):
        """Returns the five likeliest classes of an image file, likeliest first.

        Raises NotAnImage when data cannot be decoded."""
        batch = self._preprocess(_decode(data)).unsqueeze(0).to(self.device)
        # inference_mode holds for the thread that entered it, hence here.
        with torch.inference_mode():
            probabilities = torch.softmax(self._network(batch)[0], dim=0)
            best = torch.topk(probabilities, k=min(5, probabilities.numel()))
            # One copy from the device, which also waits for it to be done.
            values, indices = best.values.tolist(), best.indices.tolist()
        answer = []
        for index, probability in zip(indices, values):
            entry = {"class": index, "probability": probability}
            if self._labels and index < len(self._labels):
                entry["label"] = self._labels[index]
            answer.append(entry)
        return answer

    def _answer_once(self):
        """Sends a generated image the whole way, so that a service that says it
        is ready has answered before, with its memory and kernels in place."""
        image = Image.linear_gradient("L").convert("RGB")
        file = io.BytesIO()
        image.save(file, "JPEG")
        answer = self.classify(file.getvalue())
        if not all(0 <= entry["probability"] <= 1 for entry in answer):
            raise SettingsError(f"MODEL={self.model}: the network does not answer with probabilities (are the weights right?)")


def _decode(data):
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # oddities of a file are not ours to report
            with Image.open(io.BytesIO(data)) as image:
                width, height = image.size
                if width * height > MAX_PIXELS:
                    raise NotAnImage(f"the image has {width}x{height} pixels; at most {MAX_PIXELS} are taken")
                return image.convert("RGB")
    except NotAnImage:
        raise
    except Image.DecompressionBombError as error:
        raise NotAnImage(str(error)) from error
    except Exception as error:  # decoders raise OSError, SyntaxError, ValueError, struct.error …
        raise NotAnImage("the file cannot be decoded as an image") from error


def _preset(name):
    """What torchvision knows about a network without downloading anything."""
    known = torchvision.models.list_models(module=torchvision.models)
    if name not in known:
        close = difflib.get_close_matches(name, known, n=3) or ["resnet18", "resnet50", "mobilenet_v3_small"]
        raise SettingsError(
            f"MODEL={name}: torchvision {torchvision.__version__} has no classification network of that name; "
            f"for example: {', '.join(close)}"
        )
    return torchvision.models.get_model_weights(name).DEFAULT


def _network(settings):
    # Random weights take as long as trained ones; the seed makes every worker
    # of every run answer alike.
    torch.manual_seed(settings.seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        network = torchvision.models.get_model(settings.model, weights=None)
    if settings.weights:
        try:
            network.load_state_dict(torch.load(settings.weights, map_location="cpu", weights_only=True))
        except Exception as error:  # torch.load and unpickling raise whatever they like
            raise SettingsError(f"WEIGHTS={settings.weights}: not a state dict of {settings.model}: {error}") from error
    return network
