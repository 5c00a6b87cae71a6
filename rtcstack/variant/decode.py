"""Reads Variants: one loop over a stack of open containers, and a table of readers for everything else."""

from __future__ import annotations

import sys
from array import array
from collections import Counter
from collections.abc import Callable
from struct import Struct
from struct import error as StructError  # noqa: N812 - it is a class
from typing import Any

from rtcstack.errors import Error, VariantError
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
    ScriptPath,
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

__all__ = ["DEEPEST", "bytes_to_var", "read_variant"]

DEEPEST = 1024
"""Containers within containers, as in Godot (Variant::MAX_RECURSION_DEPTH)."""

_MOST_ALIKE = 64
"""Keys of a dictionary that may have the same hash.  Python's hashes of numbers, and of vectors of them, can
be foreseen; by chance few of them meet."""

_FLAG_64 = 1
"""Reals of 64 bits, an integer of 64 bits, or an object by its id."""

_u32 = Struct("<I").unpack_from
_i32 = Struct("<i").unpack_from
_u64 = Struct("<Q").unpack_from
_i64 = Struct("<q").unpack_from
_f32 = Struct("<f").unpack_from
_f64 = Struct("<d").unpack_from

_Reader = Callable[[bytes, int, int], tuple[Any, int]]
"""Reads what follows a header: (data, offset, flags) -> (value, offset behind it)."""


def bytes_to_var(data: bytes | bytearray | memoryview, *, allow_objects: bool = False) -> Any:
    """Read one Variant; what follows it is ignored, as in Godot.

    allow_objects   whether whole objects may come, as EncodedObject: nothing of them is run, but an
                    application that makes objects of them lets the sender choose their class.

    Raises:
        VariantError: it is no Variant, holds an object, or is nested more than 1,024 deep.
    Source: Godot's binary serialization API.
    """
    return read_variant(bytes(data), 0, allow_objects)[0]


def read_variant(data: bytes, at: int, allow_objects: bool = False) -> tuple[Any, int]:
    """Read the Variant at an offset.

    Returns (value, offset behind it).

    Raises:
        VariantError: as of bytes_to_var().
    """
    try:
        return _read(data, at, allow_objects)
    except StructError:
        raise VariantError(f"the {len(data)} bytes end inside a value") from None
    except UnicodeDecodeError as error:
        raise VariantError(f"text is not UTF-8: {error.reason}") from None


def _read(data: bytes, at: int, allow_objects: bool) -> tuple[Any, int]:
    stack: list[tuple[list[Any], int, Callable[[list[Any]], Any] | None, bool]] = []
    items: list[Any] = []
    missing = 1
    finish: Callable[[list[Any]], Any] | None = None
    is_object = False
    while True:
        while missing:
            missing -= 1
            if is_object:
                name, at = _read_text(data, at, 0)
                items.append(name)
            (header,) = _u32(data, at)
            at += 4
            kind = header & 0xFF
            if kind == _INT:
                if header & 0x10000:
                    items.append(_i64(data, at)[0])
                    at += 8
                else:
                    items.append(_i32(data, at)[0])
                    at += 4
                continue
            reader = _READERS[kind]
            if reader is not None:
                value, at = reader(data, at, header >> 16)
                items.append(value)
            else:
                if kind == _ARRAY:
                    now, at = _open_array(data, at, header >> 16)
                elif kind == _DICTIONARY:
                    now, at = _open_dictionary(data, at, header >> 16)
                elif kind == _OBJECT:
                    if header & 0x10000:
                        (number,) = _i64(data, at)
                        items.append(EncodedObjectAsID(number) if number else None)
                        at += 8
                        continue
                    if not allow_objects:
                        raise VariantError(
                            "it holds an object, which is not allowed: pass allow_objects=True to take it",
                            Error.ERR_UNAUTHORIZED,
                        )
                    class_name, at = _read_text(data, at, 0)
                    if not class_name:
                        items.append(None)
                        continue
                    now, at = _open_object(class_name, data, at)
                else:
                    raise VariantError(f"there is no type {kind}")
                stack.append((items, missing, finish, is_object))
                if len(stack) > DEEPEST:
                    raise VariantError(f"it is nested more than {DEEPEST} deep", Error.ERR_OUT_OF_MEMORY)
                items = []
                missing, finish = now
                is_object = kind == _OBJECT
        if not stack:
            return items[0], at
        value = items if finish is None else finish(items)
        items, missing, finish, is_object = stack.pop()
        items.append(value)


# -- containers ------------------------------------------------------------------------------------

