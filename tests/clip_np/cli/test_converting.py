"""A model written for another library."""

import pathlib

from command_line import fail, report_of, run, untrained


def test_convert_and_info_of_what_it_wrote(capsys):
    untrained("run")
    assert "steps" not in report_of(run(capsys, "info", "run", "--json")[0])
    run(capsys, "convert", "run", "hf")
    found = report_of(run(capsys, "info", "hf", "--json")[0])
    assert found["file"] == str(pathlib.Path("hf", "model.safetensors"))
    assert (found["layout"], found["stored as"]) == ("hf", "float32")
    assert found["tokenizer"].endswith(" pieces")
    output, _ = run(capsys, "convert", "run", "a.safetensors", "--layout", "openai")
    assert output.strip() == "written: a.safetensors"
    found = report_of(run(capsys, "info", "a.safetensors", "--json")[0])
    assert found["layout"] == "openai"
    assert "vocab.json and merges.txt" in found["tokenizer"]
    assert "must end in .safetensors" in fail(
        capsys, "convert", "run", "b.bin", "--layout", "openai"
    )
