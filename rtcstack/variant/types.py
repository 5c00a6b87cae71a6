"""Python types for what a Variant can hold and Python has no type of its own for."""

from __future__ import annotations

import enum
from array import array
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple, Self, TypeAlias, TypeVar

__all__ = [
    "AABB",
    "PYTHON_TYPES",
    "RID",
    "Array",
    "Basis",
    "CallableRef",
    "ClassName",
    "Color",
    "Dictionary",
    "ElementType",
    "EncodedObject",
    "EncodedObjectAsID",
    "Key",
    "NodePath",
    "PackedColorArray",
    "PackedFloat32Array",
    "PackedFloat64Array",
    "PackedInt32Array",
    "PackedInt64Array",
    "PackedStringArray",
    "PackedVector2Array",
    "PackedVector3Array",
    "PackedVector4Array",
    "Plane",
    "Projection",
    "Quaternion",
    "Rect2",
    "Rect2i",
    "ScriptPath",
    "SignalRef",
    "StringName",
    "Transform2D",
    "Transform3D",
    "VariantType",
    "Vector2",
    "Vector2i",
    "Vector3",
    "Vector3i",
    "Vector4",
    "Vector4i",
]

_Value = TypeVar("_Value")


class VariantType(enum.IntEnum):
    """Numbers of the types, as in Godot 4 (PACKED_VECTOR4_ARRAY since 4.3)."""

    NIL = 0
    BOOL = 1
    INT = 2
    FLOAT = 3
    STRING = 4
    VECTOR2 = 5
    VECTOR2I = 6
    RECT2 = 7
    RECT2I = 8
    VECTOR3 = 9
    VECTOR3I = 10
    TRANSFORM2D = 11
    VECTOR4 = 12
    VECTOR4I = 13
    PLANE = 14
    QUATERNION = 15
    AABB = 16
    BASIS = 17
    TRANSFORM3D = 18
    PROJECTION = 19
    COLOR = 20
    STRING_NAME = 21
    NODE_PATH = 22
    RID = 23
    OBJECT = 24
    CALLABLE = 25
    SIGNAL = 26
    DICTIONARY = 27
    ARRAY = 28
    PACKED_BYTE_ARRAY = 29
    PACKED_INT32_ARRAY = 30
    PACKED_INT64_ARRAY = 31
    PACKED_FLOAT32_ARRAY = 32
    PACKED_FLOAT64_ARRAY = 33
    PACKED_STRING_ARRAY = 34
    PACKED_VECTOR2_ARRAY = 35
    PACKED_VECTOR3_ARRAY = 36
    PACKED_COLOR_ARRAY = 37
    PACKED_VECTOR4_ARRAY = 38


# -- geometry: reals have 32 bits on the wire ------------------------------------------------------


class Vector2(NamedTuple):
    """Two reals."""

    x: float = 0.0
    y: float = 0.0


class Vector2i(NamedTuple):
    """Two integers of 32 bits."""

    x: int = 0
    y: int = 0


class Vector3(NamedTuple):
    """Three reals."""

    x: float = 0.0
    y: float = 0.0
    z: float = 0.0


class Vector3i(NamedTuple):
    """Three integers of 32 bits."""

    x: int = 0
    y: int = 0
    z: int = 0


class Vector4(NamedTuple):
    """Four reals."""

    x: float = 0.0
    y: float = 0.0
    z: float = 0.0
    w: float = 0.0


class Vector4i(NamedTuple):
    """Four integers of 32 bits."""

    x: int = 0
    y: int = 0
    z: int = 0
    w: int = 0


class Rect2(NamedTuple):
    """A rectangle with sides along the axes."""

    position: Vector2 = Vector2()
    size: Vector2 = Vector2()


class Rect2i(NamedTuple):
    """A rectangle with sides along the axes, in integers."""

    position: Vector2i = Vector2i()
    size: Vector2i = Vector2i()


class Transform2D(NamedTuple):
    """Where the axes and the origin of a plane go."""

    x: Vector2 = Vector2(1.0, 0.0)
    y: Vector2 = Vector2(0.0, 1.0)
    origin: Vector2 = Vector2()


class Plane(NamedTuple):
    """The points p with normal * p = d."""

    normal: Vector3 = Vector3()
    d: float = 0.0


class Quaternion(NamedTuple):
    """A rotation."""

    x: float = 0.0
    y: float = 0.0
    z: float = 0.0
    w: float = 1.0


class AABB(NamedTuple):
    """A box with sides along the axes."""

    position: Vector3 = Vector3()
    size: Vector3 = Vector3()


