"""The command line of `gid_jax.eval`: what a wrong call says, before anything heavy is loaded."""

import pytest

from gid_jax import cli, eval


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--data_dir=d", "--out=o"], "--bundle is missing"),
        (["--bundle=b", "--data_dir=d", "--out=o", "--limit=0"], "--limit"),
        (["--bundle=b", "--data_dir=d", "--out=o", "extra"], "extra"),
        (["--bundle={absent}", "--data_dir=d", "--out=o"], "no bundle there"),
        (["--bundle=b", "--config=configs/eval.py:huge"], "huge"),
        (["--bundle=b", "--config=configs/eval.py", "--config.nothing=1"], "nothing"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(arguments, said, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(eval.__file__.removesuffix("gid_jax/eval.py"))
    flag_values = eval.FLAGS
    flag_values.unparse_flags()
    with pytest.raises(SystemExit) as exit_:
        cli.run(eval.main, flag_values, ["eval", *(a.format(absent=tmp_path / "absent") for a in arguments)])
    error = capsys.readouterr().err
    assert exit_.value.code == 2 and said in error and error.count("\n") == 1
