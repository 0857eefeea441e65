"""An unpacked archive of NVIDIA's driver, whose parts say their release as the real ones do."""

from __future__ import annotations

from pathlib import Path

from tests.support.elf import elf

VERSION = "550.163.01"
SONAMES = {
    "libcuda.so": "libcuda.so.1",
    "libnvidia-ml.so": "libnvidia-ml.so.1",
    "libnvidia-ptxjitcompiler.so": "libnvidia-ptxjitcompiler.so.1",
    "libnvidia-cfg.so": "libnvidia-cfg.so.1",
    "libnvidia-pkcs11-openssl3.so": "",
}
# What says nothing of its release.
SILENT = "libnvidia-ptxjitcompiler.so"
KBUILD = 'EXTRA_CFLAGS += -DNV_VERSION_STRING=\\"{version}\\"\n'


def stated(version: str) -> bytes:
    """What a library or program holds beside its code."""
    return f"an API of 470.57.01\0{version}\0".encode()


def library(name: str, version: str) -> bytes:
    """A library of a release."""
    text = b"code" if name == SILENT else stated(version)
    return elf({".rodata": text}, SONAMES[name] or f"{name}.{version}")


def archive(folder: Path, version: str = VERSION, *, fabric_manager: bool = False) -> Path:
    """Lay out what ``NVIDIA-Linux-<machine>-<version>.run`` holds, of what the build takes."""
    files = {
        "kernel-open/Kbuild": KBUILD.format(version=version).encode(),
        "LICENSE": b"licence",
        "nvidia-smi": elf({".rodata": stated(version)}),
        "nvidia-modprobe": elf({".rodata": b"570.133.07\0"}),
        "nvidia-persistenced": elf({".rodata": b"daemon"}),
        **{f"firmware/gsp_{name}.bin": firmware(version) for name in ("tu10x", "ga10x")},
        **{f"{name}.{version}": library(name, version) for name in SONAMES},
    }
    if fabric_manager:
        files["fabricmanager/bin/nv-fabricmanager"] = elf({".rodata": stated(version)})
        files["fabricmanager/share/nvidia/nvswitch/dgxh100_hgxh100_topology"] = b"topology"
        files["fabricmanager/etc/fabricmanager.cfg"] = b"A=1\nLOG_FILE_NAME=/var/log/f.log\nB=2\n"
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder


def firmware(version: str) -> bytes:
    """GSP firmware of a release."""
    return elf({".fwimage": b"code", ".fwversion": version.encode() + b"\0"})