_Opened = tuple[int, Callable[[list[Any]], Any] | None]
"""How many items a container has, and what makes it of them (None: they are it)."""


def _open_array(data: bytes, at: int, flags: int) -> tuple[_Opened, int]:
    kind = flags & 3
    if kind:
        of, at = _read_element_type(data, at, kind)
    (count,) = _u32(data, at)
    count = _checked(count & 0x7FFF_FFFF, 4, data, at)
    if kind:
        return (count, lambda items: Array(items if _are_all(items, of) else (), of)), at + 4
    return (count, None), at + 4


def _open_dictionary(data: bytes, at: int, flags: int) -> tuple[_Opened, int]:
    key_type: ElementType = None
    value_type: ElementType = None
    if flags & 3:
        key_type, at = _read_element_type(data, at, flags & 3)
    if flags & 12:
        value_type, at = _read_element_type(data, at, flags >> 2 & 3)
    (count,) = _u32(data, at)
    count = _checked(count & 0x7FFF_FFFF, 8, data, at)
    at += 4
    if key_type is None and value_type is None:
        return (2 * count, _make_dictionary), at

    def finish(items: list[Any]) -> Dictionary:
        is_right = _are_all(items[::2], key_type) and _are_all(items[1::2], value_type)
        return Dictionary(_make_dictionary(items) if is_right else (), key_type, value_type)

    return (2 * count, finish), at


def _open_object(class_name: str, data: bytes, at: int) -> tuple[_Opened, int]:
    (count,) = _u32(data, at)
    count = _checked(count, 8, data, at)

    def finish(items: list[Any]) -> EncodedObject:
        properties = dict(zip(items[::2], items[1::2], strict=True))
        script = properties.get("script")
        if script is not None and not (isinstance(script, str) and script.startswith("res://")):
            raise VariantError(f"the script of an object is {script!r}, no path that begins with res://")
        return EncodedObject(class_name, properties)

    return (count, finish), at + 4


def _make_dictionary(items: list[Any]) -> dict[Any, Any]:
    keys = items[::2]
    if len(keys) > _MOST_ALIKE:
        _check_hashes(keys)
    try:
        made = dict(zip(keys, items[1::2], strict=True))
    except TypeError:  # an array or a dictionary is a key
        made = {}
    if len(made) == len(keys):
        return made
    # Keys that are equal in Python: the later one wins if it has the same type, as in Godot.
    made = {}
    types: dict[Any, type] = {}
    for key, value in zip(keys, items[1::2], strict=True):
        kind = str if isinstance(key, str) else type(key)
        try:
            first = types.setdefault(key, kind)
        except TypeError:
            first = None
        made[key if first is kind else Key(key)] = value
    return made


def _check_hashes(keys: list[Any]) -> None:
    """Refuse keys that were chosen to have the same hash: each would be compared with all before it."""
    hashes: Counter[int] = Counter()
    try:
        hashes.update(map(hash, keys))
    except TypeError:  # an array or a dictionary is a key; it is compared by identity
        hashes = Counter(hash(Key(key)) for key in keys)
    if max(hashes.values()) > _MOST_ALIKE:
        raise VariantError(f"more than {_MOST_ALIKE} keys of a dictionary have the same hash")


def _read_element_type(data: bytes, at: int, kind: int) -> tuple[ElementType, int]:
    if kind == 1:
        (number,) = _u32(data, at)
        if number >= len(_TYPES):
            raise VariantError(f"there is no type {number}")
        return _TYPES[number], at + 4
    name, at = _read_text(data, at, 0)
    return (ClassName(name) if kind == 2 else ScriptPath(name)), at


def _are_all(items: list[Any], of: ElementType) -> bool:
    """Tell whether all items have a type; nothing is converted."""
    if of is None or of is VariantType.NIL:
        return True
    kind = of if isinstance(of, VariantType) else VariantType.OBJECT
    types = set(map(type, items))
    if kind is VariantType.OBJECT:
        types.discard(type(None))
    return all(PYTHON_TYPES.get(each) is kind for each in types)


def _checked(count: int, size: int, data: bytes, at: int) -> int:
    """Check that so many items of at least `size` bytes can be there, before there is memory for them."""
    if count * size > len(data) - at - 4:
        raise VariantError(f"{count} items are announced, but only {len(data) - at - 4} bytes are left")
    return count


# -- everything else -------------------------------------------------------------------------------


def _read_nil(data: bytes, at: int, flags: int) -> tuple[None, int]:
    return None, at


def _read_bool(data: bytes, at: int, flags: int) -> tuple[bool, int]:
    return _u32(data, at)[0] != 0, at + 4


