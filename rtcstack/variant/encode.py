"""Writes Variants: one loop over a stack of open containers, and a table of writers for everything else."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from struct import Struct
from struct import error as StructError  # noqa: N812 - it is a class
from typing import Any

from rtcstack.errors import Error, VariantError
from rtcstack.variant.decode import DEEPEST
from rtcstack.variant.types import (
    AABB,
    PYTHON_TYPES,
    RID,
    Array,
    Basis,
    CallableRef,
    ClassName,
    Color,
    Dictionary,
    ElementType,
    EncodedObject,
    EncodedObjectAsID,
    Key,
    NodePath,
    PackedColorArray,
    PackedFloat32Array,
    PackedFloat64Array,
    PackedInt32Array,
    PackedInt64Array,
    PackedStringArray,
    PackedVector2Array,
    PackedVector3Array,
    PackedVector4Array,
    Plane,
    Projection,
    Quaternion,
    Rect2,
    Rect2i,
    SignalRef,
    StringName,
    Transform2D,
    Transform3D,
    VariantType,
    Vector2,
    Vector2i,
    Vector3,
    Vector3i,
    Vector4,
    Vector4i,
)

__all__ = ["var_to_bytes"]

_FLAG_64 = 1 << 16
_AS_ID = 1 << 16
_ABSOLUTE = 1
_NEW_PATH = 0x8000_0000
_PADDING = (b"", b"\0\0\0", b"\0\0", b"\0")
_ANY_OBJECT = ClassName("EncodedObjectAsID")
"""The class that Godot names where the objects themselves are not sent."""

_u32 = Struct("<I").pack
_two_u32 = Struct("<II").pack
_int32 = Struct("<Ii").pack
_int64 = Struct("<Iq").pack
_i64 = Struct("<q").pack
_u32_u64 = Struct("<IQ").pack
_path_head = Struct("<IIII").pack
_four_reals, _nine_reals, _twelve_reals = (Struct(f"<I{count}f").pack for count in (4, 9, 12))
_pack_f32, _unpack_f32 = Struct("<f").pack, Struct("<f").unpack
_float32 = Struct("<If").pack
_float64 = Struct("<Id").pack

_TRUE, _FALSE, _NIL = _two_u32(1, 1), _two_u32(1, 0), _u32(0)


def var_to_bytes(value: Any, *, full_objects: bool = False) -> bytes:
    """Write one value as a Variant; the length is a multiple of 4.

    value           None, bool, int (64 bits), float, str, bytes, list, tuple, dict, or a type of
                    rtcstack.variant.
    full_objects    whether an EncodedObject may be sent whole, for a receiver that allows objects.

    Raises:
        VariantError: a value has no Variant type, does not fit it, or is nested more than 1,024 deep.
    """
    try:
        return _write(value, full_objects)
    except (StructError, OverflowError, TypeError, AttributeError, UnicodeEncodeError) as error:
        raise VariantError(f"a value cannot be sent as a Variant: {error}") from error


def _write(value: Any, full_objects: bool) -> bytes:
    parts: list[bytes] = []
    write = parts.append
    stack: list[Iterator[Any]] = []
    values: Iterator[Any] = iter((value,))
    while True:
        for value in values:
            kind = type(value)
            if kind is int:
                write(_write_int(value))
                continue
            if kind is str:
                raw = value.encode()
                size = len(raw)
                write(_two_u32(_STRING, size))
                write(raw if not size & 3 else raw + _PADDING[size & 3])
                continue
            writer = _WRITERS.get(kind)
            if writer is not None:
                write(writer(value))
                continue
            opened = _open(value, kind, write, full_objects)
            if opened is None:
                continue
            stack.append(values)
            if len(stack) > DEEPEST:
                raise VariantError(
                    f"a value is nested more than {DEEPEST} deep, or holds itself", Error.ERR_OUT_OF_MEMORY
                )
            values = opened
            break
        else:
            if not stack:
                return b"".join(parts)
            values = stack.pop()


# -- containers ------------------------------------------------------------------------------------


def _open(
    value: Any, kind: type, write: Callable[[bytes], object], full_objects: bool
) -> Iterator[Any] | None:
    """Write the head of a container, and give the values that follow it.

    A subclass of a type that Variants have is taken for that type.  None if it is written whole.
    """
    if kind is list or kind is tuple:
        write(_two_u32(_ARRAY, len(value)))
        items: Iterator[Any] = iter(value)
        return items
    if kind is dict:
        write(_two_u32(_DICTIONARY, len(value)))
        return chain.from_iterable(value.items())
    if kind is Array:
        return _open_array(value, write, full_objects)
    if kind is Dictionary:
        return _open_dictionary(value, write, full_objects)
    if kind is Key:
        return iter((value.value,))
    if kind is EncodedObject:
        if not full_objects:
            raise VariantError(
                f"an object of class {value.class_name} is sent with full_objects=True only",
                Error.ERR_UNAUTHORIZED,
            )
        write(_u32(_OBJECT) + _text(value.class_name) + _u32(len(value.properties)))
        return chain.from_iterable((_Raw(_text(name)), each) for name, each in value.properties.items())
    for base in kind.__mro__[1:]:
        if base in _CONTAINERS:
            return _open(value, base, write, full_objects)
        writer = _WRITERS.get(base)
        if writer is not None:
            write(writer(value))
            return None
    raise VariantError(f"{value!r:.60} cannot be sent: {kind.__name__} is no type that Variants have")


def _open_array(value: Array, write: Callable[[bytes], object], full_objects: bool) -> Iterator[Any]:
    mark, name = _element_type(value.of, full_objects)
    _expect_all(value, value.of, "an array")
    write(_u32(_ARRAY | mark << 16) + name + _u32(len(value)))
    return iter(value)


def _open_dictionary(
    value: Dictionary, write: Callable[[bytes], object], full_objects: bool
) -> Iterator[Any]:
    key_mark, key_name = _element_type(value.key_type, full_objects)
    value_mark, value_name = _element_type(value.value_type, full_objects)
    _expect_all((key.value if isinstance(key, Key) else key for key in value), value.key_type, "keys")
    _expect_all(value.values(), value.value_type, "values")
    head = _u32(_DICTIONARY | key_mark << 16 | value_mark << 18)
    write(head + key_name + value_name + _u32(len(value)))
    return chain.from_iterable(value.items())


def _element_type(of: ElementType, full_objects: bool) -> tuple[int, bytes]:
    """Give the two bits that say what a container holds, and what follows them."""
    if of is None:
        return 0, b""
    if isinstance(of, VariantType):
        return 1, _u32(of)
    if not full_objects:
        return 2, _text(_ANY_OBJECT)
    return (2 if isinstance(of, ClassName) else 3), _text(of)


def _expect_all(values: Iterable[Any], of: ElementType, what: str) -> None:
    if of is None:
        return
    kind = of if isinstance(of, VariantType) else VariantType.OBJECT
    for value in values:
        is_right = PYTHON_TYPES.get(type(value)) is kind or (value is None and kind is VariantType.OBJECT)
        if not is_right:
            raise VariantError(f"{what} of {kind.name} cannot hold {value!r:.60}")


class _Raw(bytes):
    """What is written already."""

    __slots__ = ()


# -- everything else -------------------------------------------------------------------------------


def _write_int(value: int) -> bytes:
    if -0x8000_0000 <= value <= 0x7FFF_FFFF:
        return _int32(_INT, value)
    if -0x8000_0000_0000_0000 <= value <= 0x7FFF_FFFF_FFFF_FFFF:
        return _int64(_INT | _FLAG_64, value)
    raise VariantError(f"an integer of {value.bit_length()} bits does not fit in 64")


def _write_float(value: float) -> bytes:
    """Write 32 bits if nothing is lost by it, as Godot does; a NaN has 64."""
    try:
        is_single = _unpack_f32(_pack_f32(value))[0] == value
    except OverflowError:
        is_single = False
    return _float32(_FLOAT, value) if is_single else _float64(_FLOAT | _FLAG_64, value)


def _text(value: str) -> bytes:
    """Write the length and the bytes of a text, without a header."""
    raw = value.encode()
    return _u32(len(raw)) + raw + _PADDING[len(raw) & 3]


def _write_string_name(value: StringName) -> bytes:
    return _u32(_STRING_NAME) + _text(value)


def _write_node_path(value: NodePath) -> bytes:
    head = _path_head(
        _NODE_PATH, len(value.names) | _NEW_PATH, len(value.subnames), _ABSOLUTE * value.absolute
    )
    return head + b"".join(map(_text, (*value.names, *value.subnames)))


def _write_rid(value: RID) -> bytes:
    return _u32_u64(_RID, value.id)


def _write_object_id(value: EncodedObjectAsID) -> bytes:
    return _int64(_OBJECT | _AS_ID, value.object_id)


def _write_signal(value: SignalRef) -> bytes:
    return _u32(_SIGNAL) + _text(value.name) + _i64(value.object_id)


def _write_bytes(value: bytes | bytearray | memoryview) -> bytes:
    raw = bytes(value)
    return _two_u32(_PACKED_BYTES, len(raw)) + raw + _PADDING[len(raw) & 3]


def _write_strings(value: PackedStringArray) -> bytes:
    """Write texts with the NUL that ends each of them."""
    parts = [_two_u32(VariantType.PACKED_STRING_ARRAY, len(value))]
    for text in value:
        raw = text.encode() + b"\0"
        parts.append(_u32(len(raw)) + raw + _PADDING[len(raw) & 3])
    return b"".join(parts)


def _numbers(kind: VariantType) -> Callable[[Any], bytes]:
    """Make the writer of a packed array of numbers."""
    header = kind.value

    def write(value: Any) -> bytes:
        if sys.byteorder == "big":
            value = type(value)(value)
            value.byteswap()
        raw: bytes = value.tobytes()
        return _two_u32(header, len(value)) + raw

    return write


def _vectors(kind: VariantType, width: int) -> Callable[[list[Any]], bytes]:
    """Make the writer of a packed array of vectors with so many components."""
    header = kind.value

    def write(value: list[Any]) -> bytes:
        flat = list(chain.from_iterable(value))
        if any(len(vector) != width for vector in value):
            raise VariantError(f"a vector of a {kind.name} has not {width} components")
        return _two_u32(header, len(value)) + Struct(f"<{len(flat)}f").pack(*flat)

    return write


def _plain(kind: VariantType, codes: str) -> Callable[[Sequence[Any]], bytes]:
    """Make the writer of a type that is a tuple of numbers."""
    pack, header = Struct("<I" + codes).pack, kind.value

    def write(value: Sequence[Any]) -> bytes:
        return pack(header, *value)

    return write


def _nested(kind: VariantType, codes: str) -> Callable[[Sequence[Sequence[Any]]], bytes]:
    """Make the writer of a type that is a tuple of vectors."""
    pack, header = Struct("<I" + codes).pack, kind.value

    def write(value: Sequence[Sequence[Any]]) -> bytes:
        return pack(header, *chain.from_iterable(value))

    return write


def _write_plane(value: Plane) -> bytes:
    return _four_reals(VariantType.PLANE, *value.normal, value.d)


def _write_basis(value: Basis) -> bytes:
    return _nine_reals(VariantType.BASIS, *_rows(value))


def _write_transform3d(value: Transform3D) -> bytes:
    return _twelve_reals(VariantType.TRANSFORM3D, *_rows(value.basis), *value.origin)


def _rows(basis: Basis) -> Iterator[float]:
    """Turn the columns that a Basis has into the rows that are sent."""
    return chain.from_iterable(zip(*basis, strict=True))


_INT, _FLOAT, _STRING = VariantType.INT.value, VariantType.FLOAT.value, VariantType.STRING.value
_STRING_NAME, _NODE_PATH = VariantType.STRING_NAME.value, VariantType.NODE_PATH.value
_RID, _OBJECT, _SIGNAL = VariantType.RID.value, VariantType.OBJECT.value, VariantType.SIGNAL.value
_DICTIONARY, _ARRAY = VariantType.DICTIONARY.value, VariantType.ARRAY.value
_PACKED_BYTES = VariantType.PACKED_BYTE_ARRAY.value

_CONTAINERS = (list, tuple, dict, Array, Dictionary, Key, EncodedObject)

_WRITERS: dict[type, Callable[[Any], bytes]] = {
    type(None): lambda value: _NIL,
    bool: lambda value: _TRUE if value else _FALSE,
    int: _write_int,
    float: _write_float,
    str: lambda value: _u32(_STRING) + _text(value),
    Vector2: _plain(VariantType.VECTOR2, "2f"),
    Vector2i: _plain(VariantType.VECTOR2I, "2i"),
    Rect2: _nested(VariantType.RECT2, "4f"),
    Rect2i: _nested(VariantType.RECT2I, "4i"),
    Vector3: _plain(VariantType.VECTOR3, "3f"),
    Vector3i: _plain(VariantType.VECTOR3I, "3i"),
    Transform2D: _nested(VariantType.TRANSFORM2D, "6f"),
    Vector4: _plain(VariantType.VECTOR4, "4f"),
    Vector4i: _plain(VariantType.VECTOR4I, "4i"),
    Plane: _write_plane,
    Quaternion: _plain(VariantType.QUATERNION, "4f"),
    AABB: _nested(VariantType.AABB, "6f"),
    Basis: _write_basis,
    Transform3D: _write_transform3d,
    Projection: _nested(VariantType.PROJECTION, "16f"),
    Color: _plain(VariantType.COLOR, "4f"),
    StringName: _write_string_name,
    NodePath: _write_node_path,
    RID: _write_rid,
    EncodedObjectAsID: _write_object_id,
    CallableRef: lambda value: _u32(VariantType.CALLABLE),
    SignalRef: _write_signal,
    bytes: _write_bytes,
    bytearray: _write_bytes,
    memoryview: _write_bytes,
    PackedInt32Array: _numbers(VariantType.PACKED_INT32_ARRAY),
    PackedInt64Array: _numbers(VariantType.PACKED_INT64_ARRAY),
    PackedFloat32Array: _numbers(VariantType.PACKED_FLOAT32_ARRAY),
    PackedFloat64Array: _numbers(VariantType.PACKED_FLOAT64_ARRAY),
    PackedStringArray: _write_strings,
    PackedVector2Array: _vectors(VariantType.PACKED_VECTOR2_ARRAY, 2),
    PackedVector3Array: _vectors(VariantType.PACKED_VECTOR3_ARRAY, 3),
    PackedColorArray: _vectors(VariantType.PACKED_COLOR_ARRAY, 4),
    PackedVector4Array: _vectors(VariantType.PACKED_VECTOR4_ARRAY, 4),
    _Raw: bytes,
}
"""What writes a value with its header, by its Python type; the loop writes containers itself."""
