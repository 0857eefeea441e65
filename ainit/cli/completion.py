"""``ainitctl completion``: scripts that make a shell complete commands, options and unit names."""

from __future__ import annotations

import click
from click.shell_completion import ShellComplete, get_completion_class

from .base import Command


@click.command(cls=Command)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print the completion script for SHELL.

    \b
      bash   ainitctl completion bash > /etc/bash_completion.d/ainitctl
      zsh    ainitctl completion zsh > "${fpath[1]}/_ainitctl"
      fish   ainitctl completion fish > ~/.config/fish/completions/ainitctl.fish
    """
    kind = get_completion_class(shell)
    assert kind is not None
    script = kind(context.find_root().command, {}, "ainitctl", "_AINITCTL_COMPLETE")
    # BashComplete.source() runs bash to learn its version; the machine that prints may have none.
    click.echo(ShellComplete.source(script))
