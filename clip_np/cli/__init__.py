"""cli."""

from clip_np.cli.parser import main
