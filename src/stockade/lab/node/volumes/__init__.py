"""Volumes of pods: what is in them (``content``), how it gets there (``writer``, ``subpath``), and one pod's together (``pod_volumes``)."""
