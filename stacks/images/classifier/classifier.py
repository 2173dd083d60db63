"""One torchvision network and the way from an image file to its five best classes."""

import difflib
import io
import os
import warnings

from settings import SettingsError  # before torch, for which it sets variables

import torch
import torchvision
from PIL import Image

MAX_BODY = 32 << 20  # bytes of one request

# More pixels than any sensible photograph, and few enough that one request
# cannot take gigabytes (a small file can claim to be a huge image).
MAX_PIXELS = 50_000_000

NO_FILE = 'the form has no file in its field "file"'
NO_IMAGE = 'no image: send one as the multipart field "file" or as the body'
NOT_LOADED_HERE = (
    "the model was loaded in another process and this one is its fork, "
    "where neither CUDA nor torch's threads work; start the server without preloading the application"
)


class NotAnImage(ValueError):
    """The bytes of a request are not an image that can be decoded."""


class Classifier:
    """Classifies images. After __init__, calls from several threads at once are
    safe: the network is only read, and every call has its own tensors."""

    def __init__(self, settings):
        self.model = settings.model
        self._pid = os.getpid()
        # Takes effect in threads that do not exist yet, too: each reads it when
        # it first computes.
        torch.set_num_threads(settings.torch_threads)
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
        self._answer_once(settings.batch)

    def loaded_here(self):
        """Whether this process is the one that loaded the model."""
        return self._pid == os.getpid()

    def state(self):
        """What /healthz tells."""
        state = {
            "status": "ok",
            "model": self.model,
            "weights": self.weights,
            "device": self.device.type,
            "device_name": torch.cuda.get_device_name(self.device) if self.device.type == "cuda" else "cpu",
            "torch": torch.__version__,
            "torch_threads": torch.get_num_threads(),
            "pid": os.getpid(),
        }
        if not self.loaded_here():
            state |= {"status": "unavailable", "error": NOT_LOADED_HERE}
        return state

    def classify(self, data):
        """Returns the five likeliest classes of an image file, likeliest first.

        Raises NotAnImage when data cannot be decoded."""
        return self.infer([self.prepare(data)])[0]

    def prepare(self, data):
        """Returns an image file as the network takes it, on the CPU.

        Raises NotAnImage when data cannot be decoded."""
        return self._preprocess(_decode(data))

    def infer(self, images):
        """Returns the five likeliest classes of each of several prepared images."""
        batch = torch.stack(images).to(self.device)
        # inference_mode holds for the thread that entered it, hence here.
        with torch.inference_mode():
            probabilities = torch.softmax(self._network(batch), dim=1)
            best = torch.topk(probabilities, k=min(5, probabilities.shape[1]))
            # One copy from the device each, which also waits for it to be done.
            values, indices = best.values.tolist(), best.indices.tolist()
        return [[self._entry(*pair) for pair in zip(*image)] for image in zip(indices, values)]

    def _entry(self, index, probability):
        entry = {"class": index, "probability": probability}
        if self._labels and index < len(self._labels):
            entry["label"] = self._labels[index]
        return entry

    def _answer_once(self, batch):
        """Sends a generated image the whole way, so that a service that says it
        is ready has answered before, with its memory and kernels in place: those
        of a whole batch, too."""
        file = io.BytesIO()
        Image.linear_gradient("L").convert("RGB").save(file, "JPEG")
        image = self.prepare(file.getvalue())
        for size in {1, batch}:
            for answer in self.infer([image] * size):
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
