"""ONNX to TensorRT engine: one builder for ``tensorrt`` (10.12 to 11) and ``tensorrt_rtx``.

Networks are strongly typed: precision is that of the ONNX file. ``tensorrt_rtx`` builds for any RTX GPU, without one
in the machine; ``tensorrt`` builds by timing on the GPU at hand.
"""

import hashlib
import importlib
import importlib.util
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from stereosr.backends.nvidia import Gpu
from stereosr.backends.tensorrt.cache import cache_path, read_cache, write_cache
from stereosr.errors import BackendUnavailable, StereosrError, UsageError, install_hint
from stereosr.models.engine_file import EngineFile, Identity, Profile, Size
from stereosr.models.spec import ModelSpec, read_spec

TENSORRT, RTX = "tensorrt", "tensorrt_rtx"
EXTRAS = {TENSORRT: "tensorrt", RTX: "rtx"}
"""The modules that build and run engines, and the extra of this package that installs each."""

OPT_SIZE, MAX_SIZE = (270, 480), (540, 960)
"""Of the dynamic profile, in LR rows and columns: larger pictures come in tiles."""

Progress = Callable[[str, int, int], None]
"""Called with a phase of the build, the steps done and all of its steps."""


def profile_of(spec: ModelSpec, size: Size | None) -> Profile:
    """A fixed tile of this size, or, without one, every size from the model's smallest to ``MAX_SIZE``.

    Raises:
        UsageError: if the model takes no such size.
    """
    if size is None:
        smallest: Size = (max(spec.min_tile[0], 8), max(spec.min_tile[1], 8))
        return Profile(smallest, OPT_SIZE, MAX_SIZE)
    if any(s < m or s % spec.multiple_of for s, m in zip(size, spec.min_tile, strict=True)):
        smallest_size = "x".join(map(str, spec.min_tile))
        raise UsageError(
            f"{spec.title} takes tiles of at least {smallest_size}, not {size[0]}x{size[1]}", settings=("size",)
        )
    return Profile(size, size, size)


def build_targets(variant: str, targets: tuple[str, ...], gpu: Gpu | None) -> tuple[tuple[str, ...], str]:
    """What to build for.

    Args:
        variant: ``TENSORRT`` or ``RTX``.
        targets: compute capabilities, ``sm89``; none for that of ``gpu``.
        gpu: the one at hand.

    Returns:
        The compute capabilities, and the name of the GPU that the engine will be bound to, empty if to none.

    Raises:
        BackendUnavailable: if the variant is not installed, or does not serve the GPU given.
        UsageError: for targets that it does not have.
    """
    trt = load(variant)
    if variant != RTX:
        if gpu is None or targets not in ((), (gpu.capability,)):
            raise UsageError(f"{variant} builds for the GPU at hand alone; for others: {install_hint('rtx')}")
        return (gpu.capability,), gpu.name
    if gpu and not targets:
        reason = why_unsupported(trt, variant, gpu)
        if reason:
            raise BackendUnavailable(reason)
        targets = (gpu.capability,)
    have = rtx_targets(trt)
    if not targets or set(targets) - set(have):
        wanted = ", ".join(targets) or "no GPU here"
        raise UsageError(f"{wanted}: {variant} builds for {', '.join(have)}: name one of them", settings=("for",))
    return targets, ""


def identify(
    onnx: Path,
    variant: str,
    profile: Profile,
    targets: tuple[str, ...],
    gpu: Gpu | None = None,
    workspace: int = 0,
) -> Identity:
    """What the engine of this file would be. Raises as ``build_targets``."""
    targets, name = build_targets(variant, targets, gpu)
    digest = hashlib.sha256(onnx.read_bytes()).hexdigest()
    return Identity(digest, profile, variant, load(variant).__version__, targets, name, workspace)


def build(onnx: Path, wanted: Identity, progress: Progress = lambda _phase, _done, _all: None) -> EngineFile:
    """Build the engine of an ONNX file of ours. Takes seconds (RTX) to minutes.

    Raises:
        UsageError: if the file is not ours.
        StereosrError: if TensorRT refuses it; the message has TensorRT's own first error.
    """
    spec = read_spec(onnx)
    trt = load(wanted.variant)
    log = _logger(trt)
    builder = trt.Builder(log)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, log)
    if not parser.parse(onnx.read_bytes()):
        raise StereosrError(f"{wanted.variant} cannot read {onnx}: {_first_error(parser)}")
    config = builder.create_builder_config()
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED  # the layer report has types then
    config.clear_flag(trt.BuilderFlag.TF32)  # fp32 files are computed in fp32: TF32 would round products to 11 bits
    if wanted.workspace:
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, wanted.workspace << 20)
    monitor = config.progress_monitor = _monitor(trt, progress)
    if wanted.variant == RTX:
        config.set_flag(trt.BuilderFlag.REQUIRE_USER_ALLOCATION)  # else large pictures could not be CUDA graphs
        config.num_compute_capabilities = len(wanted.targets)
        for index, target in enumerate(wanted.targets):
            config.set_compute_capability(getattr(trt.ComputeCapability, target.upper()), index)
    shapes = builder.create_optimization_profile()
    for name in ("left", "right"):
        sizes = (wanted.profile.min, wanted.profile.opt, wanted.profile.max)
        shapes.set_shape(name, *((1, 3, *size) for size in sizes))
    config.add_optimization_profile(shapes)
    with _TimingCache(config, wanted):
        plan = builder.build_serialized_network(network, config)
    if monitor.problem is not None:
        raise monitor.problem
    if plan is None:
        text = f"{wanted.variant} cannot build {onnx}: {log.first_error or 'no reason given'}"
        if "OutOfMemory" in log.first_error:
            raise StereosrError(f"{text}: allow more workspace, or build one size", settings=("workspace", "size"))
        raise StereosrError(text)
    layers, half_layers = log.layers
    return EngineFile(wanted, spec, layers, half_layers, bytes(plan))


