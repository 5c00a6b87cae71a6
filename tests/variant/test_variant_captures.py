"""Variants byte for byte as a real Godot engine wrote them, see captures/godot/README.md."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from rtcstack.errors import Error, VariantError
from rtcstack.variant import (
    AABB,
    RID,
    Array,
    Basis,
    CallableRef,
    ClassName,
    Color,
    Dictionary,
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
    bytes_to_var,
    compress,
    decompress,
    var_to_bytes,
)

FOLDER = Path(__file__).parents[1] / "captures" / "godot"
VECTORS = json.loads((FOLDER / "variant_vectors.json").read_text(encoding="utf-8"))
DECODING = json.loads((FOLDER / "variant_decoding.json").read_text(encoding="utf-8"))
VALUES = {vector["gdscript"]: vector for vector in VECTORS}

PYTHON: dict[str, Any] = {
    "null": None,
    "true": True,
    "false": False,
    "0.5": 0.5,
    "-1.5": -1.5,
    "0.1": 0.1,
    "3.14159265358979": 3.14159265358979,
    "1e300": 1e300,
    "1e-45": 1e-45,
    "1e-46": 1e-46,
    "INF": math.inf,
    "-INF": -math.inf,
    '""': "",
    '"a"': "a",
    '"hi"': "hi",
    '"abc"': "abc",
    '"abcd"': "abcd",
    '"\\u4e16\\u754c"': "世界",
    '&""': StringName(""),
    '&"name"': StringName("name"),
    '^""': NodePath(),
    '^"A"': NodePath(("A",)),
    '^"/root/A:x:y"': NodePath(("root", "A"), ("x", "y"), True),
    '^"/root/Main/Player2"': NodePath.parse("/root/Main/Player2"),
    "Vector2(1, -2)": Vector2(1, -2),
    "Vector2(0.1, 1e10)": Vector2(0.1, 1e10),
    "Vector2i(1, -2)": Vector2i(1, -2),
    "Rect2(1, 2, 3.5, 4.5)": Rect2(Vector2(1, 2), Vector2(3.5, 4.5)),
    "Rect2i(1, 2, 3, 4)": Rect2i(Vector2i(1, 2), Vector2i(3, 4)),
    "Vector3(1, 2, 3)": Vector3(1, 2, 3),
    "Vector3i(-1, 0, 2147483647)": Vector3i(-1, 0, 2147483647),
    "Transform2D(Vector2(1, 2), Vector2(3, 4), Vector2(5, 6))": Transform2D(
        Vector2(1, 2), Vector2(3, 4), Vector2(5, 6)
    ),
    "Transform2D(0.5, Vector2(3, 4))": Transform2D(
        Vector2(math.cos(0.5), math.sin(0.5)), Vector2(-math.sin(0.5), math.cos(0.5)), Vector2(3, 4)
    ),
    "Vector4(1, 2, 3, 4)": Vector4(1, 2, 3, 4),
    "Vector4i(1, 2, 3, -4)": Vector4i(1, 2, 3, -4),
    "Plane(0, 1, 0, 2)": Plane(Vector3(0, 1, 0), 2),
    "Quaternion(0, 0, 0, 1)": Quaternion(),
    "Quaternion(0.5, -0.5, 0.5, -0.5)": Quaternion(0.5, -0.5, 0.5, -0.5),
    "AABB(Vector3(1, 2, 3), Vector3(4, 5, 6))": AABB(Vector3(1, 2, 3), Vector3(4, 5, 6)),
    "Basis(Vector3(1, 2, 3), Vector3(4, 5, 6), Vector3(7, 8, 9))": Basis(
        Vector3(1, 2, 3), Vector3(4, 5, 6), Vector3(7, 8, 9)
    ),
    "Transform3D(Basis(Vector3(1, 2, 3), Vector3(4, 5, 6), Vector3(7, 8, 9)), "
    "Vector3(10, 11, 12))": Transform3D(
        Basis(Vector3(1, 2, 3), Vector3(4, 5, 6), Vector3(7, 8, 9)), Vector3(10, 11, 12)
    ),
    "Projection(Vector4(1, 2, 3, 4), Vector4(5, 6, 7, 8), Vector4(9, 10, 11, 12), "
    "Vector4(13, 14, 15, 16))": Projection(
        Vector4(1, 2, 3, 4), Vector4(5, 6, 7, 8), Vector4(9, 10, 11, 12), Vector4(13, 14, 15, 16)
    ),
    "Color(1, 0.5, 0.25, 0.125)": Color(1, 0.5, 0.25, 0.125),
    "Color(2, -1, 0)": Color(2, -1, 0),
    "RID()": RID(),
    "Callable()": CallableRef(),
    "Signal()": SignalRef(),
    "{}": {},
    '{"a": 1}': {"a": 1},
    '{1: "one", "two": 2.5, true: null}': {1: "one", "two": 2.5, Key(True): None},
    'Dictionary({"k": 7}, TYPE_NIL, "", null, TYPE_INT, "", null)': Dictionary(
        {"k": 7}, value_type=VariantType.INT
    ),
    'Dictionary({"k": 7}, TYPE_STRING, "", null, TYPE_NIL, "", null)': Dictionary(
        {"k": 7}, key_type=VariantType.STRING
    ),
    'Dictionary({}, TYPE_STRING_NAME, "", null, TYPE_OBJECT, "Node", null)': Dictionary(
        {}, VariantType.STRING_NAME, ClassName("Node")
    ),
    "[]": [],
    '[1, "a", null]': [1, "a", None],
    "[[], [[1]], [true, false]]": [[], [[1]], [True, False]],
    '[1, 2.0, "s", &"sn", Vector3(1, 2, 3), PackedByteArray([9])]': [
        1,
        2.0,
        "s",
        StringName("sn"),
        Vector3(1, 2, 3),
        b"\x09",
    ],
    'Array([], TYPE_INT, "", null)': Array([], VariantType.INT),
    'Array(["x", "yz"], TYPE_STRING, "", null)': Array(["x", "yz"], VariantType.STRING),
    'Array([1.5, 0.1], TYPE_FLOAT, "", null)': Array([1.5, 0.1], VariantType.FLOAT),
    'Array([null], TYPE_OBJECT, "Node", null)': Array([None], ClassName("Node")),
    "PackedByteArray()": b"",
    "PackedByteArray([1])": b"\x01",
    "PackedByteArray([1, 2, 3])": bytearray(b"\x01\x02\x03"),
    "PackedByteArray([1, 2, 3, 4, 5])": memoryview(b"\x01\x02\x03\x04\x05"),
    "PackedInt32Array()": PackedInt32Array(),
    "PackedInt32Array([1, -1, 2147483647])": PackedInt32Array([1, -1, 2147483647]),
    "PackedInt64Array([1, -1, 9223372036854775807])": PackedInt64Array([1, -1, 9223372036854775807]),
    "PackedInt64Array()": PackedInt64Array(),
    "PackedFloat32Array([0.5, 0.1, -1])": PackedFloat32Array([0.5, 0.1, -1]),
    "PackedFloat64Array([0.5, 0.1, -1])": PackedFloat64Array([0.5, 0.1, -1]),
    "PackedStringArray()": PackedStringArray(),
    'PackedStringArray(["a", "bcd", "", "h\\u00e9"])': PackedStringArray(["a", "bcd", "", "hé"]),
    "PackedVector2Array([Vector2(1, 2), Vector2(-3, 4.5)])": PackedVector2Array(
        [Vector2(1, 2), Vector2(-3, 4.5)]
    ),
    "PackedVector2Array()": PackedVector2Array(),
    "PackedVector3Array([Vector3(1, 2, 3)])": PackedVector3Array([Vector3(1, 2, 3)]),
    "PackedVector4Array([Vector4(1, 2, 3, 4)])": PackedVector4Array([Vector4(1, 2, 3, 4)]),
    "PackedColorArray([Color(1, 0, 0), Color(0, 1, 0, 0.5)])": PackedColorArray(
        [Color(1, 0, 0), Color(0, 1, 0, 0.5)]
    ),
    "PackedColorArray()": PackedColorArray(),
} | {text: int(text) for text in VALUES if text.lstrip("-").isdigit()}


def test_every_recorded_value_has_its_python_value():
    assert set(PYTHON) == set(VALUES)


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["gdscript"])
def test_a_recorded_value_is_written_and_read_back_byte_for_byte(vector):
    recorded, value = bytes.fromhex(vector["hex"]), PYTHON[vector["gdscript"]]
    assert var_to_bytes(value) == recorded
    read = bytes_to_var(recorded)
    assert var_to_bytes(read) == recorded
    if isinstance(value, bytearray | memoryview):
        value = bytes(value)
    assert type(read) is type(value)
    assert recorded[0] == vector["type"]
    assert compress(read) == bytes.fromhex(vector["rpc_arg_hex"] or vector["hex"])
    if isinstance(value, int | str | list | dict | bytes | NodePath) and "Node" not in vector["gdscript"]:
        assert read == value


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["gdscript"])
def test_every_truncation_of_a_recorded_value_is_refused(vector):
    for recorded, read in (
        (vector["hex"], bytes_to_var),
        (vector["rpc_arg_hex"] or vector["hex"], lambda data: decompress(data, 0)),
    ):
        data = bytes.fromhex(recorded)
        for size in range(len(data)):
            with pytest.raises(VariantError):
                read(data[:size])


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["gdscript"])
def test_an_argument_ends_where_the_next_one_begins(vector):
    argument = bytes.fromhex(vector["rpc_arg_hex"] or vector["hex"])
    value, at = decompress(b"??" + argument + argument, 2)
    assert at == 2 + len(argument)
    again, end = decompress(b"??" + argument + argument, at)
    assert end == at + len(argument)
    assert compress(value) == compress(again) == argument


WHAT_COMES: dict[str, Any] = {
    "bool with byte1 set": True,
    "bool value 2": True,
    "int 64 flag": 1,
    "float 64 flag": 0.1,
    "vector2 with 64-bit flag": Vector2(1, -2),
    "packed vector2 with 64-bit flag": PackedVector2Array([Vector2(1, -2)]),
    "color with 64-bit flag": Color(1, 1, 1, 1),
    "string with embedded NUL": "a",
    "string with BOM": "a",
    "trailing bytes": True,
    "array bit31 count": [None],
    "dict bit31 count": {1: 2},
    "dict duplicate keys": {1: 3},
    "object id 0": None,
    "object id 5": EncodedObjectAsID(5),
    "packed string array": PackedStringArray(["a"]),
    "packed string array, no NUL in length": PackedStringArray(["a"]),
    "typed array wrong element type": Array([], VariantType.INT),
    "typed array kind 2 Node": Array([], ClassName("Node")),
    "flags junk bits on int": 5,
}


@pytest.mark.parametrize("case", [c for c in DECODING["decoding"] if "hex" in c], ids=lambda c: c["what"])
def test_hand_made_bytes_read_as_in_the_engine(case):
    data = bytes.fromhex(case["hex"])
    if case["what"] == "nan":
        assert math.isnan(bytes_to_var(data))
    elif case["what"] in WHAT_COMES:
        expected = WHAT_COMES[case["what"]]
        assert bytes_to_var(data) == expected
        assert type(bytes_to_var(data)) is type(expected)
    else:
        assert case["decodes_to"] == "null"
        with pytest.raises(VariantError):
            bytes_to_var(data)


def test_nesting_ends_where_it_ends_in_the_engine():
    def nest(depth: int) -> list[Any]:
        value: list[Any] = []
        for _ in range(depth - 1):
            value = [value]
        return value

    lengths = {case["what"]: case["hex_len"] for case in DECODING["decoding"] if "hex_len" in case}
    assert len(var_to_bytes(nest(1001))) == lengths["nesting 1001 arrays encode"]
    assert var_to_bytes(bytes_to_var(var_to_bytes(nest(1001)))) == var_to_bytes(nest(1001))
    assert lengths["nesting 1031 arrays encode"] == 0
    with pytest.raises(VariantError, match="deep") as refused:
        var_to_bytes(nest(1031))
    assert refused.value.code == Error.ERR_OUT_OF_MEMORY
    deep = bytes.fromhex("1c00000001000000") * 1031 + bytes(4)
    with pytest.raises(VariantError, match="deep"):
        bytes_to_var(deep)


OBJECTS = {
    "RefCounted.new() via var_to_bytes_with_objects": EncodedObject("RefCounted", {"script": None}),
    "Resource with resource_name='rn' via var_to_bytes_with_objects": EncodedObject(
        "Resource", {"resource_local_to_scene": False, "resource_name": "rn", "script": None}
    ),
    "[null] via var_to_bytes_with_objects": [None],
    "RefCounted.new() via var_to_bytes (id-encoded)": EncodedObjectAsID(-9223372019507133521),
    "Callable(rc, 'get_class')": CallableRef(),
    "Signal(scenetree, 'process_frame')": SignalRef("process_frame", 17079206814),
}


@pytest.mark.parametrize("case", DECODING["objects"], ids=lambda case: case["gdscript"])
def test_objects_come_only_where_they_are_allowed(case):
    data, value = bytes.fromhex(case["hex"]), OBJECTS[case["gdscript"]]
    assert bytes_to_var(data, allow_objects=True) == value
    assert var_to_bytes(value, full_objects=True) == data
    if isinstance(value, EncodedObject):
        with pytest.raises(VariantError, match="allow_objects") as refused:
            bytes_to_var(data)
        assert refused.value.code == Error.ERR_UNAUTHORIZED
        with pytest.raises(VariantError, match="full_objects"):
            var_to_bytes(value)
    for size in range(len(data)):
        with pytest.raises(VariantError):
            bytes_to_var(data[:size], allow_objects=True)
