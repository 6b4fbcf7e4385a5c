"""Shell completion: `scripts` is the process that a shell starts at each TAB, `candidates` finds what it offers."""

SHELLS = ("bash", "zsh", "fish")
VARIABLE = "_WALT_COMPLETE"  # set by the completion script: "bash_complete", …
