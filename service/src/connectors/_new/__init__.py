"""``connectors new``: writes a plugin distribution, ready to install, with its tests.

It fills in template files, which are ordinary files of this package. It installs nothing and runs nothing.
"""