def _read_float(data: bytes, at: int, flags: int) -> tuple[float, int]:
    return (_f64(data, at)[0], at + 8) if flags & _FLAG_64 else (_f32(data, at)[0], at + 4)


def _read_text(data: bytes, at: int, flags: int) -> tuple[str, int]:
    (size,) = _u32(data, at)
    at += 4
    end = at + (size + 3 & ~3)
    if end > len(data):
        raise VariantError(
            f"text of {size} bytes and its padding are announced, but only {len(data) - at} bytes are left"
        )
    raw = data[at : at + size]
    if b"\0" in raw:
        raw = raw[: raw.index(b"\0")]
    text = raw.decode()
    return (text[1:] if text[:1] == "\ufeff" else text), end


def _read_string_name(data: bytes, at: int, flags: int) -> tuple[StringName, int]:
    text, at = _read_text(data, at, flags)
    return StringName(text), at


def _read_node_path(data: bytes, at: int, flags: int) -> tuple[NodePath, int]:
    names, subnames, properties = _node_path_head(data, at)
    if not names & 0x8000_0000:
        raise VariantError("the path has the form of Godot 2")
    names &= 0x7FFF_FFFF
    subnames += properties >> 1 & 1
    _checked(names + subnames, 4, data, at + 8)
    at += 12
    parts = []
    for _ in range(names + subnames):
        part, at = _read_text(data, at, 0)
        parts.append(part)
    return NodePath(tuple(parts[:names]), tuple(parts[names:]), bool(properties & 1)), at


def _read_rid(data: bytes, at: int, flags: int) -> tuple[RID, int]:
    return RID(_u64(data, at)[0]), at + 8


def _read_callable(data: bytes, at: int, flags: int) -> tuple[CallableRef, int]:
    return CallableRef(), at


def _read_signal(data: bytes, at: int, flags: int) -> tuple[SignalRef, int]:
    name, at = _read_text(data, at, flags)
    return SignalRef(name, _i64(data, at)[0]), at + 8


def _read_bytes(data: bytes, at: int, flags: int) -> tuple[bytes, int]:
    (size,) = _u32(data, at)
    at += 4
    end = at + (size + 3 & ~3)
    if end > len(data):
        raise VariantError(
            f"{size} bytes and their padding are announced, but only {len(data) - at} are left"
        )
    return data[at : at + size], end


def _read_strings(data: bytes, at: int, flags: int) -> tuple[PackedStringArray, int]:
    (count,) = _u32(data, at)
    _checked(count, 4, data, at)
    at += 4
    texts = PackedStringArray()
    for _ in range(count):
        text, at = _read_text(data, at, 0)
        texts.append(text)
    return texts, at


def _numbers(make: Callable[[bytes], array[Any]], size: int) -> _Reader:
    """Make the reader of a packed array of numbers."""

    def read(data: bytes, at: int, flags: int) -> tuple[Any, int]:
        (count,) = _u32(data, at)
        _checked(count, size, data, at)
        at += 4
        end = at + count * size
        numbers = make(data[at:end])
        if sys.byteorder == "big":
            numbers.byteswap()
        return numbers, end

    return read


def _reals(make: Callable[[tuple[Any, ...]], Any], count: int) -> _Reader:
    """Make the reader of a type that is so many reals."""
    single, double = Struct(f"<{count}f").unpack_from, Struct(f"<{count}d").unpack_from
    single_size, double_size = 4 * count, 8 * count

    def read(data: bytes, at: int, flags: int) -> tuple[Any, int]:
        if flags & _FLAG_64:
            return make(double(data, at)), at + double_size
        return make(single(data, at)), at + single_size

    return read


def _integers(make: Callable[[tuple[Any, ...]], Any], count: int, code: str = "i") -> _Reader:
    """Make the reader of a type that is so many numbers of 32 bits, whatever the flags."""
    unpack, size = Struct(f"<{count}{code}").unpack_from, 4 * count

    def read(data: bytes, at: int, flags: int) -> tuple[Any, int]:
        return make(unpack(data, at)), at + size

    return read


def _vectors(
    container: type[list[Any]], make: Callable[[tuple[Any, ...]], Any], count: int, codes: str
) -> _Reader:
    """Make the reader of a packed array of vectors.

    codes   format of a component: without and with the flag for 64 bits.
    """
    forms = [Struct(f"<{count}{code}") for code in codes]

    def read(data: bytes, at: int, flags: int) -> tuple[Any, int]:
        form = forms[flags & _FLAG_64]
        (length,) = _u32(data, at)
        _checked(length, form.size, data, at)
        at += 4
        end = at + length * form.size
        return container(map(make, form.iter_unpack(data[at:end]))), end

    return read