class Basis(NamedTuple):
    """Where the axes of a space go: the columns of a matrix."""

    x: Vector3 = Vector3(1.0, 0.0, 0.0)
    y: Vector3 = Vector3(0.0, 1.0, 0.0)
    z: Vector3 = Vector3(0.0, 0.0, 1.0)


class Transform3D(NamedTuple):
    """Where the axes and the origin of a space go."""

    basis: Basis = Basis()
    origin: Vector3 = Vector3()


class Projection(NamedTuple):
    """A 4 x 4 matrix, by its columns."""

    x: Vector4 = Vector4(1.0, 0.0, 0.0, 0.0)
    y: Vector4 = Vector4(0.0, 1.0, 0.0, 0.0)
    z: Vector4 = Vector4(0.0, 0.0, 1.0, 0.0)
    w: Vector4 = Vector4(0.0, 0.0, 0.0, 1.0)


class Color(NamedTuple):
    """Red, green, blue and opacity, each 0 to 1, or more for what glows."""

    r: float = 0.0
    g: float = 0.0
    b: float = 0.0
    a: float = 1.0


# -- names and references --------------------------------------------------------------------------


class StringName(str):
    """Text that Godot keeps as a name: &"jump"."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"StringName({str(self)!r})"


class NodePath(NamedTuple):
    """A path to a node, and on to a property of it.

    names       of the nodes: ("root", "Main") for "/root/Main".
    subnames    of the property and its parts: ("position", "x") for ":position:x".
    absolute    whether it begins with "/".
    """

    names: tuple[str, ...] = ()
    subnames: tuple[str, ...] = ()
    absolute: bool = False

    @classmethod
    def parse(cls, text: str) -> NodePath:
        """Read a path as Godot writes it: "/root/Main:position:x"."""
        path, *subnames = text.split(":")
        names = tuple(name for name in path.split("/") if name)
        return cls(names, tuple(name for name in subnames if name), text.startswith("/"))

    def __str__(self) -> str:
        return "/" * self.absolute + ":".join(("/".join(self.names), *self.subnames))


class RID(NamedTuple):
    """A resource of the sender's server, of no use elsewhere."""

    id: int = 0


class CallableRef(NamedTuple):
    """A Callable: nothing of it is sent, an empty one arrives."""


class SignalRef(NamedTuple):
    """A signal of an object of the sender."""

    name: str = ""
    object_id: int = 0


class EncodedObjectAsID(NamedTuple):
    """An object of the sender, by its instance id, a signed number of 64 bits."""

    object_id: int


class EncodedObject(NamedTuple):
    """A whole object, by its class and properties; only where objects are allowed.

    properties  in order; "script" is None or a path that begins with "res://".
    """

    class_name: str
    properties: Mapping[str, Any]


# -- containers ------------------------------------------------------------------------------------


class ClassName(str):
    """The class that the objects of a typed container have."""

    __slots__ = ()


class ScriptPath(str):
    """The script that the objects of a typed container have."""

    __slots__ = ()


ElementType: TypeAlias = VariantType | ClassName | ScriptPath | None
"""What a typed container holds: a type, objects of a class or script; None for anything."""


class Array(list[Any]):
    """A typed array: Array([1, 2], of=VariantType.INT) is Godot's Array[int]."""

    __slots__ = ("of",)

    def __init__(self, values: Iterable[Any] = (), of: ElementType = None) -> None:
        super().__init__(values)
        self.of = of

    def __repr__(self) -> str:
        return f"Array({super().__repr__()}, of={self.of!r})"


class Dictionary(dict[Any, Any]):
    """A typed dictionary, Godot's Dictionary[String, int]."""

    __slots__ = ("key_type", "value_type")

    def __init__(
        self,
        values: Mapping[Any, Any] | Iterable[tuple[Any, Any]] = (),
        key_type: ElementType = None,
        value_type: ElementType = None,
    ) -> None:
        super().__init__(values)
        self.key_type = key_type
        self.value_type = value_type

    def __repr__(self) -> str:
        return f"Dictionary({super().__repr__()}, key_type={self.key_type!r}, value_type={self.value_type!r})"


class Key:
    """A key of a dictionary that Python would take for another one, or cannot use as a key.

    Godot tells True from 1 and 1 from 1.0, and takes arrays and dictionaries as keys.  Where that matters,
    the later key comes as a Key.  Two are equal if their values have one type and are equal; of an array or
    a dictionary, if it is the same object.
    """

    __slots__ = ("_hash", "value")

    def __init__(self, value: Any) -> None:
        self.value = value
        try:
            self._hash: int | None = hash((type(value), value))
        except TypeError:
            self._hash = None

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Key):
            return NotImplemented
        if self._hash is None or type(self.value) is not type(other.value):
            return self.value is other.value
        return bool(self.value == other.value)

    def __hash__(self) -> int:
        return id(self.value) if self._hash is None else self._hash

    def __repr__(self) -> str:
        return f"Key({self.value!r})"


