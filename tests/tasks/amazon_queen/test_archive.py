"""The reader of queen.1c, on a small file of the same format."""

import struct

import pytest

from quantbench.tasks.amazon_queen.archive import Damaged, read_members, spoken_lines


def line(number, text):
    """One line of a dialogue: it begins at a multiple of 4 bytes and is filled up to the next."""
    content = struct.pack(">HHB", 0, number, len(text)) + text.encode("latin-1")
    return content + bytes(-len(content) % 4)


def dialogue(key, joes, persons, greeting, levels=-1):
    joe, person = (b"".join(line(*one) for one in lines) for lines in (joes, persons))
    head = struct.pack(">5h", levels, 99, key, len(joes), len(persons))
    person_at = 32 + 96 * abs(levels) + len(joe)
    offsets = bytes(12) + struct.pack(">HHH", person_at, 0, person_at + len(person)) + bytes(4)
    greetings = bytes([len(greeting)]) + greeting.encode() + b"\x07Ignored"
    return bytes(20) + head + offsets + bytes(96 * abs(levels)) + joe + person + greetings


def archive(path, members):
    table, contents = b"", b""
    start = 15 + 21 * len(members)
    for name, content in members.items():
        table += struct.pack(">12sBII", name.encode(), 1, start + len(contents), len(content))
        contents += content
    path.write_bytes(b"QTBL" + bytes(9) + struct.pack(">H", len(members)) + table + contents)
    return path


ANN = dialogue(
    7,
    joes=[(0, "Hi, I'm Joe.*03"), (6, "*19Where is it?*02Tell me!*00"), (0xFFF5, "Bye.")],
    persons=[(0, "Hello again.*02"), (1, "*XY00(128,112)*FLHere.*AOThere."), (10, "0")],
    greeting="You again?*01",
)


@pytest.fixture
def queen(tmp_path):
    return archive(
        tmp_path / "queen.1c",
        {"ANN2.DOG": ANN, "07SSSSJ1.SB": b"sound", "QUEEN2.JAS": b"It is open*02\n\nCute*02Really*03", "A.CUT": b""},
    )


def test_members_by_name(queen):
    members = read_members(queen)
    assert list(members) == ["ANN2.DOG", "07SSSSJ1.SB", "QUEEN2.JAS", "A.CUT"]
    assert members["07SSSSJ1.SB"] == b"sound" and members["ANN2.DOG"] == ANN and members["A.CUT"] == b""


def test_lines_are_named_as_their_clips(queen):
    assert list(spoken_lines(read_members(queen))) == [
        ("07SSSSJ1.SB", "joe", "Hi, I'm Joe."),
        ("070006J2.SB", "joe", "Where is it?"),
        ("070006J3.SB", "joe", "Tell me!"),
        ("07FFF5J1.SB", "joe", "Bye."),
        ("07XXXXJ1.SB", "joe", "Hello again."),
        ("070001P3.SB", "ann", "Here."),
        ("070001P4.SB", "ann", "There."),
        ("07000AP1.SB", "ann", "0"),
        ("07XXXXP1.SB", "ann", "You again?"),
        ("JOE00411.SB", "joe", "It is open"),
        ("JOE00431.SB", "joe", "Cute"),
        ("JOE00432.SB", "joe", "Really"),
    ]


def test_no_part_has_a_number_of_two_digits(tmp_path):
    path = archive(tmp_path / "queen.1c", {"QUEEN2.JAS": b"*00".join(b"%d" % i for i in range(1, 18))})
    assert [name for name, _, _ in spoken_lines(read_members(path))][-2:] == ["JOE0041E.SB", "JOE0041F.SB"]


def test_a_file_that_ends_early_is_damaged_wherever_it_ends(queen):
    whole = queen.read_bytes()
    for size in range(0, len(whole), 5):
        queen.write_bytes(whole[:size])
        with pytest.raises(Damaged, match=r"queen\.1c"):
            read_members(queen)


def test_a_dialogue_that_ends_early_is_damaged_wherever_it_ends():
    whole = len(ANN) - len(b"\x07Ignored")
    assert list(spoken_lines({"ANN2.DOG": ANN[:whole]})) == list(spoken_lines({"ANN2.DOG": ANN}))
    for size in range(whole):
        with pytest.raises(Damaged, match=r"the dialogue ANN2\.DOG of queen\.1c is damaged"):
            list(spoken_lines({"ANN2.DOG": ANN[:size]}))


def test_what_is_no_such_file(tmp_path):
    with pytest.raises(Damaged, match="cannot be read"):
        read_members(tmp_path / "queen.1c")
    (tmp_path / "queen.1c").write_bytes(bytes(100))
    with pytest.raises(Damaged, match="does not begin with QTBL"):
        read_members(tmp_path / "queen.1c")