def _rect2(v: tuple[float, ...]) -> Rect2:
    return Rect2(Vector2(v[0], v[1]), Vector2(v[2], v[3]))


def _rect2i(v: tuple[int, ...]) -> Rect2i:
    return Rect2i(Vector2i(v[0], v[1]), Vector2i(v[2], v[3]))


def _transform2d(v: tuple[float, ...]) -> Transform2D:
    return Transform2D(Vector2(v[0], v[1]), Vector2(v[2], v[3]), Vector2(v[4], v[5]))


def _plane(v: tuple[float, ...]) -> Plane:
    return Plane(Vector3(v[0], v[1], v[2]), v[3])


def _aabb(v: tuple[float, ...]) -> AABB:
    return AABB(Vector3(v[0], v[1], v[2]), Vector3(v[3], v[4], v[5]))


def _basis(v: tuple[float, ...]) -> Basis:
    """Turn the rows that come into the columns that a Basis has."""
    return Basis(Vector3(v[0], v[3], v[6]), Vector3(v[1], v[4], v[7]), Vector3(v[2], v[5], v[8]))


def _transform3d(v: tuple[float, ...]) -> Transform3D:
    return Transform3D(_basis(v), Vector3(v[9], v[10], v[11]))


def _projection(v: tuple[float, ...]) -> Projection:
    return Projection(*[Vector4(*v[at : at + 4]) for at in (0, 4, 8, 12)])


_node_path_head = Struct("<III").unpack_from
_TYPES = tuple(VariantType)
_INT, _OBJECT = VariantType.INT.value, VariantType.OBJECT.value
_DICTIONARY, _ARRAY = VariantType.DICTIONARY.value, VariantType.ARRAY.value

_BY_TYPE: dict[int, _Reader] = {
    VariantType.NIL: _read_nil,
    VariantType.BOOL: _read_bool,
    VariantType.FLOAT: _read_float,
    VariantType.STRING: _read_text,
    VariantType.VECTOR2: _reals(Vector2._make, 2),
    VariantType.VECTOR2I: _integers(Vector2i._make, 2),
    VariantType.RECT2: _reals(_rect2, 4),
    VariantType.RECT2I: _integers(_rect2i, 4),
    VariantType.VECTOR3: _reals(Vector3._make, 3),
    VariantType.VECTOR3I: _integers(Vector3i._make, 3),
    VariantType.TRANSFORM2D: _reals(_transform2d, 6),
    VariantType.VECTOR4: _reals(Vector4._make, 4),
    VariantType.VECTOR4I: _integers(Vector4i._make, 4),
    VariantType.PLANE: _reals(_plane, 4),
    VariantType.QUATERNION: _reals(Quaternion._make, 4),
    VariantType.AABB: _reals(_aabb, 6),
    VariantType.BASIS: _reals(_basis, 9),
    VariantType.TRANSFORM3D: _reals(_transform3d, 12),
    VariantType.PROJECTION: _reals(_projection, 16),
    VariantType.COLOR: _integers(Color._make, 4, "f"),
    VariantType.STRING_NAME: _read_string_name,
    VariantType.NODE_PATH: _read_node_path,
    VariantType.RID: _read_rid,
    VariantType.CALLABLE: _read_callable,
    VariantType.SIGNAL: _read_signal,
    VariantType.PACKED_BYTE_ARRAY: _read_bytes,
    VariantType.PACKED_INT32_ARRAY: _numbers(PackedInt32Array, 4),
    VariantType.PACKED_INT64_ARRAY: _numbers(PackedInt64Array, 8),
    VariantType.PACKED_FLOAT32_ARRAY: _numbers(PackedFloat32Array, 4),
    VariantType.PACKED_FLOAT64_ARRAY: _numbers(PackedFloat64Array, 8),
    VariantType.PACKED_STRING_ARRAY: _read_strings,
    VariantType.PACKED_VECTOR2_ARRAY: _vectors(PackedVector2Array, Vector2._make, 2, "fd"),
    VariantType.PACKED_VECTOR3_ARRAY: _vectors(PackedVector3Array, Vector3._make, 3, "fd"),
    VariantType.PACKED_COLOR_ARRAY: _vectors(PackedColorArray, Color._make, 4, "ff"),
    VariantType.PACKED_VECTOR4_ARRAY: _vectors(PackedVector4Array, Vector4._make, 4, "fd"),
}
_READERS = tuple(_BY_TYPE.get(kind) for kind in range(256))
"""By the low byte of a header; the loop reads integers and containers itself."""