class _Numbers(array):  # type: ignore[type-arg]
    """Numbers of one size, kept as they are sent."""

    __slots__ = ()
    code = ""

    def __new__(cls, values: Iterable[float] | bytes = ()) -> Self:
        return super().__new__(cls, cls.code, values)

    def __init__(self, values: Iterable[float] | bytes = ()) -> None:
        pass

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.tolist()!r})"

    def __copy__(self) -> Self:
        return type(self)(self)

    def __deepcopy__(self, memo: object) -> Self:
        return type(self)(self)

    def __reduce_ex__(self, protocol: object) -> tuple[type[_Numbers], tuple[list[float]]]:
        return type(self), (self.tolist(),)


class PackedInt32Array(_Numbers):
    """Integers of 32 bits."""

    __slots__ = ()
    code = "i"


class PackedInt64Array(_Numbers):
    """Integers of 64 bits."""

    __slots__ = ()
    code = "q"


class PackedFloat32Array(_Numbers):
    """Reals of 32 bits."""

    __slots__ = ()
    code = "f"


class PackedFloat64Array(_Numbers):
    """Reals of 64 bits."""

    __slots__ = ()
    code = "d"


class _Values(list[_Value]):
    """Values of one type."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({super().__repr__()})"


class PackedStringArray(_Values[str]):
    """Texts."""

    __slots__ = ()


class PackedVector2Array(_Values[Vector2]):
    """Vectors of two reals."""

    __slots__ = ()


class PackedVector3Array(_Values[Vector3]):
    """Vectors of three reals."""

    __slots__ = ()


class PackedVector4Array(_Values[Vector4]):
    """Vectors of four reals."""

    __slots__ = ()


class PackedColorArray(_Values[Color]):
    """Colors."""

    __slots__ = ()


PYTHON_TYPES: dict[type, VariantType] = {
    type(None): VariantType.NIL,
    bool: VariantType.BOOL,
    int: VariantType.INT,
    float: VariantType.FLOAT,
    str: VariantType.STRING,
    Vector2: VariantType.VECTOR2,
    Vector2i: VariantType.VECTOR2I,
    Rect2: VariantType.RECT2,
    Rect2i: VariantType.RECT2I,
    Vector3: VariantType.VECTOR3,
    Vector3i: VariantType.VECTOR3I,
    Transform2D: VariantType.TRANSFORM2D,
    Vector4: VariantType.VECTOR4,
    Vector4i: VariantType.VECTOR4I,
    Plane: VariantType.PLANE,
    Quaternion: VariantType.QUATERNION,
    AABB: VariantType.AABB,
    Basis: VariantType.BASIS,
    Transform3D: VariantType.TRANSFORM3D,
    Projection: VariantType.PROJECTION,
    Color: VariantType.COLOR,
    StringName: VariantType.STRING_NAME,
    NodePath: VariantType.NODE_PATH,
    RID: VariantType.RID,
    EncodedObjectAsID: VariantType.OBJECT,
    EncodedObject: VariantType.OBJECT,
    CallableRef: VariantType.CALLABLE,
    SignalRef: VariantType.SIGNAL,
    dict: VariantType.DICTIONARY,
    Dictionary: VariantType.DICTIONARY,
    list: VariantType.ARRAY,
    tuple: VariantType.ARRAY,
    Array: VariantType.ARRAY,
    bytes: VariantType.PACKED_BYTE_ARRAY,
    bytearray: VariantType.PACKED_BYTE_ARRAY,
    memoryview: VariantType.PACKED_BYTE_ARRAY,
    PackedInt32Array: VariantType.PACKED_INT32_ARRAY,
    PackedInt64Array: VariantType.PACKED_INT64_ARRAY,
    PackedFloat32Array: VariantType.PACKED_FLOAT32_ARRAY,
    PackedFloat64Array: VariantType.PACKED_FLOAT64_ARRAY,
    PackedStringArray: VariantType.PACKED_STRING_ARRAY,
    PackedVector2Array: VariantType.PACKED_VECTOR2_ARRAY,
    PackedVector3Array: VariantType.PACKED_VECTOR3_ARRAY,
    PackedColorArray: VariantType.PACKED_COLOR_ARRAY,
    PackedVector4Array: VariantType.PACKED_VECTOR4_ARRAY,
}
"""Which Variant type a Python type is sent as."""
