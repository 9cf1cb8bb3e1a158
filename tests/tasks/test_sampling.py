import hashlib

from quantbench.tasks.sampling import by_hash, damaged, reading


def test_the_order_is_that_of_the_hashes():
    texts = ["a", "b", "c", "d", "é"]
    expected = sorted(texts, key=lambda text: hashlib.sha256(f"seed 1:{text}".encode()).hexdigest())
    assert by_hash([text.upper() for text in texts], texts, "seed 1") == [text.upper() for text in expected]
    assert by_hash(texts[::-1], texts[::-1], "seed 1") == expected
    assert by_hash(texts, texts, "seed 2") != expected


def test_reading_gives_what_is_there():
    raw = ("a", "b")
    assert reading(raw)() is raw


def test_a_damaged_file_says_how_to_get_it_anew(tmp_path):
    message = str(damaged(tmp_path / "trec" / "trec.csv", "1 question"))
    assert message.endswith("trec.csv is damaged (1 question); run 'quantbench assets fetch --force trec'")