def load(variant: str) -> Any:
    """The TensorRT module. Raises BackendUnavailable, with the pip command, where it is not installed."""
    if importlib.util.find_spec(variant) is None:
        raise BackendUnavailable(f"{variant} is not installed: {install_hint(EXTRAS[variant])}")
    try:
        return importlib.import_module(variant)
    except (ImportError, OSError) as error:
        raise BackendUnavailable(f"{variant} does not load ({error}): see 'stereosr doctor'") from error


def rtx_targets(trt: Any) -> list[str]:
    """The compute capabilities that this TensorRT-RTX serves: ``sm75``, ``sm86``..."""
    names = [name.lower() for name in dir(trt.ComputeCapability) if name.startswith("SM")]
    return sorted(names, key=lambda name: int(name.removeprefix("sm")))


def why_unsupported(trt: Any, variant: str, gpu: Gpu) -> str | None:
    """Why engines of this variant do not run on a GPU, and what to do; None if they do."""
    if variant != RTX or gpu.capability in rtx_targets(trt):
        return None
    served = ", ".join(rtx_targets(trt))
    return f"{variant} serves {served}, {gpu.name} is {gpu.capability}: {install_hint('tensorrt')}"


def _first_error(parser: Any) -> str:
    """The node that the parser stumbled over, and its words."""
    if not parser.num_errors:
        return "no reason given"
    error = parser.get_error(0)
    return f"{error.node_operator()} {error.node_name()}: {error.desc()}"


def _logger(trt: Any) -> Any:
    class Logger(trt.ILogger):  # type: ignore[misc]
        """Keeps the first error, and counts what the builder's layer report says."""

        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.first_error = ""
            self.layers = (0, 0)

        def log(self, severity: Any, message: str) -> None:
            if severity in (trt.ILogger.ERROR, trt.ILogger.INTERNAL_ERROR):
                self.first_error = self.first_error or message.splitlines()[0]
            elif message.startswith("Layers:"):
                self.layers = count_layers(message)

    return Logger()


def count_layers(report: str) -> tuple[int, int]:
    """Of the builder's layer report: how many layers give numbers, and how many of them half-precision ones."""
    results = [re.findall(r"Datatype: (Half|Float)", row.partition("Outputs: [")[2]) for row in report.splitlines()]
    results = [types for types in results if types]
    return len(results), sum("Half" in types for types in results)


def _monitor(trt: Any, progress: Progress) -> Any:
    class Monitor(trt.IProgressMonitor):  # type: ignore[misc]
        """Ends the build where the progress cannot be told: TensorRT must see no exception, Ctrl-C included."""

        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)
            self.steps: dict[str, int] = {}
            self.problem: BaseException | None = None

        def phase_start(self, phase_name: str, _parent_phase: str | None, num_steps: int) -> None:
            self.steps[phase_name] = num_steps

        def step_complete(self, phase_name: str, step: int) -> bool:
            try:
                progress(phase_name, step + 1, self.steps[phase_name])
            except BaseException as problem:
                self.problem = problem
            return self.problem is None

        def phase_finish(self, phase_name: str) -> None:
            self.steps.pop(phase_name, None)

    return Monitor()


class _TimingCache:
    """What ``tensorrt`` measured on this GPU in earlier builds. TensorRT-RTX measures nothing."""

    def __init__(self, config: Any, wanted: Identity) -> None:
        self._config = config
        self._path = cache_path("timing", wanted.version, wanted.gpu) if wanted.variant == TENSORRT else None

    def __enter__(self) -> None:
        if self._path:
            kept = self._config.create_timing_cache(read_cache(self._path))
            self._cache = kept or self._config.create_timing_cache(b"")  # None for what TensorRT cannot read
            self._config.set_timing_cache(self._cache, False)

    def __exit__(self, *_error: object) -> None:
        if self._path:
            write_cache(self._path, bytes(self._config.get_timing_cache().serialize()))
