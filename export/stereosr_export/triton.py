"""A model repository for NVIDIA's Triton Inference Server: an exported file, and what the server must know of it.

The server runs an ONNX file by its own onnxruntime. Who sends pictures pads them as the README beside it says.
"""

from pathlib import Path

from stereosr.atomic import write_all
from stereosr.models.spec import INPUTS, OUTPUTS, ModelSpec, read_spec


def model_file(repository: Path, name: str) -> Path:
    """Where the ONNX file of a model lies."""
    return repository / name / "1" / "model.onnx"


def config_file(onnx: Path) -> Path:
    """What describes it to the server."""
    return onnx.parents[1] / "config.pbtxt"


def describe(onnx: Path) -> None:
    """Write ``config.pbtxt`` and ``README.md`` for an ONNX file that lies at a ``model_file``.

    Raises:
        UsageError: if it is none of ours.
        StereosrError: if they cannot be written.
    """
    spec, folder = read_spec(onnx), onnx.parents[1]
    texts = {config_file(onnx): config(folder.name), folder / "README.md": readme(folder.name, spec)}
    write_all((path, text.encode()) for path, text in texts.items())


def config(name: str) -> str:
    """The model's configuration: a ModelConfig of Triton's, as text.

    The batch is a dimension of the tensors as any other, ``max_batch_size`` 0: pairs of several sizes do not batch, and
    a batch takes as much more memory. One instance a GPU, or one on the CPU, is the server's own choice.
    """
    tensors = "\n".join(
        f"{role} [\n"
        + ",\n".join(f'  {{ name: "{each}", data_type: TYPE_FP32, dims: [ -1, 3, -1, -1 ] }}' for each in names)
        + "\n]"
        for role, names in (("input", INPUTS), ("output", OUTPUTS))
    )
    return f'name: "{name}"\nbackend: "onnxruntime"\nmax_batch_size: 0\n{tensors}\n'


def readme(name: str, spec: ModelSpec) -> str:
    """The tensors, and what their sizes must be."""
    rows, columns = spec.min_tile
    a, b = spec.memory
    return f"""# {name}

{spec.title}, {spec.precision}, {spec.parameters:,} parameters, written by `stereosr export --format triton`.

| tensor | shape | |
|---|---|---|
| `{INPUTS[0]}`, `{INPUTS[1]}` | N x 3 x H x W | float32, RGB, 0 to 1; the views of a rectified pair, of one size |
| `{OUTPUTS[0]}`, `{OUTPUTS[1]}` | N x 3 x {spec.scale}H x {spec.scale}W | float32, not clamped |

- H is {rows} or more, W is {columns} or more, both multiples of {spec.multiple_of}: mirror smaller pictures on, and
  crop the results.
- A request takes some H x W x ({a} + {b} x W) bytes for each pair. Larger pictures go in bands of full width that share
  {2 * spec.halo} rows or so; `stereosr upscale` does that by itself, a server does not.
- `tritonserver --model-repository=FOLDER` serves all models in the folder that holds this one. Its onnxruntime backend
  must know ONNX's opset 18 and onnxruntime's own operators (`com.microsoft`).
- The configuration was checked against Triton's own definition of it; no Triton server has run it.
- Trained on: {spec.trained_on or "not said"}. Terms: {spec.license or "not said"}.
"""
