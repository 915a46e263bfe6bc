"""The wanted ruleset kept up to date as pods come, change and go, without compiling the whole state each time."""
