"""Makes the files beside it: one small network in PyTorch and in Keras, with weights, an input and its output.

Needs torch, keras, jax, h5py, numpy and safetensors. Each framework's own files, written by its own functions."""

import json
import os
import pathlib

os.environ["KERAS_BACKEND"] = "jax"
import keras
import numpy as np
import torch
from keras import layers as L
from safetensors.torch import save_file

HERE = pathlib.Path(__file__).parent
random = np.random.default_rng(5)
image = random.standard_normal((2, 6, 5, 3)).astype("float32")


def torch_net():
    torch.manual_seed(3)
    net = torch.nn.Sequential(
        torch.nn.Conv2d(3, 4, (3, 2)),
        torch.nn.BatchNorm2d(4),
        torch.nn.ReLU(),
        torch.nn.Conv2d(4, 8, 2, groups=4, bias=False),
        torch.nn.ConvTranspose2d(8, 3, 2, stride=2),
        torch.nn.Flatten(),
        torch.nn.Dropout(0.5),
        torch.nn.Linear(108, 6),
        torch.nn.PReLU(),
        torch.nn.LayerNorm(6),
        torch.nn.Linear(6, 5),
    )
    with torch.no_grad():
        for name, value in net.state_dict().items():
            if value.ndim == 1 and "num_batches" not in name:
                value.copy_(torch.rand(value.shape) + 0.5)
    return net.eval()


def keras_net():
    keras.utils.set_random_seed(3)
    net = keras.Sequential([
        keras.Input((6, 5, 3)),
        L.Conv2D(4, (3, 2), activation="relu", name="first"),
        L.BatchNormalization(),
        L.DepthwiseConv2D(2, depth_multiplier=2),
        L.SeparableConv2D(3, 2),
        L.Conv2D(3, 1, name="conv2d"),
        L.Dropout(0.2),
        L.Flatten(),
        L.Dense(6, name="hidden"),
        L.LayerNormalization(),
        L.Dense(5, activation="softmax"),
    ])
    net.compile("adam", "mse")
    net.set_weights([random.uniform(0.2, 1.2, w.shape).astype("float32") for w in net.get_weights()])
    net.train_on_batch(image, np.eye(5)[:2])
    return net


net = torch_net()
with torch.no_grad():
    output = net(torch.tensor(image).permute(0, 3, 1, 2)).numpy()
save_file(net.state_dict(), HERE / "torch.safetensors")
halves = {k: v.to(torch.bfloat16 if "weight" in k else torch.float64) for k, v in net.state_dict().items()}
save_file(halves, HERE / "torch-bf16.safetensors")

net = keras_net()
net.save(HERE / "keras.keras")
net.save_weights(HERE / "keras.weights.h5")
net.save(HERE / "keras.h5")
expected = {"image": image, "torch": output, "keras": net.predict(image, verbose=0)}
text = json.dumps({k: {"shape": v.shape, "values": v.flatten().tolist()} for k, v in expected.items()})
(HERE / "expected.json").write_text(text + "\n")
