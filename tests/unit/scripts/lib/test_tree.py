"""A root tree: what is left out, what is found missing, what counts as a shell."""

import shutil
import stat
import subprocess
from pathlib import Path

import pytest
from lib.architecture import X86_64
from lib.tree import TreeError, drop_sources, normalise, prune, shells, unresolved


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name in ("usr/share/doc/a/copyright", "usr/share/doc/a/README", "usr/bin/tool", "etc/x"):
        path = tmp_path / "tree" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")
    return tmp_path / "tree"


def _names(tree: Path) -> set[str]:
    return {str(path.relative_to(tree)) for path in tree.rglob("*") if not path.is_dir()}


def test_prune_removes_what_matches_and_keeps_what_is_excepted(tree: Path) -> None:
    prune(tree, "# why\nusr/share/doc/*/*\n!usr/share/doc/*/copyright  # licence\netc\n", "list")
    assert _names(tree) == {"usr/share/doc/a/copyright", "usr/bin/tool"}


def test_every_pattern_that_matches_nothing_is_named_with_its_line(tree: Path) -> None:
    with pytest.raises(TreeError) as error:
        prune(tree, "usr/lib/gone\netc\n\nusr/*/nothing\n", "list")
    assert str(error.value).splitlines() == [
        "list:1: usr/lib/gone matches nothing",
        "list:4: usr/*/nothing matches nothing",
    ]
    assert (tree / "etc/x").exists()


def test_a_link_that_leads_nowhere_is_pruned_by_its_name(tree: Path) -> None:
    (tree / "etc/link").symlink_to("/not/there")
    prune(tree, "etc/link\n", "list")
    assert not (tree / "etc/link").is_symlink()


def test_pruning_a_link_spares_what_it_leads_to(tree: Path) -> None:
    (tree / "etc/link").symlink_to("../usr/bin")
    prune(tree, "etc/link\n", "list")
    assert "usr/bin/tool" in _names(tree)


def test_modes_become_plain(tree: Path) -> None:
    (tree / "usr/bin/tool").chmod(0o4711)
    (tree / "etc/x").chmod(0o600)
    (tree / "etc").chmod(0o1777)
    normalise(tree)
    modes = {name: stat.S_IMODE((tree / name).stat().st_mode) for name in ("usr/bin/tool", "etc/x")}
    assert modes == {"usr/bin/tool": 0o755, "etc/x": 0o644}
    assert stat.S_IMODE((tree / "etc").stat().st_mode) == 0o755


@pytest.fixture
def elf(tree: Path) -> Path:
    """A tree with one program of the host, which needs the C library and nothing else."""
    shutil.copyfile("/usr/bin/true", tree / "usr/bin/true")
    return tree


def test_a_library_that_is_not_in_the_tree_is_named(elf: Path) -> None:
    assert unresolved(elf) == ["/usr/bin/true needs libc.so.6, which is not in the tree"]


def test_a_library_in_the_system_directory_is_found(elf: Path) -> None:
    (elf / X86_64.libraries).mkdir(parents=True)
    (elf / X86_64.libraries / "libc.so.6").write_text("not ELF, and not looked into")
    assert unresolved(elf) == []


@pytest.mark.parametrize("run_path", ["$ORIGIN", "/usr/lib/app"])
def test_a_library_beside_its_user_is_found_through_the_run_path(
    tree: Path, tmp_path: Path, run_path: str
) -> None:
    source = tmp_path / "empty.c"
    source.write_text("int empty(void) { return 0; }\n")
    folder = tree / "usr/lib/app"
    folder.mkdir(parents=True)
    build = ["cc", "-shared", "-nostdlib", "-o"]
    subprocess.run(
        [*build, str(folder / "liba.so"), "-Wl,-soname,liba.so", str(source)], check=True
    )
    user = [str(folder / "user.so"), str(source), f"-L{folder}", "-Wl,--no-as-needed", "-la"]
    subprocess.run([*build, *user, f"-Wl,-rpath,{run_path}"], check=True)
    assert unresolved(tree) == []
    (folder / "liba.so").rename(tree / "etc/liba.so")
    assert unresolved(tree) == ["/usr/lib/app/user.so needs liba.so, which is not in the tree"]


def test_a_tree_without_programs_needs_nothing(tree: Path) -> None:
    assert unresolved(tree) == []


def test_shells_are_found_as_files_and_as_links(tree: Path) -> None:
    assert shells(tree) == []
    (tree / "usr/bin/busybox").write_text("")
    (tree / "usr/bin/sh").symlink_to("busybox")
    (tree / "usr/lib/sh").mkdir(parents=True)  # a directory of that name is no shell
    assert shells(tree) == ["/usr/bin/busybox", "/usr/bin/sh"]


def test_bytecode_takes_the_place_of_its_source_and_a_source_without_stays(tmp_path: Path) -> None:
    package = tmp_path / "lib/package"
    (package / "__pycache__").mkdir(parents=True)
    (package / "data/__pycache__").mkdir(parents=True)
    for name in ("one.py", "data/two.py", "broken.py", "text.txt"):
        (package / name).write_text("source")
    (package / "link.py").symlink_to("one.py")
    for name in ("one", "link"):
        (package / f"__pycache__/{name}.cpython-313.pyc").write_text(f"bytecode of {name}")
    (package / "data/__pycache__/two.cpython-313.pyc").write_text("bytecode of two")
    (package / "__pycache__/orphan.cpython-313.pyc").write_text("bytecode")
    drop_sources(tmp_path, ["lib"])
    files = {str(p.relative_to(package)): p.read_text() for p in package.rglob("*") if p.is_file()}
    assert files == {
        "one.pyc": "bytecode of one",
        "link.pyc": "bytecode of link",
        "data/two.pyc": "bytecode of two",
        "broken.py": "source",
        "text.txt": "source",
        "__pycache__/orphan.cpython-313.pyc": "bytecode",
    }
    assert not (package / "data/__pycache__").exists()
