"""Variants beyond what was recorded: chance, hostile bytes, odd keys, what cannot be sent."""

from __future__ import annotations

import contextlib
import copy
import enum
import pickle
import struct
import tracemalloc
from itertools import product
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rtcstack import Error, MultiplayerPeer, RTCError
from rtcstack.testing import Pair
from rtcstack.variant import (
    AABB,
    Array,
    Basis,
    ClassName,
    Color,
    Dictionary,
    EncodedObject,
    EncodedObjectAsID,
    Key,
    NodePath,
    PackedFloat32Array,
    PackedInt32Array,
    PackedInt64Array,
    PackedStringArray,
    PackedVector3Array,
    ScriptPath,
    StringName,
    Transform3D,
    VariantError,
    VariantType,
    Vector2,
    Vector2i,
    Vector3,
    bytes_to_var,
    compress,
    decompress,
    var_to_bytes,
)

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\ufeff"), max_size=12)
INTEGER = st.integers(-(2**63), 2**63 - 1)
REAL = st.floats(width=32, allow_nan=False)
LEAF = (
    st.none()
    | st.booleans()
    | INTEGER
    | st.floats(allow_nan=False)
    | TEXT
    | TEXT.map(StringName)
    | st.binary(max_size=9)
    | st.tuples(REAL, REAL, REAL).map(lambda t: Vector3(*t))
    | st.tuples(REAL, REAL, REAL, REAL).map(lambda t: Color(*t))
    | st.lists(TEXT, max_size=4).map(PackedStringArray)
    | st.lists(st.integers(-(2**31), 2**31 - 1), max_size=4).map(PackedInt32Array)
    | st.lists(INTEGER, max_size=4).map(lambda values: Array(values, VariantType.INT))
)
KEYS = st.text(st.characters(codec="ascii", exclude_characters="\0"), max_size=5) | st.integers(2, 100)
VALUE = st.recursive(
    LEAF, lambda inner: st.lists(inner, max_size=5) | st.dictionaries(KEYS, inner, max_size=5), max_leaves=20
)


@settings(max_examples=40)
@given(VALUE)
def test_any_value_comes_back_as_it_was(value):
    data = var_to_bytes(value)
    assert len(data) % 4 == 0
    assert bytes_to_var(data) == value
    assert decompress(compress(value), 0) == (value, len(compress(value)))


@settings(max_examples=40)
@given(VALUE, st.data())
def test_every_truncation_raises_a_variant_error_only(value, data):
    raw = var_to_bytes(value)
    size = data.draw(st.integers(0, len(raw) - 1))
    with pytest.raises(VariantError):
        bytes_to_var(raw[:size])


@settings(max_examples=40)
@given(VALUE, st.data())
def test_a_damaged_value_is_read_or_refused(value, data):
    raw = bytearray(var_to_bytes(value))
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    for allow in (False, True):
        try:
            read = bytes_to_var(raw, allow_objects=allow)
        except VariantError:
            continue
        var_to_bytes(read, full_objects=True)


@settings(max_examples=40)
@given(st.binary(max_size=60), st.integers(0, 40))
def test_garbage_is_read_or_refused(data, kind):
    for raw in (data, bytes([kind, 0, 0, 0]) + data):
        for allow in (False, True):
            with contextlib.suppress(VariantError):
                bytes_to_var(raw, allow_objects=allow)
        with contextlib.suppress(VariantError):
            decompress(raw, 0)


@pytest.mark.parametrize("kind", [*range(26, 39), 22])
@pytest.mark.parametrize("count", [0x7FFF_FFFF, 0xFFFF_FFFF, 0x4000_0000, 100_000])
def test_no_memory_is_taken_for_what_is_only_announced(kind, count):
    data = struct.pack("<III", kind, count, 0) + bytes(64)
    tracemalloc.start()
    with pytest.raises(VariantError):
        bytes_to_var(data)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 100_000


