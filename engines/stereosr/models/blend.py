"""A network between two of one graph: their weights, interpolated.

What lies between works if the second network was trained on from the first, as photo engines are from clean ones
(X. Wang et al., "Deep network interpolation for continuous imagery effect transition", CVPR 2019).
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from stereosr.errors import UsageError
from stereosr.models.protobuf import fields
from stereosr.models.spec import read_spec, with_spec

# Numbers of fields in an ONNX file. What defines a network in a ModelProto: graph, operator sets, functions; in the
# graph its initialisers; in each its type and its values.
_GRAPH, _OPERATOR_SETS, _FUNCTIONS = 7, 8, 25
_INITIALIZER, _DATA_TYPE, _RAW_DATA = 5, 2, 9
_FLOAT = 1


def blend(first: Path, second: Path, strength: float) -> bytes:
    """The ONNX file of the network at ``strength`` of the way from the first file's, at 0, to the second's, at 1.

    The values of float32 initialisers are replaced, each in its place, and nothing else. The name is the second's with
    the strength behind it.

    Raises:
        UsageError: if a file is no model of ours, or the two differ in anything but such values.
    """
    specs = read_spec(first), read_spec(second)
    files = bytearray(first.read_bytes()), second.read_bytes()
    weights, other_weights = (list(_weights(file)) for file in files)
    if not weights or _network(files[0], weights) != _network(files[1], other_weights):
        raise UsageError(f"{first} and {second} are not of one fp32 network: only such have networks in between")
    for here, there in zip(weights, other_weights, strict=True):
        a, b = np.frombuffer(files[0][here], "<f4"), np.frombuffer(files[1][there], "<f4")
        files[0][here] = (a + np.float32(strength) * (b - a)).astype("<f4").tobytes()
    spec = replace(specs[1], name=f"{specs[1].name}@{strength:g}", scores={})
    return with_spec(bytes(files[0]), spec)


def _weights(file: bytes | bytearray) -> Iterator[slice]:
    """Where the values of the float32 initialisers lie, in their order."""
    for graph in _parts(file, slice(0, len(file)), _GRAPH):
        for tensor in _parts(file, graph, _INITIALIZER):
            found = dict(fields(file, tensor.start, tensor.stop))
            values = found.get(_RAW_DATA)
            if found.get(_DATA_TYPE) == _FLOAT and isinstance(values, slice):
                yield values


def _network(file: bytes | bytearray, weights: Iterable[slice]) -> list[bytes]:
    """What must be the same in both files: all that defines the network, without these values."""
    parts = []
    for kind in (_GRAPH, _OPERATOR_SETS, _FUNCTIONS):
        for part in _parts(file, slice(0, len(file)), kind):
            at = part.start
            for values in weights if kind == _GRAPH else ():
                parts.append(bytes(file[at : values.start]))
                at = values.stop
            parts.append(bytes(file[at : part.stop]))
    return parts


def _parts(file: bytes | bytearray, within: slice, number: int) -> Iterator[slice]:
    for found, at in fields(file, within.start, within.stop):
        if found == number and isinstance(at, slice):
            yield at
