from quantbench.cli import main as cli
from tests.shared import refused


def test_list_marks_defaults_and_finds_groups_of_ones_own(tmp_path, capsys):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "mine.yaml").write_text("# @package model\n# my network\nname: mine\n")
    assert cli.main(["list", "model", "--config-dir", str(tmp_path)]) == 0
    lines = [line.split(maxsplit=2) for line in capsys.readouterr().out.splitlines()]
    assert ["model=mine", "my", "network"] in lines
    assert [line[0] for line in lines if line[1] == "*"] == ["model=resnet20_fashion"]


def test_list_refuses_an_unknown_group(capsys):
    assert "did you mean model?" in refused(capsys, "list", "models")