def test_a_wide_bomb_is_no_larger_than_what_it_is_made_of():
    """Each level announces as many items as could be there: what is read is bounded by the bytes."""
    data = b"".join(struct.pack("<II", 28, (8 * (1000 - n)) // 4) for n in range(1000))
    with pytest.raises(VariantError):
        bytes_to_var(data)


def test_reals_may_have_64_bits():
    for kind, width, value in (
        (VariantType.VECTOR3, 3, Vector3(0.1, 0.2, 0.3)),
        (VariantType.AABB, 6, AABB(Vector3(0.1, 0.2, 0.3), Vector3(0.4, 0.5, 0.6))),
    ):
        flat = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6][:width]
        assert bytes_to_var(struct.pack(f"<I{width}d", kind | 1 << 16, *flat)) == value
    basis = struct.pack("<I9d", VariantType.BASIS | 1 << 16, *range(9))
    assert bytes_to_var(basis) == Basis(Vector3(0, 3, 6), Vector3(1, 4, 7), Vector3(2, 5, 8))
    packed = struct.pack("<II3d", VariantType.PACKED_VECTOR3_ARRAY | 1 << 16, 1, 0.1, 0.2, 0.3)
    assert bytes_to_var(packed) == PackedVector3Array([Vector3(0.1, 0.2, 0.3)])


# -- keys ------------------------------------------------------------------------------------------


def test_keys_that_python_takes_for_one_stay_apart():
    data = var_to_bytes({1: "int", Key(True): "bool", Key(1.0): "float", "1": "text"})
    assert bytes_to_var(data) == {1: "int", Key(True): "bool", Key(1.0): "float", "1": "text"}
    assert bytes_to_var(data)[Key(True)] == "bool"
    assert var_to_bytes(bytes_to_var(data)) == data


def test_arrays_and_dictionaries_can_be_keys():
    data = var_to_bytes({Key([1, 2]): "array", Key({"a": 1}): "dictionary", Key([1, 2]): "another"})
    read = bytes_to_var(data)
    assert [(key.value, value) for key, value in read.items()] == [
        ([1, 2], "array"), ({"a": 1}, "dictionary"), ([1, 2], "another")
    ]  # fmt: skip
    assert var_to_bytes(read) == data


@pytest.mark.parametrize("others", [b"", struct.pack("<III", 28, 0, 0)], ids=["vectors", "and an array"])
def test_keys_that_were_made_to_have_one_hash_are_refused(others):
    """Python gives 1.0 and 2.0 ** 61 one hash: each of these keys would be compared with all before it."""
    same = [2.0 ** (61 * power) for power in range(-8, 9)]
    keys = list(product(same, repeat=3))
    assert len({hash(key) for key in keys}) == 1
    pairs = b"".join(struct.pack("<I3dI", VariantType.VECTOR3 | 1 << 16, *key, 0) for key in keys)
    count = len(keys) + bool(others)
    with pytest.raises(VariantError, match="same hash"):
        bytes_to_var(struct.pack("<II", 27, count) + others + pairs)


def test_many_keys_of_every_kind_are_taken():
    keys = [Vector2(x, y) for x in range(-10, 10) for y in range(-10, 10)]
    keys += [*range(-200, 200), *map(str, range(200)), *[Key([number]) for number in range(200)]]
    read = bytes_to_var(var_to_bytes(dict.fromkeys(keys)))
    assert len(read) == len(keys)


def test_a_text_and_the_same_name_are_one_key():
    pair = var_to_bytes("a") + var_to_bytes(1) + var_to_bytes(StringName("a")) + var_to_bytes(2)
    assert bytes_to_var(struct.pack("<II", 27, 2) + pair) == {"a": 2}


def test_a_tuple_is_sent_as_an_array_and_serves_as_a_key():
    assert bytes_to_var(var_to_bytes((1, (2, 3)))) == [1, [2, 3]]
    (key,) = bytes_to_var(var_to_bytes({(1, 2): 3}))
    assert key.value == [1, 2]


def test_a_key_equals_what_has_its_type_and_value():
    assert Key(1) == Key(1)
    assert Key(1) != Key(1.0)
    assert Key(True) != Key(1)
    assert Key(1) != 1
    shared: list[Any] = []
    assert Key(shared) == Key(shared)
    assert Key(shared) != Key([])
    assert {Key(1): "a"}[Key(1)] == "a"
    assert repr(Key(True)) == "Key(True)"


# -- what cannot be sent ---------------------------------------------------------------------------


class Level(enum.IntEnum):
    """An int of its own class."""

    EASY = 3


class Name(str):
    """A str of its own class."""


class Point(Vector2):
    """A Vector2 of its own class."""


@pytest.mark.parametrize(
    ("value", "same"),
    [(Level.EASY, 3), (Name("x"), "x"), ([Level.EASY], [3]), (Point(1, 2), Vector2(1, 2))],
)
def test_subclasses_are_sent_as_what_they_are_made_of(value, same):
    assert var_to_bytes(value) == var_to_bytes(same)


@pytest.mark.parametrize(
    "value",
    [
        object(),
        2**63,
        -(2**63) - 1,
        {1, 2},
        1j,
        "\ud800",
        Vector3(1, 2, "3"),
        Vector2i(1.5, 2),
        Vector2i(2**31, 0),
        Vector2(1e300, 0),
        Vector2("1"),
        NodePath((1,)),
        PackedVector3Array([Vector2(1, 2)]),
        PackedVector3Array([1, 2, 3]),
        PackedStringArray([1]),
        Array([1, "2"], VariantType.INT),
        Array([1], ClassName("Node")),
        Dictionary({"a": 1}, VariantType.INT),
        Dictionary({"a": 1}, None, VariantType.STRING),
        EncodedObjectAsID(2**63),
    ],
)
def test_what_has_no_variant_is_refused_with_a_reason(value):
    with pytest.raises(VariantError, match=r"\w+ \w+"):
        var_to_bytes([value])
    assert issubclass(VariantError, RTCError)


def test_a_list_that_holds_itself_is_refused():
    loop: list[Any] = []
    loop.append(loop)
    with pytest.raises(VariantError, match="holds itself"):
        var_to_bytes(loop)


def test_the_script_of_an_object_is_a_resource_path():
    good = EncodedObject("Node", {"script": "res://player.gd", "inner": EncodedObject("Resource", {})})
    data = var_to_bytes(good, full_objects=True)
    assert bytes_to_var(data, allow_objects=True) == good
    for script in ("user://player.gd", 5):
        bad = var_to_bytes(EncodedObject("Node", {"script": script}), full_objects=True)
        with pytest.raises(VariantError, match="script"):
            bytes_to_var(bad, allow_objects=True)
    nameless = struct.pack("<II", 24, 0)
    assert bytes_to_var(nameless, allow_objects=True) is None


def test_classes_and_scripts_of_containers_are_named_with_full_objects():
    for of in (ClassName("Node"), ScriptPath("res://enemy.gd")):
        data = var_to_bytes(Array([EncodedObject("Node", {}), None], of), full_objects=True)
        read = bytes_to_var(data, allow_objects=True)
        assert (read, read.of, type(read.of)) == ([EncodedObject("Node", {}), None], of, type(of))


def test_a_typed_dictionary_with_wrong_values_comes_empty():
    pair = var_to_bytes("a") + var_to_bytes("not an int")
    data = struct.pack("<IIII", 27 | 0b0101 << 16, VariantType.STRING, VariantType.INT, 1) + pair
    read = bytes_to_var(data)
    assert (read, read.key_type, read.value_type) == ({}, VariantType.STRING, VariantType.INT)


def test_values_can_be_copied_pickled_and_shown():
    for value in (
        PackedInt64Array([1, 2]),
        PackedFloat32Array([0.5]),
        PackedStringArray(["a"]),
        Array([1], VariantType.INT),
        Dictionary({"a": 1}, VariantType.STRING),
        Transform3D(),
        NodePath.parse("/root/A:b"),
    ):
        assert pickle.loads(pickle.dumps(value)) == value
        assert copy.deepcopy(value) == value
        assert type(copy.copy(value)) is type(copy.deepcopy(value)) is type(value)
        assert type(value).__name__ in repr(value)
    assert copy.deepcopy(Array([1], VariantType.INT)).of is VariantType.INT


@pytest.mark.parametrize("text", ["", "A", "/root", "/root/A:x:y", "../B", ":position:x", "A/B/C"])
def test_a_node_path_is_read_and_written_as_godot_does(text):
    path = NodePath.parse(text)
    assert str(path) == text
    assert bytes_to_var(var_to_bytes(path)) == path


# -- over packets ----------------------------------------------------------------------------------


def test_variants_travel_over_channels():
    pair = Pair(seed=3)
    channel = pair.open_channel("state", record=False)
    channel.left.put_var({"at": Vector2(1, 2), "hp": 3})
    channel.left.put_packet(b"\xff\xff")
    channel.left.put_packet(var_to_bytes(EncodedObject("Node", {}), full_objects=True))
    channel.left.put_var(EncodedObject("Node", {}), full_objects=True)
    assert pair.run(lambda: channel.right.get_available_packet_count() == 4)
    assert channel.right.get_var() == {"at": Vector2(1, 2), "hp": 3}
    for _ in range(2):
        with pytest.raises(VariantError):
            channel.right.get_var()
    assert channel.right.get_var(allow_objects=True) == EncodedObject("Node", {})


def test_a_variant_has_a_size_limit():
    peer = MultiplayerPeer()
    peer.create_server()
    assert peer.encode_buffer_max_size == 8_388_608
    for size in (1023, 268_435_457):
        with pytest.raises(RTCError):
            peer.set_encode_buffer_max_size(size)
    peer.set_encode_buffer_max_size(1025)
    assert peer.get_encode_buffer_max_size() == 2048
    assert peer.put_var(bytes(2040)) == Error.OK
    with pytest.raises(VariantError, match="encode_buffer_max_size") as refused:
        peer.put_var(bytes(2041))
    assert refused.value.code == Error.ERR_OUT_OF_MEMORY
