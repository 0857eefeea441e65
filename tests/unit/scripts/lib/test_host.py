"""Files are published whole or not at all; a failing command can be pasted."""

import sys
from pathlib import Path

import pytest
from lib.host import CommandError, published, published_tree, run


def test_a_failing_command_is_shown_ready_to_paste() -> None:
    with pytest.raises(CommandError) as caught:
        run([sys.executable, "-c", "import sys; sys.exit('no such thing')"])
    assert "-c 'import sys; sys.exit('\"'\"'no such thing'\"'\"')'" in str(caught.value)
    assert str(caught.value).endswith("no such thing")


def test_a_missing_command_names_what_installs_it() -> None:
    with pytest.raises(CommandError, match="scripts/setup"):
        run(["no-such-command-of-ainos"])


def test_a_file_is_published_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "file"
    with published(path) as temporary:
        temporary.write_text("one")
        assert not path.exists()
    with pytest.raises(ZeroDivisionError), published(path) as temporary:
        temporary.write_text(str(1 // 0))
    assert path.read_text() == "one"
    assert list(path.parent.iterdir()) == [path]


def test_a_tree_replaces_the_old_one_and_sweeps_what_an_interrupted_build_left(
    tmp_path: Path,
) -> None:
    path = tmp_path / "tree"
    (tmp_path / ".tree.left").mkdir()
    for content in ("one", "two"):
        with published_tree(path) as temporary:
            (temporary / "file").write_text(content)
    with pytest.raises(ZeroDivisionError), published_tree(path) as temporary:
        (temporary / "file").write_text(str(1 // 0))
    assert (path / "file").read_text() == "two"
    assert list(tmp_path.iterdir()) == [path]
